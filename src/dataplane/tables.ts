/**
 * What the data plane should have, brought into its tables with the fewest stores. Orders: a backend's entry before the
 * slots that name it, a ring before the service that names it; what goes is left in place until no packet can be
 * holding it. What does not fit loads a larger program (Dataplane.reshape).
 */
import { addressBytes } from '../address.js'
import { BalancerError } from '../errors.js'
import { hashMask, hashSeed } from '../flow-hash.js'
import { type Service, serviceIdentity } from '../model.js'
import { createIds, createRegions, type IdAllocator, type RegionAllocator } from './allocator.js'
import { addCounts, type BackendCount, minusCounts, noCount } from './counters.js'
import type { Dataplane } from './dataplane.js'
import {
  backendFlags,
  backendLayout,
  forwardMode,
  interfaceLayout,
  serviceFlags,
  slotLayout,
} from './layout.js'
import { createServiceTable, type ServiceTable } from './service-table.js'

const IPPROTO = { tcp: 6, udp: 17 } as const
const MAX_BACKENDS = 2 ** slotLayout.SLOT_CURRENT_BITS
/** Far longer than a packet is in the program: an id, a bucket, a region freed is not used again before. */
const GRACE_MS = 1000

export interface NextHop {
  readonly ifindex: number
  /** The next hop's, 6 bytes. */
  readonly mac: Uint8Array
  /** The outgoing interface's, 6 bytes. */
  readonly sourceMac: Uint8Array
}

/** An interface that traffic enters by. */
export interface EntryInterface {
  readonly ifindex: number
  readonly mac: Uint8Array
}

export interface WantedBackend {
  /** As backendIdentity() makes it: of the two that follow. */
  readonly identity: string
  readonly address: string
  /** Its own, or the service's. */
  readonly port: number
  readonly nextHop: NextHop | null
}

export interface WantedService {
  readonly service: Service
  readonly backends: readonly WantedBackend[]
  /** Per slot an index into `backends`, -1: nobody. */
  readonly owners: Int32Array
}

interface PresentService {
  readonly id: number
  base: number
  size: number
  /** Identity -> id. */
  readonly backendIds: Map<string, number>
  /** What its former backends have counted. */
  retired: BackendCount
}

const bytesEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
const lowWord = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1

export interface Tables {
  /** Adds or changes services; an `owners` that is the very array of the last time is not looked at. Resolves when every changed slot is in place. @returns how many slots changed */
  put(wanted: readonly WantedService[]): Promise<number>
  remove(identities: readonly string[]): void
  setInterfaces(wanted: readonly EntryInterface[]): Promise<void>
  /** Another key for the flow hash: every flow may change its slot. */
  setSeed(seed: string): Promise<void>
  /** What names an id in a trace. */
  serviceOf(id: number): string | null
  backendOf(id: number): { readonly service: string; readonly identity: string } | null
  /** One backend's, by its service's identity and its own. */
  count(service: string, backend: string): BackendCount
  /** By service identity, then backend identity. */
  counts(): Promise<ReadonlyMap<string, ServiceCounts>>
}

export interface ServiceCounts {
  readonly backends: ReadonlyMap<string, BackendCount>
  /** Of backends that are gone. */
  readonly retired: BackendCount
}

