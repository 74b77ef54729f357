/** The loaded data plane: its program, its maps by name, its interfaces. Its tables are filled by tables.ts. */
import { BalancerError } from '../errors.js'
import type { Log } from '../log.js'
import { type BpfMap, loadNative, type TestRunResult, type XdpLink, type XdpMode } from '../native.js'
import { type ClientRoute, createClientRoutesTable } from './client-routes-table.js'
import { type Counts, createCounts } from './counts.js'
import { convertTables, lackingCounts, loadFor, otherTables } from './found-maps.js'
import { closeFound, type Found } from './generation.js'
import { mapNames, traceLayout } from './layout.js'
import { type Loaded, load, type MapName, type MappedName, type Shape, unload } from './load.js'
import type { MapHandle } from './map-handle.js'
import { u32 } from './map-key.js'
import { formerOf, jiffiesOf, moveOver } from './move-over.js'
import { createOutPorts } from './out-ports.js'
import { type FoundLink, openPins, type Pins } from './pins.js'
import { createTurns } from './turns.js'
import { type Verdict, verdictNames } from './verdicts.js'

export { cacheBits, type MapName, type Shape, shapeFor } from './load.js'
export { type Verdict, verdictNames } from './verdicts.js'

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

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

/** What has been found fixes the capacities and the flow hash; what nothing is filled by is as wanted. */
const adoptedShape = (wanted: Shape, found: Shape): Shape => ({
  ...found,
  flows: found.tracking ? found.flows : wanted.flows,
  tracking: found.tracking || wanted.tracking,
  anyPort: found.anyPort || wanted.anyPort,
  answersPerSecond: wanted.answersPerSecond,
  testClock: wanted.testClock,
  trace: wanted.trace,
  nat: found.nat || wanted.nat,
  ...(found.numbers === 0 ? connectionsOf(wanted) : {}),
})

