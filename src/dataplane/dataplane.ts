/** The loaded data plane: its program, its maps by name, its interfaces. Its tables are filled by tables.ts. */
import { BalancerError } from '../errors.js'
import type { Log } from '../log.js'
import { type BpfMap, loadNative, type TestRunResult, type XdpLink, type XdpMode } from '../native.js'
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
import { type CountName, type Found, type Retired, Unusable } from './generation.js'
import { flowCountLayout, mapNames, traceLayout, verdict } from './layout.js'
import { type Loaded, load, type MapName, type MappedName, type Shape, unload } from './load.js'
import { readCounts, readOutPorts, sumOfMaps } from './map-reading.js'
import { type FoundLink, openPins, type Pins } from './pins.js'

export { cacheBits, type Shape, shapeFor } from './load.js'

export type Verdict = keyof typeof verdict

export const verdictNames: ReadonlyMap<number, Verdict> = new Map(
  Object.entries(verdict).map(([name, value]) => [value, name as Verdict]),
)

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

export interface Trace {
  readonly verdict: Verdict
  readonly service: number | null
  readonly backend: number | null
}

export interface OpenOptions {
  /** Where it is kept when this process ends, a directory of bpffs; null: nowhere. */
  readonly pinDir: string | null
  readonly shape: Shape
  readonly log: Log
}

const nothingRetired: Retired = { backend_counts: [], service_counts: [] }

/** What has been found fixes the capacities and the flow hash; what nothing is filled by is as wanted. */
const adoptedShape = (wanted: Shape, found: Shape): Shape => ({
  ...found,
  flows: found.tracking ? found.flows : wanted.flows,
  tracking: found.tracking || wanted.tracking,
  anyPort: found.anyPort || wanted.anyPort,
  rejectsPerSecond: wanted.rejectsPerSecond,
  testClock: wanted.testClock,
  trace: wanted.trace,
})

/** A link whose interface has gone has nothing to be moved. */
const moveTo = async (link: XdpLink, loaded: Loaded): Promise<void> => {
  try {
    if (link.info.programId !== loaded.program.info.id) await link.update(loaded.program)
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ENOLINK') throw cause
  }
}

export class Dataplane {
  #loaded: Loaded
  #links = new Map<number, XdpLink>()
  #outPorts = new Map<number, number>()
  /** Maps that have counted, and were replaced by larger ones. */
  #retired: Retired = nothingRetired
  #pins: Pins | null = null
  /** As what it is pinned; null: not yet. */
  #generation: number | null = null
  /** Attachments that an earlier process has left, and nobody has asked for yet. */
  #inherited = new Map<number, FoundLink>()
  #isAdopted = false
  /** Nothing was there before. */
  #isFirst = true

  private constructor(loaded: Loaded) {
    this.#loaded = loaded
  }

  /** Loads the program with fresh maps; attached to nothing. @throws BalancerError, or the kernel's error with `log` */
  static async load(shape: Shape): Promise<Dataplane> {
    return new Dataplane(await load(shape, null))
  }

