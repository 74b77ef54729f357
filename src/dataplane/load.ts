/** Loads the data plane's program with maps of a shape: its own, or those of another program where they fit. */
import { randomInt } from 'node:crypto'
import { BalancerError } from '../errors.js'
import { hashKeys } from '../flow-hash.js'
import type { Limits } from '../model.js'
import { type BpfMap, type BpfObject, type BpfProgram, loadNative } from '../native.js'
import { clockScale } from './flow-clock.js'
import {
  backendCountLayout,
  backendLayout,
  clientRouteLayout,
  configLayout,
  connectionLayout,
  connectionTimesLayout,
  flowBucketLayout,
  flowCountLayout,
  flowLayout,
  interfaceLayout,
  localAddressLayout,
  mapNames,
  pathMtuLayout,
  poolCountLayout,
  poolCursorLayout,
  poolLayout,
  prefixLayout,
  pressureLineLayout,
  replyCountLayout,
  replyLayout,
  serviceLayout,
  traceLayout,
  trafficLayout,
  wantedNeighbourLayout,
} from './layout.js'
import { bucketsForEntries } from './open-table.js'
import { bucketsFor } from './service-table.js'

export type MapName = (typeof mapNames)[number]

/** The maps that are filled through their memory. */
export const mappedNames = [
  'services',
  'slots',
  'backends',
  'interfaces',
  'nat_sources',
  'flow_cache',
  'pressure',
  'test_clock',
  'client_routes',
  'connections',
  'connection_index',
  'connection_times',
  'local_addresses',
  'pools',
  'replies',
  'snat_prefixes',
] as const
export type MappedName = (typeof mappedNames)[number]

/** What is fixed when the program is loaded; a change of it loads another one. */
export interface Shape {
  /** Capacities. */
  readonly services: number
  readonly backends: number
  readonly slots: number
  /** Of the service table: a power of two. */
  readonly serviceBuckets: number
  /** Width of the table of entry interfaces, by ifindex modulo this: a power of two. */
  readonly interfaces: number
  /** 32 hex digits: the flow hash's. */
  readonly seed: string
  /** Entries of the flow cache, where some service tracks flows. */
  readonly flows: number
  readonly tracking: boolean
  /** For tests: the flow clock stands where the test puts it. */
  readonly testClock: boolean
  /** Some service takes every port. */
  readonly anyPort: boolean
  /** Answers per second and CPU to packets without a backend; 0 = no limit. */
  readonly answersPerSecond: number
  /** For `explain`: what the stages find is left in the trace map. */
  readonly trace: boolean
  /** Some backend is NAT: replies are looked up by their source. */
  readonly nat: boolean
  /** Buckets of the replies: a power of two. */
  readonly replies: number
  /** Numbers of connections, 65536 places each; 0: there are none. */
  readonly numbers: number
  /** log2 of the connection index's buckets. */
  readonly indexBits: number
  /** So many prefixes are translated, by which pool. */
  readonly snatPrefixes: number
  readonly snatPool: number
  /** What the local addresses have in common: the halves of IPv4's, then of IPv6's, as they lie in memory. */
  readonly localNet: readonly bigint[]
  readonly localMask: readonly bigint[]
}

/** Matches nothing. */
export const NO_LOCAL = {
  localNet: Array.from({ length: 4 }, () => 0xffff_ffff_ffff_ffffn),
  localMask: [0n, 0n, 0n, 0n],
} as const

export const PLACES_PER_NUMBER = 65536
export const MIN_INDEX_BITS = 4

/** The shape for a configuration's limits; what is left out is not used. */
export const shapeFor = (limits: Limits, seed: string, used: Partial<Shape> = {}): Shape => ({
  services: limits.services,
  backends: limits.backends,
  slots: limits.slots,
  flows: limits.flows,
  serviceBuckets: bucketsFor(limits.services),
  interfaces: 256,
  seed,
  tracking: false,
  testClock: false,
  anyPort: false,
  answersPerSecond: 0,
  trace: false,
  nat: false,
  replies: bucketsForEntries(1),
  numbers: 0,
  indexBits: MIN_INDEX_BITS,
  snatPrefixes: 0,
  snatPool: 0,
  ...NO_LOCAL,
  ...used,
})

