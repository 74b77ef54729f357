/**
 * The Maglev fill: claims take turns, each taking its next preferred free slot.
 * Source: Eisenbud et al., "Maglev", NSDI 2016, section 3.4, Pseudocode 1.
 */
import { nearestFree } from './nearest.js'
import { takeTurns } from './turns.js'

/** A ring being filled, or full. Claims are named by their place in the list of preferences. */
export interface Fill {
  readonly size: number
  /** The claim that owns each slot; -1: none. */
  readonly owners: Int32Array
  /** Each claim's next preferred slot: where its list goes on. */
  readonly positions: Int32Array
  readonly skips: Int32Array
  /** Each claim's share of the turns: 1 or more. */
  readonly weights: Int32Array
}

/** @param offsets each claim's first preferred slot; the other columns are by claim too, and kept as they are */
export const emptyFill = (
  offsets: Int32Array,
  skips: Int32Array,
  weights: Int32Array,
  size: number,
): Fill => ({ size, owners: new Int32Array(size).fill(-1), positions: offsets.slice(), skips, weights })

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
 * Fills the free slots of `fill` in place. As many turns are taken by credit as slots are free; who has its quota
 * already forfeits them, and they go at the end, in order, to those that have not.
 *
 * @param takers the claims that take part, in the order of their turns; at least one
 * @param quotas how many slots each claim takes; counted down to 0
 */
export const fillFreeSlots = (fill: Fill, takers: Int32Array, quotas: Int32Array): void => {
  const free = takers.reduce((sum, claim) => sum + quotas[claim]!, 0)
  const take = taker(fill, quotas, free)
  const { batch, next } = takeTurns(takers, fill.weights)
  for (let turns = free; turns > 0; ) {
    const count = Math.min(next(), turns)
    take(batch, count)
    turns -= count
  }
  for (let short = shortOf(takers, quotas); short.length > 0; short = shortOf(short, quotas))
    take(short, short.length)
}

const shortOf = (claims: Int32Array, quotas: Int32Array): Int32Array =>
  claims.filter(claim => quotas[claim]! > 0)

/** @returns a function that gives each of the first `count` claims its next preferred slot, if its quota allows one */
const taker = (fill: Fill, quotas: Int32Array, free: number) => {
  // The last few are found by comparing all of them: as many steps as there are, where a walk takes size / few.
  const few = Math.ceil(Math.sqrt(fill.size) / 2)
  let left = free
  let nearest: ((claim: number) => number) | null = null

  return (claims: Int32Array, count: number): void => {
    let turn = 0
    if (left > few) {
      const walked = walk(fill, quotas, claims, count, left - few)
      left -= walked.taken
      turn = walked.turns
    }
    for (; turn < count && left > 0; turn++) {
      const claim = claims[turn]!
      if (quotas[claim] === 0) continue
      nearest ??= nearestFree(fill, left)
      settle(fill, quotas, claim, nearest(claim))
      left--
    }
  }
}

const settle = (
  { size, owners, positions, skips }: Fill,
  quotas: Int32Array,
  claim: number,
  slot: number,
): void => {
  quotas[claim]!--
  owners[slot] = claim
  positions[claim] = (slot + skips[claim]!) % size
}

/** Every claim walks its list to the next free slot, until `most` are taken. */
const walk = (
  { size, owners, positions, skips }: Fill,
  quotas: Int32Array,
  claims: Int32Array,
  count: number,
  most: number,
): { readonly taken: number; readonly turns: number } => {
  let taken = 0
  let turn = 0
  for (; turn < count && taken < most; turn++) {
    const claim = claims[turn]!
    const quota = quotas[claim]!
    if (quota === 0) continue
    quotas[claim] = quota - 1
    const step = skips[claim]! - size
    let slot = positions[claim]!
    while (owners[slot]! >= 0) {
      slot += step
      slot += size & (slot >> 31) // back into 0..size-1 without a branch, which would be mispredicted half the time
    }
    owners[slot] = claim
    slot += step
    positions[claim] = slot + (size & (slot >> 31))
    taken++
  }
  return { taken, turns: turn }
}
