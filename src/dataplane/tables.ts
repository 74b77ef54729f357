/**
 * What the data plane should have, brought into its tables with the fewest stores. Orders: a backend's entry and its flags
 * before the slots that name it, a ring before the service that names it; what goes is left in place until no packet can
 * be holding it. What does not fit loads a larger program (Dataplane.reshape).
 */
import { addressBytes, addressText } from '../address.js'
import { BalancerError } from '../errors.js'
import { hashMask, hashSeed } from '../flow-hash.js'
import { type Protocol, type Service, serviceIdentity } from '../model.js'
import { createIds, createRegions } from './allocator.js'
import { type BackendStore, createBackendStore, type WantedBackend } from './backends.js'
import { addCounts, type BackendCount, noCount } from './counters.js'
import type { Dataplane, Shape } from './dataplane.js'
import { unitsOf } from './flow-clock.js'
import { backendFlags, interfaceLayout, serviceFlags, slotLayout } from './layout.js'
import { createServiceTable, type ServiceEntry, type ServiceTable } from './service-table.js'
import type { OwnerRules } from './slot.js'
import { createRingSlots, type RingSlots, type SlotMemory, type StateCounts, slotMemory } from './slots.js'
import type { SweepRequest, SweepResult } from './sweep.js'

export type { NextHop, WantedBackend } from './backends.js'

const IPPROTO: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 }
const MAX_BACKENDS = 2 ** slotLayout.SLOT_CURRENT_BITS
/** Far longer than a packet is in the program: an id, a bucket, a region freed is not used again before. */
const GRACE_MS = 1000
const MAX_RESEEDS = 8

/** An interface that traffic enters by. */
export interface EntryInterface {
  readonly ifindex: number
  readonly mac: Uint8Array
}

export interface WantedService {
  readonly service: Service
  /** One that is no longer listed is gone: nobody goes back to it. One that is leaving is listed, but owns no slot. */
  readonly backends: readonly WantedBackend[]
  /** Per slot an index into `backends`, -1: nobody. */
  readonly owners: Int32Array
}

export interface ServiceCounts {
  readonly backends: ReadonlyMap<string, BackendCount>
  /** Of backends that are gone. */
  readonly retired: BackendCount
}

export interface TrackingState extends StateCounts {
  readonly tracked: number
  /** Slots that the last put wrote. */
  readonly written: number
}

export interface LiveFlows {
  /** Entries with this backend, by the last sweep. */
  readonly live: number
  /** False while a slot in grace or learning still has it as home: "at least". */
  readonly isExact: boolean
  /** When the last whole sweep began; -Infinity before the first. */
  readonly sweepBeganMs: number
}

export interface Tables {
  /**
   * Adds or changes services; an `owners` that is the very array of the last time is not looked at. Resolves when every
   * changed slot is in place.
   *
   * @returns how many slots were written
   * @throws BalancerError `ERR_LIMIT`
   */
  put(wanted: readonly WantedService[]): Promise<number>
  remove(identities: readonly string[]): void
  /** What is there: also what an adopted data plane held. */
  identities(): readonly string[]
  setInterfaces(wanted: readonly EntryInterface[]): Promise<void>
  /** Another key for the flow hash: every flow may change its slot. */
  setSeed(seed: string): Promise<void>
  /** Once a second: slots whose time has come move on. */
  tick(): void
  /** One sweep of the flow cache; resolves when its findings are in effect. */
  sweep(): Promise<void>
  /** null: the service tracks nothing. */
  flows(service: string, backend: string): LiveFlows | null
  tracking(service: string): TrackingState
  /** What names an id in a trace. */
  serviceOf(id: number): string | null
  backendOf(id: number): { readonly service: string; readonly identity: string } | null
  /** One backend's, by its service's identity and its own. */
  count(service: string, backend: string): BackendCount
  /** By service identity, then backend identity. */
  counts(): Promise<ReadonlyMap<string, ServiceCounts>>
}

export interface TablesOptions {
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** Reading of the flow clock. */
  readonly flowClock?: () => number
  /** Sweeps the flow cache of a data plane; without it nothing is swept. */
  readonly sweep?: (dataplane: Dataplane, request: SweepRequest) => Promise<SweepResult>
}

