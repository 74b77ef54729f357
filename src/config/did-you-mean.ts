/** The word that a misspelt one was meant to be. */

/** Letters to change, add, leave out, or swap with their neighbour (optimal string alignment). */
export const editDistance = (a: string, b: string): number => {
  let previous: number[] = []
  let current = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      next[j] = Math.min(current[j]! + 1, next[j - 1]! + 1, current[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        next[j] = Math.min(next[j]!, previous[j - 2]! + 1)
    }
    previous = current
    current = next
  }
  return current[b.length]!
}

/** ringSize, ring_size and "Ring Size" are all ring-size. */
const inKebabCase = (word: string): string =>
  word
    .replace(/([a-z])([A-Z])/g, '$1-$2')
    .replace(/[_\s]+/g, '-')
    .toLowerCase()

/** Longer words are no misspelling of ours. */
const MAX_WORD = 40

/** @returns the known word that is near enough, or null */
export const nearestWord = (word: string, known: readonly string[]): string | null => {
  if (word.length > MAX_WORD) return null
  const wanted = inKebabCase(word)
  const [best] = known
    .map(candidate => ({ candidate, distance: editDistance(wanted, inKebabCase(candidate)) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.distance - b.distance)
  return best?.candidate ?? null
}

/** @returns "did you mean weight?", or null when nothing is near */
export const didYouMean = (word: string, known: readonly string[]): string | null => {
  const nearest = nearestWord(word, known)
  return nearest === null ? null : `did you mean ${nearest}?`
}
