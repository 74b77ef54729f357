/**
 * The slots of one ring in the data plane's memory, and when each last changed. A slot is written with one 8-byte store,
 * and only when it differs.
 */
import { LOW } from './flow-entry.js'
import { slotLayout } from './layout.js'
import {
  currentOf,
  G,
  GRACE_MS,
  homeOf,
  K,
  L,
  type OwnerRules,
  type SlotWord,
  stateOf,
  U,
  withOwner,
  withTime,
} from './slot.js'

const HIGH_UNIT = 2 ** 32
const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1

/** Ids are counted in pages of so many bits: those of one service mostly lie together. */
const PAGE_BITS = 10

/** All slots of all rings. */
export interface SlotMemory {
  read(index: number): SlotWord
  write(index: number, word: SlotWord): void
  /** State and current owner, for a loop that must be quick. */
  readonly words: Uint32Array
  readonly whole: BigUint64Array
}

const scratchWord = new Uint32Array(2)
const scratchWhole = new BigUint64Array(scratchWord.buffer)

const readWord = (words: Uint32Array, index: number): SlotWord =>
  words[2 * index + 1 - LOW]! * HIGH_UNIT + words[2 * index + LOW]!

const writeWord = (whole: BigUint64Array, index: number, word: SlotWord): void => {
  scratchWord[LOW] = word // modulo 2^32, as typed arrays store numbers
  scratchWord[1 - LOW] = Math.floor(word / HIGH_UNIT)
  Atomics.store(whole, index, scratchWhole[0]!)
}

export const slotMemory = (memory: ArrayBuffer): SlotMemory => {
  const words = new Uint32Array(memory)
  const whole = new BigUint64Array(memory)
  return {
    words,
    whole,
    read: index => readWord(words, index),
    write: (index, word) => writeWord(whole, index, word),
  }
}

export interface StateCounts {
  readonly grace: number
  readonly learning: number
  readonly keeping: number
}

/** Slots `from`..`to`-1 of a ring. */
export interface Slice {
  readonly from: number
  readonly to: number
}

export interface RingSlots {
  readonly base: number
  readonly size: number
  /** The same ring in other memory, after a move to larger maps. */
  moveTo(memory: SlotMemory): void
  /**
   * Gives each slot its wanted owner.
   *
   * @param owners per slot an index into `ids`; -1: nobody
   * @returns how many slots were written
   */
  setOwners(owners: Int32Array, ids: readonly number[], rules: OwnerRules): number
  /** Whether the time of some slot may have come. @param idleMs as for `tick` */
  isDue(idleMs: number): boolean
  /**
   * Moves on the slots whose time has come.
   *
   * @param slice   the slots to look at
   * @param pressed whether a flow of a slot (of all slots) found no place since this was last asked; clears the mark
   * @returns       how many slots were written
   */
  tick(
    slice: Slice,
    idleMs: number,
    tracking: OwnerRules['tracking'],
    pressed: (index: number) => boolean,
  ): number
  /** Whether `swept` has anything to look at. */
  isTracked(): boolean
  /**
   * A whole sweep has ended.
   *
   * @param slice      the slots to look at
   * @param beganMs    when it began
   * @param exceptions indexes (of all slots) in state K that hold a live entry with another backend
   * @param pressed    as for `tick`
   */
  swept(
    slice: Slice,
    beganMs: number,
    exceptions: Pick<ReadonlySet<number>, 'has'>,
    pressed: (index: number) => boolean,
    tracking: OwnerRules['tracking'],
  ): number
  counts(): StateCounts
  /** Whether a backend is home of some slot in grace or learning, its own slots at rest left out. */
  isHome(id: number): boolean
}

const all = (size: number): Int32Array => new Int32Array(size).map((_, slot) => slot)

/** For one call at a time: memory that is fresh each time costs a page fault a page. */
let scratch = new Int32Array(0)

/**
 * The slots of which the current owner is not the wanted one; valid until the next call. The same few steps for each
 * slot, whatever it holds: few or many differ, at start all of them, and what was compiled for one case serves the other.
 */