/** What each map's values must look like: an object and a bundle of different builds are told apart at load. */
export const valueSizes: Readonly<Record<MapName, number>> = {
  backend_counts: backendCountLayout.size,
  backends: backendLayout.size,
  flow_cache: flowBucketLayout.size,
  flow_counts: flowCountLayout.size,
  interfaces: interfaceLayout.size,
  out_ports: 4,
  path_mtus: pathMtuLayout.size,
  pressure: pressureLineLayout.size,
  answer_budgets: 8,
  service_counts: trafficLayout.size,
  services: serviceLayout.size,
  slots: 8,
  test_clock: 8,
  trace: traceLayout.size,
  client_routes: clientRouteLayout.size,
  connection_index: flowBucketLayout.size,
  connection_times: connectionTimesLayout.size,
  connections: connectionLayout.size,
  local_addresses: localAddressLayout.size,
  pool_counts: poolCountLayout.size,
  pool_cursors: poolCursorLayout.size,
  pools: poolLayout.size,
  replies: replyLayout.size,
  reply_counts: replyCountLayout.size,
  snat_prefixes: prefixLayout.size,
  nat_sources: prefixLayout.size,
  verdicts: trafficLayout.size,
  wanted_neighbours: wantedNeighbourLayout.size,
}

/** A map's key: an index, but for those that an address finds. */
export const keySize = (name: MapName): number =>
  name === 'path_mtus' || name === 'wanted_neighbours' ? 16 : 4

/** The maps and the programs of one load. */
export interface Loaded {
  readonly shape: Shape
  /** Of the flow cache: see `tailBits`. */
  readonly tailBits: number
  readonly serviceSeed: number
  readonly maps: ReadonlyMap<MapName, BpfMap>
  /** The constants, as the kernel keeps them. */
  readonly config: BpfMap
  readonly memory: ReadonlyMap<MappedName, ArrayBuffer>
  readonly program: BpfProgram
  /** Tells jiffies. */
  readonly clock: BpfProgram
}

/** What a load may take over. */
export interface Present {
  readonly maps: ReadonlyMap<MapName, BpfMap>
  /** Keeps the service table too, which this seed has laid out; null: a fresh table, laid out by another one. */
  readonly serviceSeed: number | null
  /** Of the flow cache whose entries are kept, or copied; null: no entry is. */
  readonly tailBits: number | null
}

/** Laid out by the service seed. */
const seededNames = ['services', 'replies'] as const

const MIN_CACHE_BITS = 4
const MAX_CACHE_BITS = 28
const CONFIG = '.rodata.config'

/** log2 of the flow cache's buckets for so many entries; the smallest where nothing is tracked. */
export const cacheBits = ({ flows, tracking }: Pick<Shape, 'flows' | 'tracking'>): number =>
  tracking
    ? Math.min(
        MAX_CACHE_BITS,
        Math.max(MIN_CACHE_BITS, Math.ceil(Math.log2(flows / flowLayout.FLOWS_PER_BUCKET))),
      )
    : MIN_CACHE_BITS

/**
 * How many of the hash's low bits a fingerprint holds, beyond those that gave the slot. A larger cache has room for more,
 * but entries that were copied from a smaller one lack them.
 *
 * @param grown config.cache_grown
 */
export const tailBits = (bits: number, grown = 0): number =>
  bits - (32 - flowLayout.FLOW_FINGERPRINT_BITS) - grown

const SLOTS_PER_PRESSURE_LINE = 64

/** A row of counters for each backend, then one for each service: its former backends'. */
const countRows = ({ backends, services }: Pick<Shape, 'backends' | 'services'>): number =>
  backends + services

export const formerRow = ({ backends }: Pick<Shape, 'backends'>, service: number): number =>
  backends + service

export const capacities = (shape: Shape): Partial<Record<MapName, number>> => ({
  services: shape.serviceBuckets,
  service_counts: shape.services,
  backends: shape.backends,
  backend_counts: countRows(shape),
  slots: shape.slots,
  pressure: shape.tracking ? Math.ceil(shape.slots / SLOTS_PER_PRESSURE_LINE) : 1,
  flow_cache: 2 ** cacheBits(shape),
  interfaces: shape.interfaces,
  replies: shape.replies,
  reply_counts: countRows(shape),
  connections: Math.max(1, shape.numbers * PLACES_PER_NUMBER),
  connection_index: 2 ** shape.indexBits,
  connection_times: shape.services + 1,
})

