/** The sizes that a ring may have: primes, so that every step visits all slots. */

export const MIN_RING_SIZE = 251
export const MAX_RING_SIZE = 655373
export const DEFAULT_RING_SIZE = 65537

export const isPrime = (number: number): boolean => {
  if (!Number.isSafeInteger(number) || number < 2) return false
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false
  return true
}

export const isRingSize = (size: number): boolean =>
  size >= MIN_RING_SIZE && size <= MAX_RING_SIZE && isPrime(size)

/** The possible sizes next to a number, below and above: one or two. */
export const nearestRingSizes = (number: number): number[] => {
  const start = Math.min(Math.max(Math.round(number), MIN_RING_SIZE), MAX_RING_SIZE)
  let below = start
  while (below >= MIN_RING_SIZE && !isPrime(below)) below--
  let above = start
  while (above <= MAX_RING_SIZE && !isPrime(above)) above++
  return [...new Set([below, above])].filter(isRingSize)
}
