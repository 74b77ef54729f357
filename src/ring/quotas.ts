/**
 * How many slots each claim gets, before it is decided which: turns by credit alone would leave the rounding of all
 * light claims to the heavy ones.
 */

interface Share {
  readonly claim: number
  /** What is left of its due once the whole slots are given, in slots times the sum of weights. */
  readonly rest: number
}

/**
 * Apportions free slots so that each claim has, with those that it owns already, the whole number of slots next to
 * its exact share (largest remainders). A claim that owns more than its share keeps that, at the cost of the others.
 *
 * @param size   of the ring
 * @param takers the claims that take part; ties go to the first
 * @param owned  slots by claim
 * @returns      slots to take, by claim: `free` in all
 */
export const apportion = (
  size: number,
  free: number,
  takers: Int32Array,
  weights: Int32Array,
  owned: Int32Array,
): Int32Array => {
  let total = 0
  for (const claim of takers) total += weights[claim]!
  const quotas = new Int32Array(weights.length)
  const shares: Share[] = []
  let left = free
  for (const claim of takers) {
    const due = size * weights[claim]! - owned[claim]! * total // below 2^53 for 2^20 claims
    const quota = Math.max(0, Math.floor(due / total))
    quotas[claim] = quota
    left -= quota
    shares.push({ claim, rest: due - quota * total })
  }
  if (left > 0) {
    shares.sort((a, b) => b.rest - a.rest)
    for (let i = 0; left > 0; i = (i + 1) % shares.length, left--) quotas[shares[i]!.claim]!++
  } else if (left < 0) {
    shares.sort((a, b) => a.rest - b.rest)
    for (let i = 0; left < 0; i = (i + 1) % shares.length) {
      if (quotas[shares[i]!.claim] === 0) continue
      quotas[shares[i]!.claim]!--
      left++
    }
  }
  return quotas
}
