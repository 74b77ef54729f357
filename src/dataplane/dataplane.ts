/** The loaded data plane: the one file that knows the maps by name. Its tables are filled by tables.ts. */
import { randomInt } from 'node:crypto'
import { BalancerError } from '../errors.js'
import { hashKeys } from '../flow-hash.js'
import type { Limits } from '../model.js'
import type { BpfMap, BpfObject, BpfProgram, TestRunResult, XdpLink, XdpMode } from '../native.js'
import { loadNative } from '../native.js'
import type { RecordOf } from './codec.js'
import {
  addCounts,
  addTraffic,
  type BackendCount,
  backendCountFrom,
  noCount,
  noTraffic,
  sumOverCpus,
  type Traffic,
  trafficFrom,
} from './counters.js'
import { clockScale } from './flow-clock.js'
import {
  backendCountLayout,
  backendLayout,
  configLayout,
  flowBucketLayout,
  flowCountLayout,
  flowLayout,
  interfaceLayout,
  mapNames,
  pressureLineLayout,
  serviceLayout,
  traceLayout,
  trafficLayout,
  verdict,
} from './layout.js'
import { bucketsFor } from './service-table.js'

type MapName = (typeof mapNames)[number]

/** The maps that are filled through their memory. */
const mappedNames = [
  'services',
  'slots',
  'backends',
  'interfaces',
  'flow_cache',
  'pressure',
  'test_clock',
] as const
type MappedName = (typeof mappedNames)[number]

export type Verdict = keyof typeof verdict

export const verdictNames: ReadonlyMap<number, Verdict> = new Map(
  Object.entries(verdict).map(([name, value]) => [value, name as Verdict]),
)

/** What is fixed when the program is loaded; a change of it loads another one. */
export interface Shape {
  /** Capacities. */
  readonly services: number
  readonly backends: number
  readonly slots: number
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
  readonly rejectsPerSecond: number
  /** For `explain`: what the stages find is left in the trace map. */
  readonly trace: boolean
}

/** The shape for a configuration's limits; what is left out is not used. */
export const shapeFor = (limits: Limits, seed: string, used: Partial<Shape> = {}): Shape => ({
  ...limits,
  interfaces: 256,
  seed,
  tracking: false,
  testClock: false,
  anyPort: false,
  rejectsPerSecond: 0,
  trace: false,
  ...used,
})