  /**
   * What an earlier process has pinned, moved to this build's program without losing a packet; else what `load` gives,
   * which is pinned when it is first attached. Pins that this build cannot go on with forward until then.
   *
   * @throws BalancerError `ERR_STATE`, `ERR_NOT_PERMITTED` when pins cannot be kept there
   */
  static async open({ pinDir, shape, log }: OpenOptions): Promise<Dataplane> {
    if (pinDir === null) return Dataplane.load(shape)
    const pins = openPins(pinDir, log)
    const found = pins.find()
    const links = await pins.findLinks()
    const dataplane =
      (found && (await Dataplane.#adopt(found, links, shape, pins, log))) ?? (await Dataplane.load(shape))
    dataplane.#pins = pins
    for (const one of links) dataplane.#inherited.set(one.ifindex, one)
    dataplane.#isFirst = found === null && links.length === 0
    return dataplane
  }

  static async #adopt(
    found: Found,
    links: readonly FoundLink[],
    wanted: Shape,
    pins: Pins,
    log: Log,
  ): Promise<Dataplane | null> {
    try {
      const loaded = await load(adoptedShape(wanted, found.shape), {
        maps: found.maps,
        serviceSeed: found.serviceSeed,
      })
      const dataplane = new Dataplane(loaded)
      const fresh = mapNames.filter(name => loaded.maps.get(name)!.info.id !== found.maps.get(name)?.info.id)
      if (fresh.includes('services') || fresh.includes('slots') || fresh.includes('backends'))
        throw new Unusable(`it has another ${fresh.join(', another ')}`)
      const isSame =
        fresh.length === 0 &&
        found.program?.info.tag === loaded.program.info.tag &&
        Buffer.compare(loaded.config.lookup(u32(0)), found.config) === 0
      if (isSame) {
        loaded.program.close()
        dataplane.#loaded = { ...loaded, program: found.program }
      }
      dataplane.#retired = found.retired
      dataplane.#generation = isSame ? found.number : pins.write(loaded, found.retired)
      for (const { link } of links) await moveTo(link, dataplane.#loaded)
      pins.keepOnly(dataplane.#generation)
      dataplane.#outPorts = readOutPorts(loaded.maps.get('out_ports')!)
      dataplane.#isAdopted = true
      const { tag } = dataplane
      log.info(
        { event: 'pins.adopted', path: pins.directory, tag, isSame, fresh },
        'goes on with what is pinned',
      )
      if (!isSame) found.program?.close()
      return dataplane
    } catch (cause) {
      if (cause instanceof BalancerError) throw cause
      found.program?.close()
      for (const map of [...found.retired.backend_counts, ...found.retired.service_counts]) map.close()
      const reason = cause instanceof Error ? cause.message : String(cause)
      log.error({ event: 'pins.unusable', path: pins.directory, reason }, 'what is pinned is replaced')
      return null
    } finally {
      for (const map of found.maps.values()) map.close()
    }
  }

  /** It goes on with the maps of an earlier process: they are filled. */
  get isAdopted(): boolean {
    return this.#isAdopted
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
   *
   * @param fill when it returns false nothing is moved
   * @returns whether it was moved
   */
  async reshape(shape: Shape, fill: (next: Dataplane) => unknown): Promise<boolean> {
    const before = this.#loaded
    const next = new Dataplane(await load(shape, { maps: before.maps, serviceSeed: null }))
    if (fill(next) === false) {
      unload(next.#loaded)
      return false
    }
    const loaded = next.#loaded
    const retiredWith = (name: CountName): readonly BpfMap[] => {
      const map = before.maps.get(name)!
      return map.info.id === loaded.maps.get(name)!.info.id
        ? this.#retired[name]
        : [...this.#retired[name], map]
    }
    const retired = {
      backend_counts: retiredWith('backend_counts'),
      service_counts: retiredWith('service_counts'),
    }
    if (this.#pins && this.#generation !== null) this.#generation = this.#pins.write(loaded, retired)
    const inherited = this.#isAdopted ? [...this.#inherited.values()].map(({ link }) => link) : []
    for (const link of [...this.#links.values(), ...inherited]) await moveTo(link, loaded)
    this.#loaded = loaded
    this.#retired = retired
    if (this.#generation !== null && this.#isSettled()) this.#pins?.keepOnly(this.#generation)
    const kept = [...retired.backend_counts, ...retired.service_counts]
    unload({ ...before, maps: new Map([...before.maps].filter(([, map]) => !kept.includes(map))) })
    return true
  }

  /** Nothing runs an earlier process's program any more. */
  #isSettled(): boolean {
    return this.#isAdopted || this.#inherited.size === 0
  }

  /** How an earlier process has attached to an interface; null: it has not. */
  inheritedMode(ifindex: number): XdpMode | null {
    return this.#inherited.get(ifindex)?.mode ?? null
  }

  /** Goes on with the attachment of an earlier process: the interface gets this program, and is never without one. */
  async takeOver(ifindex: number): Promise<void> {
    const found = this.#inherited.get(ifindex)
    if (!found) return
    this.#pinFirst()
    await moveTo(found.link, this.#loaded)
    this.#inherited.delete(ifindex)
    this.#links.set(ifindex, found.link)
  }

  /** The tables are filled when the first interface is attached: from here on they can be gone on with. */
  #pinFirst(): void {
    if (this.#pins && this.#generation === null)
      this.#generation = this.#pins.write(this.#loaded, this.#retired)
  }

  /** @throws BalancerError, or the kernel's error: EBUSY, EOPNOTSUPP and others */
  async attach(ifindex: number, mode: XdpMode): Promise<void> {
    this.#pinFirst()
    const link = await loadNative().XdpLink.attach(this.#loaded.program, ifindex, mode)
    try {
      this.#pins?.pinLink(ifindex, link)
    } catch (cause) {
      await link.close()
      throw cause
    }
    this.#links.set(ifindex, link)
  }

  async detach(ifindex: number): Promise<void> {
    const link = this.#links.get(ifindex) ?? this.#inherited.get(ifindex)?.link
    this.#links.delete(ifindex)
    this.#inherited.delete(ifindex)
    if (link) this.#pins?.unpinLink(ifindex)
    await link?.close()
  }

  /** Everything wanted is attached: what an earlier process has left, and nobody asked for, goes. */
  async settle(): Promise<void> {
    for (const ifindex of [...this.#inherited.keys()]) await this.detach(ifindex)
    if (this.#generation !== null) this.#pins?.keepOnly(this.#generation)
  }

  /** The devmap's place of an interface, made on first use. @throws BalancerError `ERR_LIMIT` */
  outPort(ifindex: number): number {
    const devmap = this.#map('out_ports')
    const taken = new Set(this.#outPorts.values())
    let port = this.#outPorts.get(ifindex) ?? 0
    if (!this.#outPorts.has(ifindex)) while (taken.has(port)) port++
    if (port >= devmap.info.maxEntries)
      throw new BalancerError('ERR_LIMIT', `more than ${devmap.info.maxEntries} interfaces lead to backends`)
    devmap.update(u32(port), u32(ifindex))
    this.#outPorts.set(ifindex, port)
    return port
  }

  async verdictCounts(): Promise<ReadonlyMap<Verdict, Traffic>> {
    const counts = new Map<Verdict, Traffic>()
    const ended = await readCounts(this.#map('verdicts'), trafficFrom)
    for (const [value, name] of verdictNames)
      if (name !== 'CONTINUE') counts.set(name, ended.get(value) ?? noTraffic)
    const forwarded = [...(await this.backendCounts()).values()]
    counts.set('TX_DR', forwarded.map(({ tx }) => tx).reduce(addTraffic, noTraffic))
    counts.set('REDIRECT_DR', forwarded.map(({ redirect }) => redirect).reduce(addTraffic, noTraffic))
    return counts
  }

  /** By backend id; those that never counted are left out. */
  backendCounts(): Promise<ReadonlyMap<number, BackendCount>> {
    return sumOfMaps(this.#countMaps('backend_counts'), backendCountFrom, addCounts)
  }

  /** One backend's, now. */
  backendCount(id: number): BackendCount {
    return this.#countOf('backend_counts', id).map(backendCountFrom).reduce(addCounts, noCount)
  }

  /** What each service has got and not forwarded, by its id; those that never counted are left out. */
  serviceCounts(): Promise<ReadonlyMap<number, Traffic>> {
    return sumOfMaps(this.#countMaps('service_counts'), trafficFrom, addTraffic)
  }

  /** One service's, now. */
  serviceCount(id: number): Traffic {
    return this.#countOf('service_counts', id).map(trafficFrom).reduce(addTraffic, noTraffic)
  }

  /** The words of one row in each map that holds it. */
  #countOf(name: CountName, id: number): (readonly bigint[])[] {
    const cpus = loadNative().possibleCpus
    return this.#countMaps(name)
      .filter(map => id < map.info.maxEntries)
      .map(map => sumOverCpus(map.lookup(u32(id)), map.info.valueSize, cpus).row(0))
  }

  #countMaps(name: CountName): readonly BpfMap[] {
    return [...this.#retired[name], this.#map(name)]
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

  /** Detaches from every interface, removes what is pinned, and frees everything. */
  async close(): Promise<void> {
    for (const ifindex of [...this.#links.keys(), ...this.#inherited.keys()]) await this.detach(ifindex)
    if (this.#generation !== null) this.#pins?.remove()
    this.#unload()
  }

  /** What is pinned goes on without this process; all else ends. */
  async release(): Promise<void> {
    if (!this.#pins) return this.close()
    for (const link of [...this.#links.values(), ...[...this.#inherited.values()].map(({ link }) => link)])
      await link.close()
    this.#unload()
  }

  /** As it was before this process opened it, as far as that can be. */
  abandon(): Promise<void> {
    return this.#isFirst ? this.close() : this.release()
  }

  #unload(): void {
    unload(this.#loaded)
    for (const map of [...this.#retired.backend_counts, ...this.#retired.service_counts]) map.close()
  }

  #map(name: MapName): BpfMap {
    return this.#loaded.maps.get(name)!
  }
}