const slotsOfOthers = (words: Uint32Array, base: number, owners: Int32Array, ids: Int32Array): Int32Array => {
  // Place 0 is nobody's.
  const wanted = new Int32Array(ids.length + 1)
  wanted.set(ids, 1)
  if (scratch.length < owners.length) scratch = new Int32Array(owners.length)
  const found = scratch
  let count = 0
  for (let slot = 0; slot < owners.length; slot++) {
    const others = (words[2 * (base + slot) + LOW]! & ID_MASK) ^ wanted[owners[slot]! + 1]!
    found[count] = slot
    count += (others | -others) >>> 31
  }
  return found.subarray(0, count)
}

/**
 * A ring as the functions below need it. They are not closures: those of several rings would share what the compiler
 * learns of them, and each take three times as long.
 */
interface Ring {
  memory: SlotMemory
  readonly base: number
  readonly size: number
  /** Milliseconds modulo 2^32, by slot; made when the first slot is tracked. */
  since: Uint32Array | null
  readonly tracked: { grace: number; learning: number; keeping: number }
  /** By backend id, in pages: how many slots in grace or learning have it as home, its own slots at rest left out. */
  readonly homes: (Uint32Array | undefined)[]
}

const stamp = (ring: Ring, slot: number, at: number): void => {
  ring.since ??= new Uint32Array(ring.size).fill(at)
  ring.since[slot] = at
}

const count = ({ tracked }: Ring, state: number, by: number): void => {
  if (state === G) tracked.grace += by
  else if (state === L) tracked.learning += by
  else if (state === K) tracked.keeping += by
}

const countHome = ({ homes }: Ring, word: SlotWord, state: number, by: number): void => {
  if (state !== G && state !== L) return
  const home = homeOf(word)
  if (home === currentOf(word)) return
  let page = homes[home >>> PAGE_BITS]
  if (page === undefined) {
    page = new Uint32Array(2 ** PAGE_BITS)
    homes[home >>> PAGE_BITS] = page
  }
  page[home & (2 ** PAGE_BITS - 1)]! += by
}

const store = (ring: Ring, slot: number, before: SlotWord, after: SlotWord, at: number): void => {
  const from = stateOf(before)
  const to = stateOf(after)
  const wasAtRest = from === U || from === K || homeOf(before) === currentOf(before)
  if (to !== U && (from !== to || (wasAtRest && to !== K)))
    stamp(ring, slot, wasAtRest || to === K ? at : (ring.since?.[slot] ?? at))
  count(ring, from, -1)
  count(ring, to, 1)
  countHome(ring, before, from, -1)
  countHome(ring, after, to, 1)
  writeWord(ring.memory.whole, ring.base + slot, after)
}

/** Gives slots their wanted owners. @returns how many it wrote */
const giveSlots = (
  ring: Ring,
  slots: Int32Array,
  owners: Int32Array,
  ids: Int32Array,
  rules: OwnerRules,
  at: number,
): number => {
  const { words } = ring.memory
  let written = 0
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i]!
    const index = owners[slot]!
    const before = readWord(words, ring.base + slot)
    const after = withOwner(before, index < 0 ? 0 : ids[index]!, rules)
    if (after === before) continue
    store(ring, slot, before, after, at)
    written++
  }
  return written
}