/** What each map's values must look like: an object and a bundle of different builds are told apart at load. */
const valueSizes: Readonly<Record<MapName, number>> = {
  backend_counts: backendCountLayout.size,
  backends: backendLayout.size,
  flow_cache: flowBucketLayout.size,
  flow_counts: flowCountLayout.size,
  interfaces: interfaceLayout.size,
  out_ports: 4,
  pressure: pressureLineLayout.size,
  reject_budget: 8,
  service_counts: trafficLayout.size,
  services: serviceLayout.size,
  slots: 8,
  test_clock: 8,
  trace: traceLayout.size,
  verdicts: trafficLayout.size,
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

/** The maps and the program of one load. */
interface Loaded {
  readonly shape: Shape
  readonly serviceSeed: number
  readonly maps: ReadonlyMap<MapName, BpfMap>
  readonly memory: ReadonlyMap<MappedName, ArrayBuffer>
  readonly program: BpfProgram
  /** Tells jiffies. */
  readonly clock: BpfProgram
}

const MIN_CACHE_BITS = 4
const MAX_CACHE_BITS = 28

/** log2 of the flow cache's buckets for so many entries; the smallest where nothing is tracked. */
export const cacheBits = ({ flows, tracking }: Pick<Shape, 'flows' | 'tracking'>): number =>
  tracking
    ? Math.min(
        MAX_CACHE_BITS,
        Math.max(MIN_CACHE_BITS, Math.ceil(Math.log2(flows / flowLayout.FLOWS_PER_BUCKET))),
      )
    : MIN_CACHE_BITS

const SLOTS_PER_PRESSURE_LINE = 64

const capacities = (shape: Shape): Partial<Record<MapName, number>> => ({
  services: bucketsFor(shape.services),
  service_counts: shape.services,
  backends: shape.backends,
  backend_counts: shape.backends,
  slots: shape.slots,
  pressure: shape.tracking ? Math.ceil(shape.slots / SLOTS_PER_PRESSURE_LINE) : 1,
  flow_cache: 2 ** cacheBits(shape),
  interfaces: shape.interfaces,
})

/** Maps whose size is the same in every shape. */
const unsized = ['out_ports', 'verdicts', 'flow_counts', 'reject_budget', 'test_clock', 'trace'] as const

const load = async (shape: Shape, present: Loaded | null): Promise<Loaded> => {
  const native = loadNative()
  const serviceSeed = randomInt(2 ** 32)
  const object: BpfObject = new native.BpfObject(native.embeddedObject)
  try {
    for (const [name, entries] of Object.entries(capacities(shape)) as [MapName, number][]) {
      object.setMaxEntries(name, entries)
      const map = present?.maps.get(name)
      // The service table is laid out by its seed, so it is always a fresh one.
      if (map && name !== 'services' && map.info.maxEntries === entries) object.reuseMap(name, map)
    }
    for (const name of unsized) {
      const map = present?.maps.get(name)
      if (map) object.reuseMap(name, map)
    }
    object.setInitialValue(
      '.rodata.config',
      configLayout.encode({
        hashKeys: hashKeys(shape.seed),
        clockScale: clockScale(native.tickNs),
        serviceSeed,
        serviceMask: bucketsFor(shape.services) - 1,
        interfaceMask: shape.interfaces - 1,
        rejectsPerSecond: shape.rejectsPerSecond,
        anyPort: shape.anyPort ? 1 : 0,
        trace: shape.trace ? 1 : 0,
        tracking: shape.tracking ? 1 : 0,
        testClock: shape.testClock ? 1 : 0,
        cacheBits: cacheBits(shape),
      }),
    )
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
      serviceSeed,
      maps,
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

export interface Trace {
  readonly verdict: Verdict
  readonly service: number | null
  readonly backend: number | null
}

export class Dataplane {
  #loaded: Loaded
  #links = new Map<number, XdpLink>()
  #outPorts = new Map<number, number>()
  /** What maps that are no more have counted. */
  #retired = { backends: new Map<number, BackendCount>(), services: new Map<number, Traffic>() }

  private constructor(loaded: Loaded) {
    this.#loaded = loaded
  }

  /** Loads the program with fresh maps; attached to nothing. @throws BalancerError, or the kernel's error with `log` */
  static async load(shape: Shape): Promise<Dataplane> {
    return new Dataplane(await load(shape, null))
  }

  get shape(): Shape {
    return this.#loaded.shape
  }

  get tag(): string {
    return this.#loaded.program.info.tag
  }

  get serviceSeed(): number {
    return this.#loaded.serviceSeed
  }

  /** The memory that the data plane reads; stores through Atomics only. Another one after `reshape`. */
  memory(name: MappedName): ArrayBuffer {
    return this.#loaded.memory.get(name)!
  }

  /**
   * Loads a second program of another shape, has its new maps filled, and moves every interface over by link update.
   * Maps that keep their size are shared; `fill` sees the new ones through `memory` of the Dataplane it is given.
   */
  async reshape(shape: Shape, fill: (next: Dataplane) => void): Promise<void> {
    const before = this.#loaded
    const next = new Dataplane(await load(shape, before))
    fill(next)
    for (const link of this.#links.values()) await link.update(next.#loaded.program)
    this.#loaded = next.#loaded
    await this.#retire(before)
  }

  async #retire(before: Loaded): Promise<void> {
    const isShared = (name: MapName): boolean => before.maps.get(name)!.info.id === this.#map(name).info.id
    if (!isShared('backend_counts'))
      for (const [id, count] of await readBackendCounts(before.maps.get('backend_counts')!))
        this.#retired.backends.set(id, addCounts(count, this.#retired.backends.get(id) ?? noCount))
    if (!isShared('service_counts'))
      for (const [id, traffic] of await readTraffic(before.maps.get('service_counts')!))
        this.#retired.services.set(id, addTraffic(traffic, this.#retired.services.get(id) ?? noTraffic))
    for (const map of before.maps.values()) map.close()
    before.program.close()
    before.clock.close()
  }

  /** @throws the kernel's error: EBUSY, EOPNOTSUPP and others */
  async attach(ifindex: number, mode: XdpMode): Promise<void> {
    this.#links.set(ifindex, await loadNative().XdpLink.attach(this.#loaded.program, ifindex, mode))
  }

  async detach(ifindex: number): Promise<void> {
    const link = this.#links.get(ifindex)
    this.#links.delete(ifindex)
    await link?.close()
  }

  /** The devmap's place of an interface, made on first use. @throws BalancerError `ERR_LIMIT` */
  outPort(ifindex: number): number {
    const devmap = this.#map('out_ports')
    const port = this.#outPorts.get(ifindex) ?? this.#outPorts.size
    if (port >= devmap.info.maxEntries)
      throw new BalancerError('ERR_LIMIT', `more than ${devmap.info.maxEntries} interfaces lead to backends`)
    devmap.update(u32(port), u32(ifindex))
    this.#outPorts.set(ifindex, port)
    return port
  }

  async verdictCounts(): Promise<ReadonlyMap<Verdict, Traffic>> {
    const counts = new Map<Verdict, Traffic>()
    const ended = await readTraffic(this.#map('verdicts'))
    for (const [value, name] of verdictNames)
      if (name !== 'CONTINUE') counts.set(name, ended.get(value) ?? noTraffic)
    const forwarded = [...(await this.backendCounts()).values()]
    counts.set('TX_DR', forwarded.map(({ tx }) => tx).reduce(addTraffic, noTraffic))
    counts.set('REDIRECT_DR', forwarded.map(({ redirect }) => redirect).reduce(addTraffic, noTraffic))
    return counts
  }

  /** By backend id; those that never counted are left out. */
  async backendCounts(): Promise<ReadonlyMap<number, BackendCount>> {
    const counts = new Map(this.#retired.backends)
    for (const [id, count] of await readBackendCounts(this.#map('backend_counts')))
      counts.set(id, addCounts(count, counts.get(id) ?? noCount))
    return counts
  }

  /** One backend's, now. */
  backendCount(id: number): BackendCount {
    const values = this.#map('backend_counts').lookup(u32(id))
    const now = backendCountFrom(
      sumOverCpus(values, backendCountLayout.size, loadNative().possibleCpus).row(0),
    )
    return addCounts(now, this.#retired.backends.get(id) ?? noCount)
  }

  /** By service id: packets of the service that were not forwarded. */
  async serviceCounts(): Promise<ReadonlyMap<number, Traffic>> {
    const counts = new Map(this.#retired.services)
    for (const [id, traffic] of await readTraffic(this.#map('service_counts')))
      counts.set(id, addTraffic(traffic, counts.get(id) ?? noTraffic))
    return counts
  }

  /** The kernel's jiffies, now. */
  jiffies(): bigint {
    const { data } = this.#loaded.clock.testRunSync({ data: new Uint8Array(14) })
    return new BigUint64Array(data!.slice(0, 8).buffer)[0]!
  }

  /** The descriptor of a map, for another thread of this process. */
  descriptor(name: MappedName): number {
    return this.#map(name).fd
  }

  /** What the flow cache did, and what it could not do. */
  flowCounts(): RecordOf<typeof flowCountLayout> {
    const sums = sumOverCpus(
      this.#map('flow_counts').lookup(u32(0)),
      flowCountLayout.size,
      loadNative().possibleCpus,
    )
    const bytes = new Uint8Array(BigUint64Array.from(sums.row(0)).buffer)
    return flowCountLayout.decode(bytes)
  }

  /** Runs one frame through the program (BPF_PROG_TEST_RUN); with `shape.trace` says what it met. */
  run(frame: Uint8Array, ifindex: number): TestRunResult & { readonly trace: Trace } {
    const context = new Uint8Array(Uint32Array.of(0, frame.length, 0, ifindex, 0, 0).buffer)
    const result = this.#loaded.program.testRunSync({ data: frame, context })
    const left = traceLayout.decode(this.#map('trace').lookup(u32(0)))
    const id = (value: number): number | null => (value === 0xffff_ffff ? null : value)
    return {
      ...result,
      trace: {
        verdict: verdictNames.get(left.verdict) ?? 'CONTINUE',
        service: id(left.service),
        backend: id(left.backend),
      },
    }
  }

  /** Detaches from every interface and frees everything. */
  async close(): Promise<void> {
    for (const ifindex of [...this.#links.keys()]) await this.detach(ifindex)
    for (const map of this.#loaded.maps.values()) map.close()
    this.#loaded.program.close()
    this.#loaded.clock.close()
  }

  #map(name: MapName): BpfMap {
    return this.#loaded.maps.get(name)!
  }
}

/** Of an array map: what each index has counted; those that never did are left out. */
const readCounts = async <T>(map: BpfMap, from: (words: readonly bigint[]) => T): Promise<Map<number, T>> => {
  const { values } = await map.lookupBatch()
  const sums = sumOverCpus(values, map.info.valueSize, loadNative().possibleCpus)
  return new Map(sums.used().map(index => [index, from(sums.row(index))]))
}

const readTraffic = (map: BpfMap): Promise<Map<number, Traffic>> => readCounts(map, trafficFrom)
const readBackendCounts = (map: BpfMap): Promise<Map<number, BackendCount>> =>
  readCounts(map, backendCountFrom)
