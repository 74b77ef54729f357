/**
 * One sweep of the flow cache: counts what lives, removes what is over. Pure but for the memory, which the data plane
 * writes meanwhile: an entry is removed by compare-exchange against what was read.
 */
import { ageOf, SECONDS_PER_UNIT } from './flow-clock.js'
import { LOW } from './flow-entry.js'
import { flowClass, flowLayout, slotLayout, slotState } from './layout.js'
import { createSlotSet, type SlotSet } from './slot-set.js'

const { FLOWS_PER_BUCKET, FLOW_FINGERPRINT_BITS } = flowLayout
const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1
const SEEN_MASK = 2 ** flowLayout.FLOW_SEEN_BITS - 1
/** A half-open or closed flow that is over for good. */
export const SHORT_UNITS = 60 / SECONDS_PER_UNIT
/** 2654435769 modulo 2^32, inverted: the bucket's bits back to the hash bits that gave the slot. */
const INVERSE = 340573321

export interface SweptService {
  readonly id: number
  readonly base: number
  readonly size: number
  /** Units of the flow clock. */
  readonly idle: number
}

export interface SweepRequest {
  /** Reading of the flow clock. */
  readonly now: number
  readonly services: readonly SweptService[]
  /** By backend id: an index into `services`, or -1: no such backend when the sweep began. */
  readonly serviceOf: Int32Array
}

export interface SweepMemory {
  readonly flowCache: ArrayBuffer
  readonly slots: ArrayBuffer
}

export interface SweepResult {
  /** Live entries, by backend id; those of backends that are no more are counted before they are removed. */
  readonly flows: Uint32Array
  readonly live: number
  readonly removed: number
  /** Slots (indexes of all slots) in state K that hold an exception: a live entry with another backend. */
  readonly exceptions: Uint32Array
}

const HIGH = 1 - LOW
/** The members of an entry that lie in its upper half, and how far the stamp reaches into it. */
const CLASS_SHIFT = flowLayout.FLOW_CLASS_SHIFT - 32
const FINGERPRINT_SHIFT = flowLayout.FLOW_FINGERPRINT_SHIFT - 32
const SEEN_LOW_BITS = 32 - flowLayout.FLOW_SEEN_SHIFT

/** The services as columns: what the loop reads of them is nothing but numbers. */
interface Columns {
  readonly base: Int32Array
  readonly size: Int32Array
  readonly idle: Int32Array
  /** Of entries that are not open. */
  readonly short: Int32Array
}

const columnsOf = (services: readonly SweptService[]): Columns => ({
  base: Int32Array.from(services, ({ base }) => base),
  size: Int32Array.from(services, ({ size }) => size),
  idle: Int32Array.from(services, ({ idle }) => idle),
  short: Int32Array.from(services, ({ idle }) => Math.min(SHORT_UNITS, idle)),
})

/** False: the data plane has written the place since it was read. */
const remove = (whole: BigUint64Array, place: number, low: number, high: number): boolean => {
  const read = (BigInt(high) << 32n) | BigInt(low)
  return Atomics.compareExchange(whole, place, read, 0n) === read
}

/** Goes through entries `from`..`to`-1 of the cache; `found` gathers what a whole sweep finds. */
export const sweepSlice = (
  memory: SweepMemory,
  request: SweepRequest,
  from: number,
  to: number,
  found: Found,
): void => {
  const words = new Uint32Array(memory.flowCache)
  const whole = new BigUint64Array(memory.flowCache)
  const slots = new Uint32Array(memory.slots)
  const bits = Math.log2(whole.length / FLOWS_PER_BUCKET)
  const { now, serviceOf } = request
  const { base, size, idle, short } = columnsOf(request.services)
  const { flows, exceptions } = found
  let live = 0
  let removed = 0

  for (let place = from; place < to; place++) {
    // An entry that is stamped anew while it is looked at is looked at again, once.
    for (let looks = 0; looks < 2; looks++) {
      const low = words[2 * place + LOW]!
      const high = words[2 * place + HIGH]!
      if ((low | high) === 0) break
      const id = low & ID_MASK
      const service = id < serviceOf.length ? serviceOf[id]! : -1
      const seen = ((low >>> flowLayout.FLOW_SEEN_SHIFT) | (high << SEEN_LOW_BITS)) & SEEN_MASK
      const age = ageOf(seen, now)
      if (service < 0) {
        // What is stamped since the sweep began may be of a backend that came since then.
        const isDone = age === 0 || remove(whole, place, low, high)
        if (!isDone) continue
        if (age !== 0) removed++
        if (id < flows.length) flows[id]!++
        break
      }
      const isOpen = ((high >>> CLASS_SHIFT) & 3) === flowClass.FLOW_OPEN
      let isOver = age > (isOpen ? idle[service]! : short[service]!)
      if (!isOver) {
        const slot =
          base[service]! +
          slotOfEntry((place / FLOWS_PER_BUCKET) | 0, high >>> FINGERPRINT_SHIFT, bits, size[service]!)
        const slotLow = slots[2 * slot + LOW]!
        const state = (slotLow >>> slotLayout.SLOT_STATE_SHIFT) & 3
        isOver =
          state === slotState.SLOT_UNTRACKED ||
          (state === slotState.SLOT_KEEPING && (slotLow & ID_MASK) === id)
        if (!isOver) {
          flows[id]!++
          live++
          if (state === slotState.SLOT_KEEPING) exceptions.add(slot)
          break
        }
      }
      if (!remove(whole, place, low, high)) continue
      removed++
      break
    }
  }
  found.live += live
  found.removed += removed
}

/** The slot within its ring, from an entry's bucket and fingerprint. */
export const slotOfEntry = (bucket: number, fingerprint: number, bits: number, size: number): number => {
  // The fingerprint's upper 32 - bits bits are the spread hash's lower ones; the bucket is its upper ones.
  const rest = fingerprint >>> (FLOW_FINGERPRINT_BITS - (32 - bits))
  const hash = Math.imul((bucket << (32 - bits)) | rest, INVERSE) >>> 0
  return Math.floor(hash * size * 2 ** -32) // below 2^52: exact
}

/** What a sweep gathers. */
export interface Found {
  readonly flows: Uint32Array
  readonly exceptions: SlotSet
  live: number
  removed: number
}

export const nothingFound = (ids: number): Found => ({
  flows: new Uint32Array(ids),
  exceptions: createSlotSet(),
  live: 0,
  removed: 0,
})

/** So that what the first slices have taught the compiler serves the rest. */
const SLICE_ENTRIES = 65536

/** A whole sweep in one go, slice by slice. */
export const sweep = (memory: SweepMemory, request: SweepRequest): SweepResult => {
  const found = nothingFound(request.serviceOf.length)
  const entries = memory.flowCache.byteLength / 8
  for (let from = 0; from < entries; from += SLICE_ENTRIES)
    sweepSlice(memory, request, from, Math.min(entries, from + SLICE_ENTRIES), found)
  return { ...found, exceptions: found.exceptions.toArray() }
}