/** Maps whose size is the same in every shape. */
const unsized = [
  'out_ports',
  'path_mtus',
  'wanted_neighbours',
  'verdicts',
  'flow_counts',
  'answer_budgets',
  'test_clock',
  'trace',
  'client_routes',
  'local_addresses',
  'pool_counts',
  'pool_cursors',
  'pools',
  'snat_prefixes',
  'nat_sources',
] as const

const configFor = (shape: Shape, serviceSeed: number, tail: number, tickNs: number): Uint8Array =>
  configLayout.encode({
    hashKeys: hashKeys(shape.seed),
    clockScale: clockScale(tickNs),
    serviceSeed,
    serviceMask: shape.serviceBuckets - 1,
    interfaceMask: shape.interfaces - 1,
    answersPerSecond: shape.answersPerSecond,
    anyPort: shape.anyPort ? 1 : 0,
    trace: shape.trace ? 1 : 0,
    tracking: shape.tracking ? 1 : 0,
    testClock: shape.testClock ? 1 : 0,
    cacheBits: cacheBits(shape),
    cacheGrown: tailBits(cacheBits(shape)) - tail,
    nat: shape.nat ? 1 : 0,
    connections: shape.numbers > 0 ? 1 : 0,
    snatPrefixes: shape.snatPrefixes,
    snatPool: shape.snatPool,
    connectionBits: shape.indexBits,
    replyMask: shape.replies - 1,
    snatTimes: shape.services,
    localNet: shape.localNet,
    localMask: shape.localMask,
  })

/** @throws BalancerError, or the kernel's error with `log` */
export const load = async (shape: Shape, present: Present | null): Promise<Loaded> => {
  const native = loadNative()
  const serviceSeed = present?.serviceSeed ?? randomInt(2 ** 32)
  const most = tailBits(cacheBits(shape))
  const tail = Math.min(present?.tailBits ?? most, most)
  const isKept = (name: MapName): boolean =>
    !seededNames.some(seeded => seeded === name) || present?.serviceSeed != null
  const object: BpfObject = new native.BpfObject(native.embeddedObject)
  try {
    for (const [name, entries] of Object.entries(capacities(shape)) as [MapName, number][]) {
      object.setMaxEntries(name, entries)
      const map = present?.maps.get(name)
      if (map && isKept(name) && map.info.maxEntries === entries) object.reuseMap(name, map)
    }
    for (const name of unsized) {
      const map = present?.maps.get(name)
      if (map) object.reuseMap(name, map)
    }
    object.setInitialValue(CONFIG, configFor(shape, serviceSeed, tail, native.tickNs))
    await object.load()

    const maps = new Map(mapNames.map(name => [name, object.map(name)] as const))
    for (const [name, map] of maps)
      if (map.info.valueSize !== valueSizes[name])
        throw new BalancerError(
          'ERR_LAYOUT_MISMATCH',
          `map ${name} has values of ${map.info.valueSize} bytes, this build expects ${valueSizes[name]}`,
          { hint: 'run `npm run setup`' },
        )
    const memory = new Map<MappedName, ArrayBuffer>()
    for (const name of mappedNames) memory.set(name, await maps.get(name)!.mmap())
    return {
      shape,
      tailBits: tail,
      serviceSeed,
      maps,
      config: object.map(CONFIG),
      memory,
      program: object.program('balance'),
      clock: object.program('read_jiffies'),
    }
  } catch (cause) {
    if ((cause as { code?: string }).code === 'EPERM')
      throw new BalancerError('ERR_NOT_PERMITTED', 'the kernel does not let this process load BPF programs', {
        cause,
        hint: 'run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON',
      })
    throw cause
  } finally {
    object.close()
  }
}

/** Closes the descriptors of a load: each has its own, also of shared maps. */
export const unload = (loaded: Loaded): void => {
  for (const map of loaded.maps.values()) map.close()
  loaded.config.close()
  loaded.program.close()
  loaded.clock.close()
}
