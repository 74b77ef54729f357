/** The live entries of the flow cache, read for people; which ones live is the sweep's rule (sweep.ts). */
import { ageOf, SECONDS_PER_UNIT } from './flow-clock.js'
import { LOW, ownFormat, readEntry } from './flow-entry.js'
import {
  backendFlags,
  backendLayout,
  flowClass,
  flowLayout,
  forwardMode,
  serviceLayout,
  serviceState,
  slotLayout,
  slotState,
} from './layout.js'
import { SHORT_UNITS, slotOfEntry } from './sweep.js'

export interface TrackedMemory {
  readonly flowCache: ArrayBuffer
  readonly slots: ArrayBuffer
  readonly services: ArrayBuffer
  readonly backends: ArrayBuffer
}

export interface TrackedFlow {
  /** Of its backend. */
  readonly id: number
  /** enum flow_class */
  readonly kind: number
  /** Seconds since it was last seen, to 4 s; and those after which it is forgotten. */
  readonly idle: number
  readonly lifetime: number
}

interface Ring {
  readonly base: number
  readonly size: number
  /** Units of the flow clock. */
  readonly idle: number
}

const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1

/** By service id. */
const ringsOf = (services: ArrayBuffer): Map<number, Ring> => {
  const bytes = new Uint8Array(services)
  const rings = new Map<number, Ring>()
  for (let at = 0; at < bytes.length; at += serviceLayout.size) {
    if (bytes[at + serviceLayout.fields.state.offset] !== serviceState.SERVICE_USED) continue
    const { id, ringBase, ringSize, idle } = serviceLayout.decode(bytes, at)
    if (ringSize > 0) rings.set(id, { base: ringBase, size: ringSize, idle })
  }
  return rings
}

export interface TrackedFlows {
  /** Entries of the cache, free ones too. */
  readonly length: number
  /** The flow whose entry this is; null: it is free, or over. */
  at(place: number): TrackedFlow | null
}

/** @param now reading of the flow clock */
export const readTracked = (memory: TrackedMemory, now: number): TrackedFlows => {
  const words = new Uint32Array(memory.flowCache)
  const slots = new Uint32Array(memory.slots)
  const backends = new Uint8Array(memory.backends)
  const bits = Math.log2(words.length / 2 / flowLayout.FLOWS_PER_BUCKET)
  const rings = ringsOf(memory.services)
  const ringOfBackend = new Map<number, Ring | null>()

  const findRing = (id: number): Ring | null => {
    if ((id + 1) * backendLayout.size > backends.length) return null
    const { mode, flags, service } = backendLayout.decode(backends, id * backendLayout.size)
    const isThere = mode !== forwardMode.FORWARD_NONE && (flags & backendFlags.BACKEND_GONE) === 0
    return (isThere && rings.get(service)) || null
  }
  const ringOf = (id: number): Ring | null => {
    const before = ringOfBackend.get(id)
    if (before !== undefined) return before
    const ring = findRing(id)
    ringOfBackend.set(id, ring)
    return ring
  }

  return {
    length: words.length / 2,
    at: place => {
      const [low, high] = [words[2 * place + LOW]!, words[2 * place + 1 - LOW]!]
      if ((low | high) === 0) return null
      const { id, seen, kind, print } = readEntry(low, high, ownFormat)
      const ring = ringOf(id)
      if (ring === null) return null
      const lifetime = kind === flowClass.FLOW_OPEN ? ring.idle : Math.min(SHORT_UNITS, ring.idle)
      const age = ageOf(seen, now)
      if (age > lifetime) return null
      const bucket = Math.floor(place / flowLayout.FLOWS_PER_BUCKET)
      const slot = slots[2 * (ring.base + slotOfEntry(bucket, print, bits, ring.size)) + LOW]!
      const state = (slot >>> slotLayout.SLOT_STATE_SHIFT) & 3
      if (state === slotState.SLOT_UNTRACKED) return null
      if (state === slotState.SLOT_KEEPING && (slot & ID_MASK) === id) return null
      return { id, kind, idle: age * SECONDS_PER_UNIT, lifetime: lifetime * SECONDS_PER_UNIT }
    },
  }
}
