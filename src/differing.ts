/** Where two lists differ that mostly hold the very same objects: most changes touch one of many. Pure. */

export interface Differing<T> {
  readonly before: readonly T[]
  readonly after: readonly T[]
}

/** What is left of two lists without the objects that both have at the same place, counted from the front or the back. */
export const differing = <T>(before: readonly T[], after: readonly T[]): Differing<T> => {
  const shorter = Math.min(before.length, after.length)
  let front = 0
  while (front < shorter && before[front] === after[front]) front++
  let back = 0
  while (back < shorter - front && before.at(-1 - back) === after.at(-1 - back)) back++
  const were = before.slice(front, before.length - back)
  const are = after.slice(front, after.length - back)
  if (were.length !== are.length) return { before: were, after: are }
  return {
    before: were.filter((one, i) => one !== are[i]),
    after: are.filter((one, i) => one !== were[i]),
  }
}
