/**
 * The Maglev fill: claims take turns, each taking its next preferred free slot.
 * Source: Eisenbud et al., "Maglev", NSDI 2016, section 3.4, Pseudocode 1.
 */
import type { Permutation } from './permutation.js'
import { takeTurns } from './turns.js'

/** What a claim wants of a ring. */
export interface Preference extends Permutation {
  /** Its share of the turns: 1 or more. */
  readonly weight: number
}

/** A ring being filled, or full. Claims are named by their place in the list of preferences. */
export interface Fill {
  readonly size: number
  /** The claim that owns each slot; -1: none. */
  readonly owners: Int32Array
  /** Each claim's next preferred slot: where its list goes on. */
  readonly positions: Int32Array
  readonly skips: Int32Array
  readonly weights: Int32Array
}

/** With so few free slots left, comparing all of them is cheaper than walking a preference list to the nearest. */
const FEW_FREE_SLOTS = 128

export const emptyFill = (preferences: readonly Preference[], size: number): Fill => ({
  size,
  owners: new Int32Array(size).fill(-1),
  positions: Int32Array.from(preferences, ({ offset }) => offset),
  skips: Int32Array.from(preferences, ({ skip }) => skip),
  weights: Int32Array.from(preferences, ({ weight }) => weight),
})

/**
 * Fills the free slots of `fill` in place.
 *
 * @param takers the claims that take part, in the order of their turns; at least one
 * @param free   how many slots are free
 */
export const fillFreeSlots = (fill: Fill, takers: Int32Array, free: number): void => {
  const { size, owners, positions, skips } = fill
  const turns = takeTurns(takers.map(claim => fill.weights[claim]!))
  let nearest: ((claim: number) => number) | null = null
  while (free > 0) {
    turns.pass()
    const among = turns.takers
    const count = Math.min(turns.count, free)
    for (let turn = 0; turn < count; turn++) {
      if (free <= FEW_FREE_SLOTS && nearest === null) nearest = nearestFree(fill, freeSlots(owners, free))
      const claim = takers[among[turn]!]!
      const skip = skips[claim]!
      let slot = positions[claim]!
      if (nearest !== null) {
        slot = nearest(claim)
      } else {
        while (owners[slot]! >= 0) {
          slot += skip
          if (slot >= size) slot -= size
        }
      }
      owners[slot] = claim
      slot += skip
      positions[claim] = slot >= size ? slot - size : slot
      free--
    }
  }
}

/** The free slots, `count` of them. */
const freeSlots = (owners: Int32Array, count: number): Int32Array => {
  const slots = new Int32Array(count)
  let found = 0
  for (let slot = owners.indexOf(-1); found < count; slot = owners.indexOf(-1, slot + 1))
    slots[found++] = slot
  return slots
}

/**
 * Finds a claim's next preferred free slot without walking: slot p + n skip is n steps ahead, so a slot's place in
 * the list is its distance from p times the inverse of skip.
 *
 * @returns a function that takes the slot off the list of free ones
 */
const nearestFree = ({ size, positions, skips }: Fill, free: Int32Array): ((claim: number) => number) => {
  const inverses = new Map<number, number>()
  const perSize = 1 / size
  let left = free.length
  return claim => {
    const position = positions[claim]!
    const skip = skips[claim]!
    let inverse = inverses.get(skip)
    if (inverse === undefined) {
      inverse = modularInverse(skip, size)
      inverses.set(skip, inverse)
    }
    let nearest = 0
    let fewestSteps = size
    for (let i = 0; i < left; i++) {
      const ahead = free[i]! - position
      const product = (ahead < 0 ? ahead + size : ahead) * inverse // below 2^40: exact in a double
      let steps = product - Math.floor(product * perSize) * size
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

/** Extended Euclid. @returns x with value * x = 1 modulo the prime `modulus` */
const modularInverse = (value: number, modulus: number): number => {
  let [a, b, x, y] = [value, modulus, 1, 0]
  while (a > 1) {
    const quotient = Math.floor(b / a)
    ;[a, b] = [b - quotient * a, a]
    ;[x, y] = [y - quotient * x, x]
  }
  return x < 0 ? x + modulus : x
}