interface Present {
  readonly id: number
  slots: RingSlots
  /** The entry in the service table. */
  entry: ServiceEntry | null
  wanted: WantedService | null
  /** What its former backends have counted. */
  retired: BackendCount
  written: number
}

const isTracking = ({ tracking }: Service): boolean => tracking !== 'never'

/** A SYN marks a new flow only where the whole tuple is hashed. */
const synOpens = ({ protocol, hash }: Service): boolean =>
  protocol === 'tcp' && hash.includes('source') && hash.includes('source-port')

const idleMs = ({ protocol, idleTimeMs, udpIdleTimeMs }: Service): number =>
  protocol === 'udp' ? udpIdleTimeMs : idleTimeMs

export const createTables = (dataplane: Dataplane, options: TablesOptions): Tables => {
  const { now } = options
  let { seed } = dataplane.shape
  let interfaces: readonly EntryInterface[] = []
  let slots: SlotMemory = slotMemory(dataplane.memory('slots'))
  let services: ServiceTable = createServiceTable(
    dataplane.memory('services'),
    dataplane.serviceSeed,
    GRACE_MS,
    now,
  )
  let lastSweep: { readonly beganMs: number; readonly flows: Uint32Array } = {
    beganMs: Number.NEGATIVE_INFINITY,
    flows: new Uint32Array(0),
  }
  const present = new Map<string, Present>()

  const backends: BackendStore = createBackendStore(dataplane, GRACE_MS, now, () => dataplane.shape.tracking)
  for (const entry of services.entries()) {
    const protocol = entry.protocol === IPPROTO.tcp ? 'tcp' : 'udp'
    const identity = serviceIdentity({ vip: addressText(entry.addr), port: entry.port, protocol })
    present.set(identity, {
      id: entry.id,
      slots: createRingSlots(slots, entry.ringBase, entry.ringSize, now),
      entry,
      wanted: null,
      retired: noCount,
      written: 0,
    })
  }
  const serviceIds = createIds(
    0,
    dataplane.shape.services,
    GRACE_MS,
    now,
    new Set([...present.values()].map(({ id }) => id)),
  )
  const regions = createRegions(
    dataplane.shape.slots,
    GRACE_MS,
    now,
    [...present.values()].map(({ slots: { base, size } }) => ({ base, size })),
  )

  const writeInterfaces = (memory: ArrayBuffer): void => {
    const words = new BigUint64Array(memory)
    const width = interfaceLayout.size / 8
    const buckets = words.length / width
    const byBucket = new Map(interfaces.map(one => [one.ifindex % buckets, one]))
    for (let bucket = 0; bucket < buckets; bucket++) {
      const record = interfaceLayout.encode(byBucket.get(bucket) ?? { ifindex: 0, mac: new Uint8Array(6) })
      new BigUint64Array(record.buffer).forEach((word, i) => {
        if (words[bucket * width + i] !== word) Atomics.store(words, bucket * width + i, word)
      })
    }
  }

  const entryOf = ({ service }: WantedService, { id, slots: { base, size } }: Present): ServiceEntry => ({
    addr: addressBytes(service.vip),
    port: service.port,
    protocol: IPPROTO[service.protocol],
    flags:
      (service.noBackend === 'reject' ? serviceFlags.SERVICE_REJECT : 0) |
      (synOpens(service) ? serviceFlags.SERVICE_SYN_OPENS : 0),
    idle: unitsOf(idleMs(service)),
    ringBase: base,
    ringSize: size,
    hashSeed: hashSeed(seed, service),
    hashMask: hashMask(service.hash),
    id,
  })

  /** Loads a program with room for more, or laid out by another seed, and moves over to it. */
  const reshape = async (change: Partial<Shape>): Promise<void> => {
    const shape = { ...dataplane.shape, ...change }
    /** Nothing is touched when a service finds no room: the next seed may do better. */
    const fill = (next: Dataplane): boolean => {
      const table = createServiceTable(next.memory('services'), next.serviceSeed, GRACE_MS, now)
      const entries = new Map(
        [...present.values()].map(at => [at, at.wanted ? entryOf(at.wanted, at) : at.entry] as const),
      )
      for (const entry of entries.values()) if (entry && !table.put(entry)) return false

      const before = dataplane.memory('slots')
      const after = next.memory('slots')
      if (after.byteLength !== before.byteLength) new BigUint64Array(after).set(new BigUint64Array(before))
      slots = slotMemory(after)
      backends.moveTo(next.memory('backends'), shape.backends)
      writeInterfaces(next.memory('interfaces'))
      services = table
      for (const [at, entry] of entries) {
        at.slots.moveTo(slots)
        at.entry = entry
      }
      return true
    }
    for (let attempt = 0; !(await dataplane.reshape(shape, fill)); attempt++)
      if (attempt === MAX_RESEEDS)
        throw new BalancerError('ERR_LIMIT', `no room for ${present.size} services in the service table`)
    serviceIds.grow(shape.services)
    regions.grow(shape.slots)
  }

  const double = (capacity: number, needed: number): number => {
    let next = capacity
    while (next < needed) next *= 2
    return next
  }

  const makeRoom = async (wanted: readonly WantedService[]): Promise<void> => {
    const fresh = wanted.filter(({ service }) => !present.has(serviceIdentity(service))).length
    const freshBackends = wanted.reduce((sum, { service, backends: all }) => {
      const at = present.get(serviceIdentity(service))
      return (
        sum +
        all.filter(({ identity }) => at === undefined || backends.idOf(at.id, identity) === undefined).length
      )
    }, 0)
    const { shape } = dataplane
    const change: { -readonly [K in keyof Shape]?: Shape[K] } = {}
    if (!serviceIds.hasRoom(fresh)) change.services = double(shape.services, shape.services + fresh)
    if (!backends.hasRoom(freshBackends)) {
      change.backends = Math.min(MAX_BACKENDS, double(shape.backends, shape.backends + freshBackends))
      if (change.backends === shape.backends)
        throw new BalancerError('ERR_LIMIT', `more than ${MAX_BACKENDS - 1} backends in all`)
    }
    if (!shape.anyPort && wanted.some(({ service }) => service.port === 0)) change.anyPort = true
    if (!shape.tracking && wanted.some(({ service }) => isTracking(service))) change.tracking = true
    if (Object.keys(change).length > 0) await reshape(change)
  }

  const takeRegion = async (size: number): Promise<number> => {
    const base = regions.take(size)
    if (base !== null) return base
    await reshape({ slots: double(dataplane.shape.slots, dataplane.shape.slots + size) })
    return takeRegion(size)
  }

  const freshSlots = async (size: number): Promise<RingSlots> => {
    const base = await takeRegion(size)
    for (let slot = 0; slot < size; slot++) slots.write(base + slot, 0)
    return createRingSlots(slots, base, size, now)
  }

  const refusing = backendFlags.BACKEND_DEAD | backendFlags.BACKEND_NO_NEW

  const rulesOf = (service: Service, listed: ReadonlySet<number>): OwnerRules => ({
    tracking: service.tracking,
    takesNew: id => (backends.flags(id) & refusing) === 0,
    isGone: id => !listed.has(id),
  })

  /** No slot names it any more; what it has counted stays with its service. */
  const retire = (at: Present, id: number): void => {
    at.retired = addCounts(at.retired, backends.count(id, dataplane.backendCount(id)))
    backends.retire(id)
  }

  const putOne = async (wanted: WantedService): Promise<number> => {
    const { service, owners } = wanted
    const name = serviceIdentity(service)
    const size = owners.length
    const at: Present = present.get(name) ?? {
      id: serviceIds.take(),
      slots: await freshSlots(size),
      entry: null,
      wanted: null,
      retired: noCount,
      written: 0,
    }
    const former = at.slots
    const isResized = former.size !== size
    if (isResized) at.slots = await freshSlots(size)

    const idle = unitsOf(idleMs(service))
    const ids = wanted.backends.map(backend => backends.write(at.id, backend, idle))
    const listed = new Set(ids)
    const gone = [...backends.ofService(at.id).values()].filter(id => !listed.has(id))
    for (const id of gone) backends.markDead(id)

    const isSameRing =
      at.wanted?.owners === owners &&
      at.wanted.service.tracking === service.tracking &&
      gone.length === 0 &&
      !isResized
    at.written = isSameRing ? 0 : at.slots.setOwners(owners, ids, rulesOf(service, listed))
    at.wanted = wanted
    at.entry = entryOf(wanted, at)
    present.set(name, at)
    if (!services.put(at.entry)) await reshape({})
    for (const id of gone) retire(at, id)
    if (isResized) regions.free(former.base, former.size)
    return at.written
  }

  const sweepRequest = (): SweepRequest => {
    const all = [...present.values()].filter(({ entry }) => entry !== null)
    const serviceOf = new Int32Array(dataplane.shape.backends).fill(-1)
    all.forEach((at, index) => {
      for (const id of backends.ofService(at.id).values()) serviceOf[id] = index
    })
    return {
      now: options.flowClock?.() ?? 0,
      services: all.map(({ id, entry, slots: { base, size } }) => ({ id, base, size, idle: entry!.idle })),
      serviceOf,
    }
  }

  /** Whether a flow of a slot has found no place; the mark is cleared. */
  const takePressure = (index: number): boolean => {
    const marks = new Uint8Array(dataplane.memory('pressure'))
    if (marks[index] !== 1) return false
    marks[index] = 0
    return true
  }

  return {
    put: async wanted => {
      await makeRoom(wanted)
      let written = 0
      for (const one of wanted) written += await putOne(one)
      return written
    },
    remove: identities => {
      for (const identity of identities) {
        const at = present.get(identity)
        if (!at) continue
        if (at.entry) services.remove(at.entry)
        for (const id of [...backends.ofService(at.id).values()]) {
          backends.markDead(id)
          retire(at, id)
        }
        regions.free(at.slots.base, at.slots.size)
        serviceIds.free(at.id)
        present.delete(identity)
      }
    },
    identities: () => [...present.keys()],
    setInterfaces: async wanted => {
      interfaces = wanted
      let width = dataplane.shape.interfaces
      while (new Set(wanted.map(({ ifindex }) => ifindex % width)).size !== wanted.length) width *= 2
      if (width !== dataplane.shape.interfaces) await reshape({ interfaces: width })
      else writeInterfaces(dataplane.memory('interfaces'))
    },
    setSeed: async wanted => {
      if (wanted === seed) return
      seed = wanted
      await reshape({ seed })
    },
    tick: () => {
      for (const { slots: ring, wanted } of present.values())
        if (wanted) ring.tick(idleMs(wanted.service), wanted.service.tracking, takePressure)
    },
    sweep: async () => {
      if (!dataplane.shape.tracking || !options.sweep) return
      const beganMs = now()
      const { flows, exceptions } = await options.sweep(dataplane, sweepRequest())
      const inUse = new Set(exceptions)
      for (const { slots: ring, wanted } of present.values())
        ring.swept(beganMs, inUse, takePressure, wanted?.service.tracking ?? 'on-change')
      backends.swept(beganMs, flows)
      lastSweep = { beganMs, flows }
    },
    flows: (service, backend) => {
      const at = present.get(service)
      const id = at && backends.idOf(at.id, backend)
      if (!at?.wanted || id === undefined || !isTracking(at.wanted.service)) return null
      return {
        live: lastSweep.flows[id] ?? 0,
        isExact: !at.slots.homes().has(id),
        sweepBeganMs: lastSweep.beganMs,
      }
    },
    tracking: service => {
      const at = present.get(service)
      const counts = at?.slots.counts() ?? { grace: 0, learning: 0, keeping: 0 }
      return {
        ...counts,
        tracked: counts.grace + counts.learning + counts.keeping,
        written: at?.written ?? 0,
      }
    },
    serviceOf: id => [...present].find(([, at]) => at.id === id)?.[0] ?? null,
    backendOf: id => {
      const owner = backends.owner(id)
      const service = owner && [...present].find(([, at]) => at.id === owner.service)?.[0]
      return owner && service ? { service, identity: owner.identity } : null
    },
    count: (service, backend) => {
      const at = present.get(service)
      const id = at && backends.idOf(at.id, backend)
      return id === undefined ? noCount : backends.count(id, dataplane.backendCount(id))
    },
    counts: async () => {
      const raw = await dataplane.backendCounts()
      return new Map(
        [...present].map(([name, at]) => [
          name,
          {
            backends: new Map(
              [...backends.ofService(at.id)].map(([identity, id]) => [
                identity,
                backends.count(id, raw.get(id) ?? noCount),
              ]),
            ),
            retired: at.retired,
          },
        ]),
      )
    },
  }
}
