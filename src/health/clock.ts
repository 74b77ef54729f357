/** Time and chance, passed in. */
export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number
  /** Calls once after `ms`; the result cancels it. */
  after(ms: number, call: () => void): () => void
  /** 0 <= x < 1 */
  random(): number
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms)
    return () => clearTimeout(timer)
  },
  random: Math.random,
}
