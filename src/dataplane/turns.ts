/** Work that must not run beside other work of its kind: each begins when the one before has ended, well or not. */
export type TakeTurn = <T>(work: () => Promise<T>) => Promise<T>

/** Work that waits for its own kind inside would wait for ever. */
export const createTurns = (): TakeTurn => {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    return turn
  }
}
