/**
 * One sweep of the flow cache: counts what lives, removes what is over. Pure but for the memory, which the data plane
 * writes meanwhile: an entry is removed by compare-exchange against what was read.
 */
import { ageOf, SECONDS_PER_UNIT } from './flow-clock.js'
import { flowClass, flowLayout, slotLayout, slotState } from './layout.js'

const { FLOWS_PER_BUCKET, FLOW_FINGERPRINT_BITS } = flowLayout
const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1
const SEEN_MASK = 2 ** flowLayout.FLOW_SEEN_BITS - 1
/** A half-open or closed flow that is over for good. */
const SHORT_UNITS = 60 / SECONDS_PER_UNIT
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

const LOW = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1

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
  const { now, services, serviceOf } = request

  /** False: the data plane has written the place since it was read. */
  const remove = (place: number, low: number, high: number): boolean => {
    const read = (BigInt(high) << 32n) | BigInt(low)
    const isRemoved = Atomics.compareExchange(whole, place, read, 0n) === read
    if (isRemoved) found.removed++
    return isRemoved
  }

  /** False: to be looked at again. */
  const look = (place: number): boolean => {
    const low = words[2 * place + LOW]!
    const high = words[2 * place + 1 - LOW]!
    if (low === 0 && high === 0) return true

    const id = low & ID_MASK
    const service = services[serviceOf[id] ?? -1]
    const age = ageOf(((low >>> flowLayout.FLOW_SEEN_SHIFT) | (high << 12)) & SEEN_MASK, now)
    if (!service) {
      // What is stamped since the sweep began may be of a backend that came since then.
      const isDone = age === 0 || remove(place, low, high)
      if (isDone && id < found.flows.length) found.flows[id]!++
      return isDone
    }
    const kind = (high >>> (flowLayout.FLOW_CLASS_SHIFT - 32)) & 3
    const longest = kind === flowClass.FLOW_OPEN ? service.idle : Math.min(SHORT_UNITS, service.idle)
    if (age > longest) return remove(place, low, high)

    const rest = (high >>> (flowLayout.FLOW_FINGERPRINT_SHIFT - 32)) >>> 0
    const bucket = Math.floor(place / FLOWS_PER_BUCKET)
    const slot = service.base + slotOfEntry(bucket, rest, bits, service.size)
    const slotLow = slots[2 * slot + LOW]!
    const state = (slotLow >>> slotLayout.SLOT_STATE_SHIFT) & 3
    const isCurrent = (slotLow & ID_MASK) === id
    if (state === slotState.SLOT_UNTRACKED || (state === slotState.SLOT_KEEPING && isCurrent))
      return remove(place, low, high)
    found.flows[id]!++
    found.live++
    if (state === slotState.SLOT_KEEPING) found.exceptions.add(slot)
    return true
  }

  for (let place = from; place < to; place++) if (!look(place)) look(place)
}

/** The slot within its ring, from an entry's bucket and fingerprint. */
export const slotOfEntry = (bucket: number, fingerprint: number, bits: number, size: number): number => {
  // The fingerprint's upper 32 - bits bits are the spread hash's lower ones; the bucket is its upper ones.
  const rest = fingerprint >>> (FLOW_FINGERPRINT_BITS - (32 - bits))
  const spread = ((bucket << (32 - bits)) | rest) >>> 0
  const hash = Math.imul(spread, INVERSE) >>> 0
  return Math.floor((hash * size) / 2 ** 32)
}

/** What a sweep gathers. */
export interface Found {
  readonly flows: Uint32Array
  readonly exceptions: Set<number>
  live: number
  removed: number
}

export const nothingFound = (ids: number): Found => ({
  flows: new Uint32Array(ids),
  exceptions: new Set(),
  live: 0,
  removed: 0,
})

/** A whole sweep in one go: what the worker does slice by slice. */
export const sweep = (memory: SweepMemory, request: SweepRequest): SweepResult => {
  const found = nothingFound(request.serviceOf.length)
  sweepSlice(memory, request, 0, memory.flowCache.byteLength / 8, found)
  return { ...found, exceptions: Uint32Array.from(found.exceptions) }
}