/** @param now milliseconds, monotonic */
export const createRingSlots = (
  memory: SlotMemory,
  base: number,
  size: number,
  now: () => number,
): RingSlots => {
  const tracked = { grace: 0, learning: 0, keeping: 0 }
  const ring: Ring = { memory, base, size, since: null, tracked, homes: [] }
  /** The backends of the last setOwners(). */
  let listed: readonly number[] = []

  /** Before `atMs` no slot's time comes, for as long as nothing is stored and the idle time is `idleMs`. */
  let due = { atMs: Number.NEGATIVE_INFINITY, idleMs: 0 }
  /** What the ticks since slot 0 have found of that; null: something was stored since. */
  let earliestMs: number | null = null
  const forgetDue = (): void => {
    due = { atMs: Number.NEGATIVE_INFINITY, idleMs: 0 }
    earliestMs = null
  }

  const clock = (): number => Math.floor(now()) >>> 0
  const isTracked = (): boolean => tracked.grace + tracked.learning + tracked.keeping > 0

  /** Found in use, by a process that began later than they: their clocks begin anew, which is safe. */
  const adopt = (): void => {
    const at = clock()
    for (let slot = 0; slot < size; slot++) {
      const word = readWord(ring.memory.words, base + slot)
      const state = stateOf(word)
      if (state === U) continue
      count(ring, state, 1)
      countHome(ring, word, state, 1)
      stamp(ring, slot, at)
    }
  }

  /** What setOwners() comes to where nothing is tracked, nor was. */
  const setUntracked = (owners: Int32Array, ids: readonly number[]): number => {
    const values = ids.map(BigInt)
    const differing = slotsOfOthers(ring.memory.words, base, owners, Int32Array.from(ids))
    for (const slot of differing) {
      const index = owners[slot]!
      Atomics.store(ring.memory.whole, base + slot, index < 0 ? 0n : values[index]!)
    }
    return differing.length
  }

  adopt()

  return {
    base,
    size,
    moveTo: next => {
      ring.memory = next
    },
    setOwners: (owners, ids, rules) => {
      if (rules.tracking === 'never' && !isTracked()) return setUntracked(owners, ids)
      forgetDue()
      const at = clock()
      // Each home is one of the backends listed the last time: is none of them gone, none of the homes is.
      const mayBeGone = tracked.grace + tracked.learning > 0
      const isSomeGone = mayBeGone && (listed.length === 0 || listed.some(rules.isGone))
      listed = ids
      const wanted = Int32Array.from(ids)
      const isForAll = rules.tracking === 'always' || isSomeGone
      const slots = isForAll ? all(size) : slotsOfOthers(ring.memory.words, base, owners, wanted)
      return giveSlots(ring, slots, owners, wanted, rules, at)
    },
    isDue: idleMs => tracked.grace + tracked.learning > 0 && (idleMs !== due.idleMs || now() >= due.atMs),
    isTracked,
    tick: ({ from, to }, idleMs, tracking, pressed) => {
      const { since } = ring
      if (tracked.grace + tracked.learning === 0 || since === null) return 0
      if (from === 0) forgetDue()
      const at = clock()
      const { words } = ring.memory
      let written = 0
      let leastMs = Number.POSITIVE_INFINITY
      let earliestBefore = from === 0 ? Number.POSITIVE_INFINITY : earliestMs
      for (let slot = from; slot < to; slot++) {
        const state = (words[2 * (base + slot) + LOW]! >>> slotLayout.SLOT_STATE_SHIFT) & 3
        if (state !== G && state !== L) continue
        const sinceMs = (at - since[slot]!) >>> 0
        const leftMs = (state === G ? GRACE_MS : idleMs) - sinceMs
        if (leftMs > 0) {
          if (leftMs < leastMs) leastMs = leftMs
          continue
        }
        const before = readWord(words, base + slot)
        const after = withTime(before, sinceMs, idleMs, false, tracking)
        if (after === before) continue
        // A flow that found no place is remembered nowhere: the slot goes on learning.
        if (state === L && pressed(base + slot)) {
          since[slot] = at
          if (idleMs < leastMs) leastMs = idleMs
          continue
        }
        store(ring, slot, before, after, at)
        written++
      }
      if (written > 0) earliestBefore = null
      earliestMs = earliestBefore === null ? null : Math.min(earliestBefore, now() + leastMs)
      if (to === size && earliestMs !== null) due = { atMs: earliestMs, idleMs }
      return written
    },
    swept: ({ from, to }, beganMs, exceptions, pressed, tracking) => {
      const { since } = ring
      if (!isTracked() || since === null) return 0
      const at = clock()
      const began = Math.floor(beganMs) >>> 0
      const { words } = ring.memory
      let written = 0
      for (let slot = from; slot < to; slot++) {
        const state = (words[2 * (base + slot) + LOW]! >>> slotLayout.SLOT_STATE_SHIFT) & 3
        if (state === L && pressed(base + slot)) since[slot] = at
        // Kept since before the sweep began, and not since the same millisecond: the signed difference is positive.
        if (state !== K || exceptions.has(base + slot) || ((began - since[slot]!) | 0) <= 0) continue
        const before = readWord(words, base + slot)
        store(ring, slot, before, withTime(before, 0, 0, true, tracking), at)
        written++
      }
      return written
    },
    counts: () => ({ ...tracked }),
    isHome: id => (ring.homes[id >>> PAGE_BITS]?.[id & (2 ** PAGE_BITS - 1)] ?? 0) > 0,
  }
}
