/** Three ways to choose a packet's backend: the ring alone, a table of flows beside it, tracked slots. */
import { ageOf, unitsOf } from '../../src/dataplane/flow-clock.js'
import {
  currentOf,
  homeOf,
  K,
  L,
  type OwnerRules,
  stateOf,
  U,
  withOwner,
  withTime,
} from '../../src/dataplane/slot.js'
import { type RecallBackend, type RecallEntry, recall } from '../../test/model/recall.js'

export const IDLE_MS = 900_000
export const UDP_IDLE_MS = 60_000
const [TCP, UDP] = [0, 1]
const SHORT_UNITS = 15
const STATES = ['U', 'G', 'L', 'K'] as const

export interface Backend {
  readonly isDead: boolean
  readonly takesNew: boolean
}

export interface Packet {
  /** Which flow; its hash follows from it. */
  readonly flow: number
  readonly isUdp: boolean
  readonly kind: 'syn' | 'data' | 'fin'
}

export interface Policy {
  /** @returns a backend's id */
  send(packet: Packet, now: number): number
  setOwners(owners: Int32Array, now: number): void
  /** Once a second, and every ten. */
  tick(now: number): void
  sweep(now: number): void
  /** 0..1, of the slots of TCP. */
  trackedShare(): number
}

/** 32 bits: murmur3's finalizer. */
export const hashOf = (flow: number): number => {
  let x = (flow ^ 0x9e3779b9) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
const slotOf = (flow: number, size: number): number => Math.floor((hashOf(flow) * size) / 2 ** 32)

export const ringAlone = (first: Int32Array): Policy => {
  let ring = first
  return {
    send: ({ flow }) => ring[slotOf(flow, ring.length)]!,
    setOwners: owners => {
      ring = owners
    },
    tick: () => {},
    sweep: () => {},
    trackedShare: () => 0,
  }
}

/** The least recently seen flow goes first, exactly; closed ones stay, as in katran. */
export const flowTable = (first: Int32Array, capacity: number, backend: (id: number) => Backend): Policy => {
  const alone = ringAlone(first)
  const table = new Map<number, number>()
  return {
    ...alone,
    send: (packet, now) => {
      const { flow, kind } = packet
      const known = kind === 'syn' ? undefined : table.get(flow)
      const id = known !== undefined && !backend(known).isDead ? known : alone.send(packet, now)
      table.delete(flow)
      table.set(flow, id)
      if (table.size > capacity) table.delete(table.keys().next().value!)
      return id
    },
  }
}

export const trackedSlots = (
  first: Int32Array,
  entries: number,
  backend: (id: number) => Backend,
): Policy => {
  const size = first.length
  // A slot serves both services here, so each has slots of its own.
  const words = [TCP, UDP].map(() => Float64Array.from(first))
  const since = [TCP, UDP].map(() => new Float64Array(size))
  const marked = [TCP, UDP].map(() => new Uint8Array(size))
  const buckets = Array.from({ length: entries / 8 }, () => new Array<RecallEntry | null>(8).fill(null))
  const spread = Math.log2(buckets.length)
  const units = (ms: number): number => Math.floor(ms / 4000) & 0x3fff
  const idle = [unitsOf(IDLE_MS), unitsOf(UDP_IDLE_MS)]
  const idleMs = [IDLE_MS, UDP_IDLE_MS]
  // Ids of the second service are the first one's, negative: one backend serves both.
  const backendOf = (id: number): RecallBackend => {
    const service = id < 0 ? UDP : TCP
    return { ...backend(Math.abs(id)), service, idle: idle[service]! }
  }
  const rules: OwnerRules = {
    tracking: 'on-change',
    takesNew: id => backend(id).takesNew,
    isGone: () => false,
  }
  const each = (change: (word: number, service: number, slot: number) => number): void => {
    for (const service of [TCP, UDP])
      for (let slot = 0; slot < size; slot++)
        words[service]![slot] = change(words[service]![slot]!, service, slot)
  }
  const isAtRest = (word: number): boolean => stateOf(word) === U || stateOf(word) === K

  return {
    send: ({ flow, isUdp, kind }, now) => {
      const service = isUdp ? UDP : TCP
      const slot = slotOf(flow, size)
      const word = words[service]![slot]!
      if (stateOf(word) === U) return currentOf(word)
      const sign = isUdp ? -1 : 1
      const bucket = buckets[Math.imul(hashOf(flow), 2654435769) >>> (32 - spread)]!
      const { id, isMarked } = recall(
        bucket,
        { state: STATES[stateOf(word)]!, current: sign * currentOf(word), home: sign * homeOf(word) },
        {
          service,
          synOpens: !isUdp,
          isSyn: kind === 'syn',
          isClosing: kind === 'fin',
          fingerprint: flow,
          now: units(now),
        },
        backendOf,
      )
      if (isMarked) marked[service]![slot] = 1
      return Math.abs(id)
    },
    setOwners: (owners, now) => {
      each((word, service, slot) => {
        const next = withOwner(word, owners[slot]!, rules)
        if (isAtRest(word) && !isAtRest(next)) since[service]![slot] = now
        if (stateOf(next) === K && stateOf(word) !== K) since[service]![slot] = now
        return next
      })
    },
    tick: now => {
      each((word, service, slot) => {
        const next = withTime(word, now - since[service]![slot]!, idleMs[service]!, false, 'on-change')
        if (next === word) return word
        if (stateOf(word) === L && marked[service]![slot]) {
          marked[service]![slot] = 0
          since[service]![slot] = now
          return word
        }
        if (stateOf(next) === K) since[service]![slot] = now
        return next
      })
    },
    sweep: now => {
      const exceptions = [TCP, UDP].map(() => new Uint8Array(size))
      for (const bucket of buckets)
        for (let place = 0; place < 8; place++) {
          const entry = bucket[place]
          if (!entry) continue
          const service = entry.id < 0 ? UDP : TCP
          const slot = slotOf(entry.fingerprint, size)
          const word = words[service]![slot]!
          const isOver = ageOf(entry.seen, units(now)) > (entry.kind === 2 ? idle[service]! : SHORT_UNITS)
          const isKept = stateOf(word) === K && Math.abs(entry.id) !== currentOf(word)
          if (isOver || stateOf(word) === U || (stateOf(word) === K && !isKept)) bucket[place] = null
          else if (isKept) exceptions[service]![slot] = 1
        }
      each((word, service, slot) => {
        if (stateOf(word) === L && marked[service]![slot]) {
          marked[service]![slot] = 0
          since[service]![slot] = now
        }
        const isClean = !exceptions[service]![slot] && since[service]![slot]! < now
        return stateOf(word) === K ? withTime(word, 0, 0, isClean, 'on-change') : word
      })
    },
    trackedShare: () => words[TCP]!.reduce((sum, word) => sum + (stateOf(word) === U ? 0 : 1), 0) / size,
  }
}
