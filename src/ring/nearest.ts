/** The last free slots of a ring: which of them a claim prefers. */
import type { Fill } from './fill.js'

/**
 * Finds a claim's next preferred free slot without walking its list: slot p + n skip is n steps ahead of p, so a
 * slot's place in the list is its distance from p times the inverse of skip, modulo the size.
 *
 * @param count how many slots are free
 * @returns     a function that chooses for a claim and takes the slot off the list of free ones
 */
export const nearestFree = (fill: Fill, count: number): ((claim: number) => number) => {
  const { size, positions, skips } = fill
  const free = freeSlots(fill.owners, count)
  const inverses = new Map<number, number>()
  const perSize = 1 / size
  let left = count

  const inverseOf = (skip: number): number => {
    const known = inverses.get(skip)
    if (known !== undefined) return known
    const inverse = modularInverse(skip, size)
    inverses.set(skip, inverse)
    return inverse
  }

  return claim => {
    const position = positions[claim]!
    const inverse = inverseOf(skips[claim]!)
    let nearest = 0
    let fewestSteps = size
    for (let i = 0; i < left; i++) {
      const ahead = free[i]! - position
      const product = (ahead < 0 ? ahead + size : ahead) * inverse // below 2^40: exact
      let steps = product - Math.floor(product * perSize) * size // the quotient may be one off
      if (steps < 0) steps += size
      else if (steps >= size) steps -= size
      if (steps < fewestSteps) {
        fewestSteps = steps
        nearest = i
      }
    }
    const slot = free[nearest]!
    free[nearest] = free[--left]!
    return slot
  }
}

const freeSlots = (owners: Int32Array, count: number): Int32Array => {
  const slots = new Int32Array(count)
  let found = 0
  for (let slot = 0; found < count; slot++) if (owners[slot]! < 0) slots[found++] = slot
  return slots
}

/** Extended Euclid. @returns x in 1..modulus-1 with value * x = 1 modulo the prime `modulus` */
const modularInverse = (value: number, modulus: number): number => {
  let [a, b, x, y] = [value, modulus, 1, 0]
  while (a > 1) {
    const quotient = Math.floor(b / a)
    ;[a, b] = [b - quotient * a, a]
    ;[x, y] = [y - quotient * x, x]
  }
  return x < 0 ? x + modulus : x
}