export const createTables = (dataplane: Dataplane, now: () => number): Tables => {
  let { seed } = dataplane.shape
  const present = new Map<string, PresentService>()
  const owners = new Map<number, { readonly service: string; readonly identity: string }>()
  const baselines = new Map<number, BackendCount>()
  const serviceIds: IdAllocator = createIds(0, dataplane.shape.services, GRACE_MS, now)
  const backendIds: IdAllocator = createIds(1, dataplane.shape.backends, GRACE_MS, now)
  const regions: RegionAllocator = createRegions(dataplane.shape.slots, GRACE_MS, now)
  const lastPut = new Map<string, WantedService>()
  let interfaces: readonly EntryInterface[] = []

  const view = (from: Dataplane) => {
    const slots = from.memory('slots')
    return {
      slots: new BigUint64Array(slots),
      slotWords: new Uint32Array(slots),
      backends: new BigUint64Array(from.memory('backends')),
      interfaces: new BigUint64Array(from.memory('interfaces')),
      services: createServiceTable(from.memory('services'), from.serviceSeed, GRACE_MS, now) as ServiceTable,
    }
  }
  let memory = view(dataplane)

  const storeRecord = (words: BigUint64Array, at: number, record: Uint8Array): void => {
    const next = new BigUint64Array(record.buffer)
    next.forEach((word, i) => {
      if (words[at + i] !== word) Atomics.store(words, at + i, word)
    })
  }

  const writeInterfaces = (words: BigUint64Array): void => {
    const width = interfaceLayout.size / 8
    const buckets = words.length / width
    const byBucket = new Map(interfaces.map(one => [one.ifindex % buckets, one]))
    for (let bucket = 0; bucket < buckets; bucket++) {
      const record = byBucket.get(bucket) ?? { ifindex: 0, mac: new Uint8Array(6) }
      storeRecord(words, bucket * width, interfaceLayout.encode(record))
    }
  }

  /** The second u64 holds the interface, the third the flags: a changed way out is first made invalid. */
  const writeBackend = (id: number, serviceId: number, { address, port, nextHop }: WantedBackend): void => {
    const at = (id * backendLayout.size) / 8
    const record = backendLayout.encode({
      dstMac: nextHop?.mac ?? new Uint8Array(6),
      srcMac: nextHop?.sourceMac ?? new Uint8Array(6),
      ifindex: nextHop?.ifindex ?? 0,
      outPort: nextHop ? dataplane.outPort(nextHop.ifindex) : 0,
      mode: forwardMode.FORWARD_DR,
      flags: nextHop ? backendFlags.BACKEND_RESOLVED : 0,
      port,
      service: serviceId,
      addr: addressBytes(address),
    })
    const before = new Uint8Array(memory.backends.buffer, id * backendLayout.size, backendLayout.size)
    if (bytesEqual(before, record)) return
    const invalid = backendLayout.encode({ ...backendLayout.decode(before), flags: 0 })
    if (backendLayout.decode(before).ifindex !== (nextHop?.ifindex ?? 0))
      storeRecord(memory.backends, at, invalid)
    const words = new BigUint64Array(record.buffer)
    for (const i of [0, 1, 3, 4, 5, 6, 7, 2])
      if (memory.backends[at + i] !== words[i]!) Atomics.store(memory.backends, at + i, words[i]!)
  }

  const writeRing = (base: number, ring: Int32Array, ids: readonly number[]): number => {
    const values = ids.map(BigInt)
    const { slots, slotWords } = memory
    let changed = 0
    for (let slot = 0; slot < ring.length; slot++) {
      const owner = ring[slot]!
      const id = owner < 0 ? 0 : ids[owner]!
      if (slotWords[2 * (base + slot) + lowWord] === id) continue
      Atomics.store(slots, base + slot, owner < 0 ? 0n : values[owner]!)
      changed++
    }
    return changed
  }

  const writeService = (into: ServiceTable, { service }: WantedService, at: PresentService): boolean =>
    into.put({
      addr: addressBytes(service.vip),
      port: service.port,
      protocol: IPPROTO[service.protocol],
      flags: service.noBackend === 'reject' ? serviceFlags.SERVICE_REJECT : 0,
      ringBase: at.base,
      ringSize: at.size,
      hashSeed: hashSeed(seed, service),
      hashMask: hashMask(service.hash),
      idle: 0,
      id: at.id,
    })

  /** Loads a program with room for more, or laid out by another seed, and moves over to it. */
  const reshape = async (change: Partial<Dataplane['shape']>): Promise<void> => {
    const shape = { ...dataplane.shape, ...change }
    for (let attempt = 0; ; attempt++) {
      let fits = true
      await dataplane.reshape(shape, next => {
        const grown = view(next)
        for (const name of ['slots', 'backends'] as const) grown[name].set(memory[name])
        writeInterfaces(grown.interfaces)
        for (const [identity, at] of present)
          fits &&= writeService(grown.services, lastPut.get(identity)!, at)
        memory = grown
      })
      if (fits) break
      if (attempt === 7)
        throw new BalancerError('ERR_LIMIT', `no room for ${present.size} services in the service table`)
    }
    serviceIds.grow(shape.services)
    backendIds.grow(shape.backends)
    regions.grow(shape.slots)
  }

  const double = (capacity: number, needed: number): number => {
    let next = capacity
    while (next < needed) next *= 2
    return next
  }

  const makeRoom = async (wanted: readonly WantedService[]): Promise<void> => {
    const fresh = wanted.filter(({ service }) => !present.has(serviceIdentity(service)))
    const freshBackends = wanted.reduce((sum, { service, backends }) => {
      const ids = present.get(serviceIdentity(service))?.backendIds
      return sum + backends.filter(({ identity }) => !ids?.has(identity)).length
    }, 0)
    const { shape } = dataplane
    const change: { -readonly [K in keyof typeof shape]?: (typeof shape)[K] } = {}
    if (!serviceIds.hasRoom(fresh.length))
      change.services = double(shape.services, shape.services + fresh.length)
    if (!backendIds.hasRoom(freshBackends)) {
      change.backends = Math.min(MAX_BACKENDS, double(shape.backends, shape.backends + freshBackends))
      if (change.backends === shape.backends)
        throw new BalancerError('ERR_LIMIT', `more than ${MAX_BACKENDS - 1} backends in all`)
    }
    if (!shape.anyPort && wanted.some(({ service }) => service.port === 0)) change.anyPort = true
    if (Object.keys(change).length > 0) await reshape(change)
  }

  const takeRegion = async (size: number): Promise<number> => {
    const base = regions.take(size)
    if (base !== null) return base
    await reshape({ slots: double(dataplane.shape.slots, dataplane.shape.slots + size) })
    return takeRegion(size)
  }

  const takeBackendId = (service: string, identity: string): number => {
    const id = backendIds.take()
    baselines.set(id, dataplane.backendCount(id))
    owners.set(id, { service, identity })
    return id
  }

  const countOf = (id: number, count: BackendCount): BackendCount =>
    minusCounts(count, baselines.get(id) ?? noCount)

  const retire = (at: PresentService, identity: string, id: number): void => {
    at.retired = addCounts(at.retired, countOf(id, dataplane.backendCount(id)))
    at.backendIds.delete(identity)
    owners.delete(id)
    backendIds.free(id)
  }

  const putOne = async (wanted: WantedService): Promise<number> => {
    const name = serviceIdentity(wanted.service)
    const size = wanted.owners.length
    let at = present.get(name)
    const isNew = at === undefined
    if (!at) {
      at = { id: serviceIds.take(), base: 0, size: 0, backendIds: new Map(), retired: noCount }
    }
    const former = { base: at.base, size: at.size }
    const base = at.size === size ? at.base : await takeRegion(size)

    for (const backend of wanted.backends) {
      const id = at.backendIds.get(backend.identity) ?? takeBackendId(name, backend.identity)
      at.backendIds.set(backend.identity, id)
      writeBackend(id, at.id, backend)
    }
    const ids = wanted.backends.map(({ identity }) => at.backendIds.get(identity)!)
    const isSameRing = lastPut.get(name)?.owners === wanted.owners && base === at.base
    const changed = isSameRing ? 0 : writeRing(base, wanted.owners, ids)
    at.base = base
    at.size = size
    lastPut.set(name, wanted)
    if (!writeService(memory.services, wanted, at)) {
      present.set(name, at)
      await reshape({})
    }
    present.set(name, at)

    if (!isNew && former.size !== size) regions.free(former.base, former.size)
    const still = new Set(wanted.backends.map(({ identity }) => identity))
    for (const [identity, id] of [...at.backendIds]) if (!still.has(identity)) retire(at, identity, id)
    return changed
  }

  return {
    put: async wanted => {
      await makeRoom(wanted)
      let changed = 0
      for (const one of wanted) changed += await putOne(one)
      return changed
    },
    remove: identities => {
      for (const identity of identities) {
        const at = present.get(identity)
        const wanted = lastPut.get(identity)
        if (!at || !wanted) continue
        const { vip, port, protocol } = wanted.service
        memory.services.remove({ addr: addressBytes(vip), port, protocol: IPPROTO[protocol] })
        for (const [name, id] of [...at.backendIds]) retire(at, name, id)
        regions.free(at.base, at.size)
        serviceIds.free(at.id)
        present.delete(identity)
        lastPut.delete(identity)
      }
    },
    setInterfaces: async wanted => {
      interfaces = wanted
      let width = dataplane.shape.interfaces
      while (new Set(wanted.map(({ ifindex }) => ifindex % width)).size !== wanted.length) width *= 2
      if (width !== dataplane.shape.interfaces) await reshape({ interfaces: width })
      else writeInterfaces(memory.interfaces)
    },
    setSeed: async wanted => {
      if (wanted === seed) return
      seed = wanted
      await reshape({ seed })
    },
    serviceOf: id => [...present].find(([, at]) => at.id === id)?.[0] ?? null,
    backendOf: id => owners.get(id) ?? null,
    count: (service, backend) => {
      const id = present.get(service)?.backendIds.get(backend)
      return id === undefined ? noCount : countOf(id, dataplane.backendCount(id))
    },
    counts: async () => {
      const all = await dataplane.backendCounts()
      return new Map(
        [...present].map(([name, at]) => [
          name,
          {
            backends: new Map(
              [...at.backendIds].map(([identity, id]) => [identity, countOf(id, all.get(id) ?? noCount)]),
            ),
            retired: at.retired,
          },
        ]),
      )
    },
  }
}
