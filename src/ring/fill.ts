/**
 * The Maglev fill: claims take turns, each taking its next preferred free slot.
 * Source: Eisenbud et al., "Maglev", NSDI 2016, section 3.4, Pseudocode 1.
 */
import { nearestFree } from './nearest.js'
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

export const emptyFill = (preferences: readonly Preference[], size: number): Fill => {
  const fill = {
    size,
    owners: new Int32Array(size).fill(-1),
    positions: new Int32Array(preferences.length),
    skips: new Int32Array(preferences.length),
    weights: new Int32Array(preferences.length),
  }
  preferences.forEach(({ offset, skip, weight }, claim) => {
    fill.positions[claim] = offset
    fill.skips[claim] = skip
    fill.weights[claim] = weight
  })
  return fill
}

/** The same ring and preferences without the slots of those that are down; where lists go on stays. */
export const withoutDown = (full: Fill, down: Uint8Array): { readonly fill: Fill; readonly free: number } => {
  const owners = full.owners.slice()
  let free = 0
  for (let slot = 0; slot < owners.length; slot++) {
    if (down[owners[slot]!] === 0) continue
    owners[slot] = -1
    free++
  }
  const { size, skips, weights } = full
  return { fill: { size, owners, positions: full.positions.slice(), skips, weights }, free }
}

/**
 * Fills the free slots of `fill` in place.
 *
 * @param takers the claims that take part, in the order of their turns; at least one
 * @param free   how many slots are free
 */
export const fillFreeSlots = (fill: Fill, takers: Int32Array, free: number): void => {
  const { batch, next } = takeTurns(takers, fill.weights)
  // The last few are found by comparing all of them: as many steps as there are, where a walk takes size / few.
  const few = Math.ceil(Math.sqrt(fill.size) / 2)
  let nearest: ((claim: number) => number) | null = null
  for (let left = free; left > 0; ) {
    const count = Math.min(next(), left)
    const walkers = Math.min(count, Math.max(left - few, 0))
    walk(fill, batch, walkers)
    for (let turn = walkers; turn < count; turn++) {
      nearest ??= nearestFree(fill, left - walkers)
      settle(fill, batch[turn]!, nearest(batch[turn]!))
    }
    left -= count
  }
}

const settle = ({ size, owners, positions, skips }: Fill, claim: number, slot: number): void => {
  owners[slot] = claim
  positions[claim] = (slot + skips[claim]!) % size
}

/** A turn for each of the first `count` claims, every one walking its list to the next free slot. */
const walk = ({ size, owners, positions, skips }: Fill, claims: Int32Array, count: number): void => {
  for (let turn = 0; turn < count; turn++) {
    const claim = claims[turn]!
    const step = skips[claim]! - size
    let slot = positions[claim]!
    while (owners[slot]! >= 0) {
      slot += step
      slot += size & (slot >> 31) // back into 0..size-1 without a branch, which would be mispredicted half the time
    }
    owners[slot] = claim
    slot += step
    positions[claim] = slot + (size & (slot >> 31))
  }
}