const connectionsOf = ({ numbers, indexBits, snatPrefixes, snatPool, localNet, localMask }: Shape) => ({
  numbers,
  indexBits,
  snatPrefixes,
  snatPool,
  localNet,
  localMask,
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
  readonly #outPorts = createOutPorts(() => this.#map('out_ports'))
  #pins: Pins | null = null
  /** As what it is pinned; null: not yet. */
  #generation: number | null = null
  /** Attachments that an earlier process has left, and nobody has asked for yet. */
  #inherited = new Map<number, FoundLink>()
  /** What their program uses, while that is not this one: it is laid out otherwise, and was converted. */
  #former: Found | null = null
  #isAdopted = false
  /** Nothing was there before. */
  #isFirst = true
  /** A link that is attached while the program changes must not be left with the other one. */
  readonly #inTurn = createTurns()
  readonly #log: Log
  /** What its packets have been counted as. */
  readonly counts: Counts = createCounts(() => this.#loaded)
  readonly #clientRoutes

  private constructor(loaded: Loaded, log: Log) {
    this.#loaded = loaded
    this.#log = log
    this.#clientRoutes = createClientRoutesTable(
      () => this.memory('client_routes'),
      ifindex => this.outPort(ifindex),
    )
  }

  /** Loads the program with fresh maps; attached to nothing. @throws BalancerError, or the kernel's error with `log` */
  static async load(shape: Shape, log: Log = silent): Promise<Dataplane> {
    return new Dataplane(await load(shape, null), log)
  }

  /**
   * What an earlier process has pinned, moved to this build's program without losing a packet; else what `load` gives,
   * which is pinned when it is first attached. What another build has laid out otherwise is converted, and forwards by
   * the other build's program until then; so does what this build cannot read, and begins anew.
   *
   * @throws BalancerError `ERR_STATE`, `ERR_NOT_PERMITTED` when pins cannot be kept there
   */
  static async open({ pinDir, shape, log }: OpenOptions): Promise<Dataplane> {
    if (pinDir === null) return Dataplane.load(shape, log)
    const pins = openPins(pinDir, log)
    const links = await pins.findLinks()
    const found = pins.find(new Set(links.map(({ link }) => link.info.programId)))
    const dataplane =
      (found && (await Dataplane.#goOn(found, links, shape, pins, log))) ?? (await Dataplane.load(shape, log))
    dataplane.#pins = pins
    for (const one of links) dataplane.#inherited.set(one.ifindex, one)
    dataplane.#isFirst = found === null && links.length === 0
    return dataplane
  }

  static async #goOn(
    found: Found,
    links: readonly FoundLink[],
    wanted: Shape,
    pins: Pins,
    log: Log,
  ): Promise<Dataplane | null> {
    try {
      const others = otherTables(found)
      const loaded = await loadFor(found, adoptedShape(wanted, found.shape), others.length > 0)
      const dataplane = new Dataplane(loaded, log)
      if (others.length > 0) await dataplane.#convert(found, others, pins)
      else await dataplane.#adopt(found, links, pins)
      dataplane.#outPorts.adopt()
      return dataplane
    } catch (cause) {
      closeFound(found)
      if (cause instanceof BalancerError) throw cause
      const reason = cause instanceof Error ? cause.message : String(cause)
      log.error({ event: 'pins.unusable', path: pins.directory, reason }, 'what is pinned is replaced')
      return null
    }
  }

  /** The tables are shared: this build's program may run at once. */
  async #adopt(found: Found, links: readonly FoundLink[], pins: Pins): Promise<void> {
    const loaded = this.#loaded
    const fresh = mapNames.filter(
      name => loaded.maps.get(name)!.info.id !== found.maps.get(name)?.map.info.id,
    )
    const isSame =
      fresh.length === 0 &&
      found.program?.info.tag === loaded.program.info.tag &&
      found.config !== null &&
      Buffer.compare(loaded.config.lookup(u32(0)), found.config) === 0
    if (isSame) {
      loaded.program.close()
      this.#loaded = { ...loaded, program: found.program }
    }
    await moveOver(found, this.#loaded, this.#log, async () => {
      this.#generation = isSame ? found.number : pins.write(loaded)
      for (const { link } of links) await moveTo(link, this.#loaded)
    })
    pins.keepOnly(this.#generation!)
    this.#isAdopted = true
    this.#log.info(
      { event: 'pins.adopted', path: pins.directory, tag: this.tag, isSame, fresh },
      'goes on with what is pinned',
    )
    closeFound({ ...found, program: isSame ? null : found.program })
  }

  /** The tables are copied: this build's program takes over when they are up to date. */
  async #convert(found: Found, others: readonly MapName[], pins: Pins): Promise<void> {
    await convertTables(found, this.#loaded)
    this.#former = found
    this.#log.warn(
      {
        event: 'pins.converted',
        path: pins.directory,
        reason: others.map(name => `its map ${name} is laid out otherwise`).join(', '),
        lacking: lackingCounts(found),
      },
      'what is pinned is of another layout: copied, and replaced',
    )
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
   * @param fill  when it returns false nothing is moved; a function that it returns is called when all is
   * @param fresh maps that are not shared whatever their size
   * @returns whether it was moved
   * @throws BalancerError `ERR_LIMIT` when flows that must be remembered have no room; nothing is moved then
   */
  reshape(
    shape: Shape,
    fill: (next: Dataplane) => unknown,
    fresh: readonly MapName[] = [],
  ): Promise<boolean> {
    return this.#inTurn(() => this.#reshape(shape, fill, fresh))
  }

  async #reshape(
    shape: Shape,
    fill: (next: Dataplane) => unknown,
    fresh: readonly MapName[],
  ): Promise<boolean> {
    const before = this.#loaded
    const keepsFlows = before.shape.tracking && shape.tracking
    // The connection index is laid out by the keys that follow from the seed.
    const unshared = new Set<MapName>(
      shape.seed === before.shape.seed ? fresh : [...fresh, 'connection_index'],
    )
    const present = {
      maps: new Map([...before.maps].filter(([name]) => !unshared.has(name))),
      serviceSeed: null,
      tailBits: keepsFlows ? before.tailBits : null,
    }
    const next = new Dataplane(await load(shape, present), this.#log)
    const loaded = next.#loaded
    const generation = this.#generation
    // From the first attachment on all of them run this program.
    const inherited = generation === null ? [] : [...this.#inherited.values()].map(({ link }) => link)
    const links = [...this.#links.values(), ...inherited]
    let filled: unknown
    try {
      filled = fill(next)
      if (filled === false) {
        unload(loaded)
        return false
      }
      await moveOver(formerOf(before), loaded, this.#log, async () => {
        if (this.#pins && generation !== null) this.#generation = this.#pins.write(loaded)
        for (const link of links) await moveTo(link, loaded)
      })
    } catch (error) {
      for (const link of links) await moveTo(link, before)
      this.#generation = generation
      if (generation !== null) this.#pins?.keepOnly(generation)
      unload(loaded)
      throw error
    }
    this.#loaded = loaded
    if (typeof filled === 'function') filled()
    if (this.#generation !== null && this.#isSettled()) this.#pins?.keepOnly(this.#generation)
    unload(before)
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
  takeOver(ifindex: number): Promise<void> {
    return this.#inTurn(() => this.#takeOver(ifindex))
  }

  async #takeOver(ifindex: number): Promise<void> {
    const found = this.#inherited.get(ifindex)
    if (!found) return
    await this.#begin()
    await moveTo(found.link, this.#loaded)
    this.#inherited.delete(ifindex)
    this.#links.set(ifindex, found.link)
  }

  /**
   * The tables are filled when the first interface is attached: from here on they can be gone on with, and what an
   * earlier process has attached gets this program, with what the other has learnt and counted.
   */
  async #begin(): Promise<void> {
    const pins = this.#pins
    if (!pins || this.#generation !== null) return
    const former = this.#former
    const move = async (): Promise<void> => {
      const generation = pins.write(this.#loaded)
      for (const { link } of this.#inherited.values()) await moveTo(link, this.#loaded)
      this.#generation = generation
    }
    if (former === null) return move()
    await moveOver(former, this.#loaded, this.#log, move)
    this.#forgetFormer()
  }

  #forgetFormer(): void {
    if (this.#former) closeFound(this.#former)
    this.#former = null
  }

  /** @throws BalancerError, or the kernel's error: EBUSY, EOPNOTSUPP and others */
  attach(ifindex: number, mode: XdpMode): Promise<void> {
    return this.#inTurn(() => this.#attach(ifindex, mode))
  }

  async #attach(ifindex: number, mode: XdpMode): Promise<void> {
    await this.#begin()
    const link = await loadNative().XdpLink.attach(this.#loaded.program, ifindex, mode)
    try {
      this.#pins?.pinLink(ifindex, link)
    } catch (cause) {
      await link.close()
      throw cause
    }
    this.#links.set(ifindex, link)
  }

  detach(ifindex: number): Promise<void> {
    return this.#inTurn(() => this.#detach(ifindex))
  }

  async #detach(ifindex: number): Promise<void> {
    const link = this.#links.get(ifindex) ?? this.#inherited.get(ifindex)?.link
    this.#links.delete(ifindex)
    this.#inherited.delete(ifindex)
    if (link) this.#pins?.unpinLink(ifindex)
    await link?.close()
  }

  /** Everything wanted is attached: what an earlier process has left, and nobody asked for, goes. */
  settle(): Promise<void> {
    return this.#inTurn(async () => {
      for (const ifindex of [...this.#inherited.keys()]) await this.#detach(ifindex)
      if (this.#generation !== null) this.#pins?.keepOnly(this.#generation)
    })
  }

  /** The devmap's place of an interface, made on first use. @throws BalancerError `ERR_LIMIT` */
  outPort(ifindex: number): number {
    return this.#outPorts.of(ifindex)
  }

  /** How replies to clients, and SNAT, leave: see ClientRoutesTable.set. @throws BalancerError `ERR_LIMIT` */
  setClientRoutes(family: 4 | 6, routes: readonly ClientRoute[]): Promise<void> {
    return this.#clientRoutes.set(family, routes)
  }

  /** The kernel's jiffies, now. */
  jiffies(): bigint {
    return jiffiesOf(this.#loaded)
  }

  /** What routers have said of the tunnels' paths, by outer destination. Another map after `reshape`. */
  get pathMtus(): Pick<BpfMap, 'lookupBatch' | 'delete'> {
    return this.#map('path_mtus')
  }

  /** On-link clients without a neighbour entry. Another map after `reshape`. */
  get wantedNeighbours(): Pick<BpfMap, 'lookupBatch' | 'delete'> {
    return this.#map('wanted_neighbours')
  }

  /** A map, for another thread of this process. */
  handle(name: MappedName): MapHandle {
    const map = this.#map(name)
    return { fd: map.fd, id: map.info.id }
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
  close(): Promise<void> {
    return this.#inTurn(() => this.#close())
  }

  async #close(): Promise<void> {
    for (const ifindex of [...this.#links.keys(), ...this.#inherited.keys()]) await this.#detach(ifindex)
    if (this.#generation !== null) this.#pins?.remove()
    this.#unload()
  }

  /** What is pinned goes on without this process; all else ends. */
  release(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#pins) return this.#close()
      for (const link of [...this.#links.values(), ...[...this.#inherited.values()].map(({ link }) => link)])
        await link.close()
      this.#unload()
    })
  }

  /** As it was before this process opened it, as far as that can be. */
  abandon(): Promise<void> {
    return this.#isFirst ? this.close() : this.release()
  }

  #unload(): void {
    this.#forgetFormer()
    unload(this.#loaded)
  }

  #map(name: MapName): BpfMap {
    return this.#loaded.maps.get(name)!
  }
}
