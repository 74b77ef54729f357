/**
 * The backends' entries in the data plane's memory, by id: who has which id, what is written, and when an id may be used
 * again. An entry is written before the slots that name it; one that goes is marked dead and keeps its id until no
 * packet, no slot and no flow can be holding it.
 */
import { addressBytes, addressText } from '../address.js'
import { backendIdentity, type Forward, type TranslatedForward } from '../model.js'
import { createIds } from './allocator.js'
import { FLAGS_WORD, storeRecord } from './backend-words.js'
import type { Dataplane } from './dataplane.js'
import { forwardFields, innerMtu, isSameTunnel, type OuterSource, type Tunnel } from './encapsulation.js'
import { backendFlags, backendLayout, forwardMode } from './layout.js'
import { formerRow } from './load.js'
import type { NatBackend } from './replies.js'
import { type End, keyOfDeltas, l3Delta, l4Delta } from './sum-delta.js'

export interface NextHop {
  readonly ifindex: number
  /** The next hop's, 6 bytes. */
  readonly mac: Uint8Array
  /** The outgoing interface's, 6 bytes. */
  readonly sourceMac: Uint8Array
  /** The longest packet that the route takes, in bytes from the IP header on: its MTU, at most the way out's. */
  readonly mtu: number
  /** The kernel's preferred source for the route, 16 bytes (IPv4 mapped); null: it names none. */
  readonly source: Uint8Array | null
}

export interface WantedBackend {
  /** As backendIdentity() makes it: of the two that follow. */
  readonly identity: string
  readonly address: string
  /** Its own, or the service's. */
  readonly port: number
  readonly nextHop: NextHop | null
  /** Absent or null: none. */
  readonly tunnel?: Tunnel | null
  /** Absent or null: the packet keeps its addresses and ports. */
  readonly translated?: Translated | null
  /** Gets no packets but those of slots whose current owner it is: down, disabled, unresolved. */
  readonly isDead: boolean
  /** Its old flows stay, no new one comes: draining, leaving, weight 0. */
  readonly isDraining: boolean
}

/** How packets to a backend get other addresses and ports. */
export interface Translated {
  readonly mode: TranslatedForward['mode']
  /** The service's. */
  readonly vip: End
  /** IPPROTO_*. */
  readonly protocol: number
}

export interface BackendStore {
  idOf(service: number, identity: string): number | undefined
  /** The backends of a service by identity. */
  ofService(service: number): ReadonlyMap<string, number>
  /**
   * Writes an entry, with an id of its own the first time.
   *
   * @param idle the service's idle time, in units of the flow clock
   * @returns    the id
   */
  write(service: number, wanted: WantedBackend, idle: number): number
  /** Its slots go to others from here on; it stays home of nobody's. */
  markDead(id: number): void
  /** No slot names it any more. */
  retire(id: number): void
  /** No packet has met it: it was written, or was to be, for a change that failed. */
  giveBack(id: number): void
  flags(id: number): number
  /** A NAT backend's: only its requests' flows tell which service its replies are of. */
  setByFlow(id: number, byFlow: boolean): void
  /** Whether each flow of a backend is a connection: FULLNAT, NAT by flow. */
  hasConnections(id: number): boolean
  /** Grows with each change of setByFlow. */
  flowChanges(): number
  /** Whether some backend of a service is by flow. */
  hasByFlow(service: number): boolean
  /** Those of a service that are NAT, as they are written. */
  natOf(service: number, protocol: number, vip: End): readonly NatBackend[]
  /** Ids of a service's former backends that are not free yet: what they have counted is still theirs. */
  dyingOf(service: number): readonly number[]
  /** The service is gone: so is what its former backends have counted, but for the totals. */
  forgetService(service: number): void
  /** Ids from this one on are nobody's, and never were. */
  bound(): number
  owner(id: number): { readonly service: number; readonly identity: string } | null
  hasRoom(count: number): boolean
  /** A sweep has ended: ids that no flow holds any more are free. @param beganMs when it began */
  swept(beganMs: number, flows: Uint32Array): void
  /** The same entries in larger memory. */
  moveTo(memory: ArrayBuffer, capacity: number): void
}

interface Dying {
  /** Whose it was; null: that is gone too. */
  service: number | null
  readonly since: number
  isSwept: boolean
}

const MAX_MTU = 0xffff

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const sameSource = (a: Uint8Array | null, b: Uint8Array | null): boolean =>
  a === b || (a !== null && b !== null && sameBytes(a, b))

const sameNextHop = (a: NextHop | null, b: NextHop | null): boolean =>
  a === b ||
  (a !== null &&
    b !== null &&
    a.ifindex === b.ifindex &&
    a.mtu === b.mtu &&
    sameSource(a.source, b.source) &&
    sameBytes(a.mac, b.mac) &&
    sameBytes(a.sourceMac, b.sourceMac))

/** Of one backend. */
const isSameEntry = (a: WantedBackend, b: WantedBackend): boolean =>
  a === b ||
  (a.isDead === b.isDead &&
    a.isDraining === b.isDraining &&
    sameNextHop(a.nextHop, b.nextHop) &&
    isSameTunnel(a.tunnel, b.tunnel) &&
    isSameTranslated(a.translated, b.translated))

export const isSameTranslated = (a: Translated | null = null, b: Translated | null = null): boolean =>
  a === b ||
  (a !== null &&
    b !== null &&
    a.mode === b.mode &&
    a.protocol === b.protocol &&
    a.vip.port === b.vip.port &&
    sameBytes(a.vip.addr, b.vip.addr))

const direct: Forward = { mode: 'dr' }

/** Where requests go. */
const endOf = ({ address, port }: WantedBackend): End => ({ addr: addressBytes(address), port })

/** NAT: what a request's VIP and port becoming the backend's add to its checksums. */
const natKey = (wanted: WantedBackend): number | null => {
  const { translated } = wanted
  if (translated?.mode !== 'nat') return null
  const [from, to] = [translated.vip, endOf(wanted)]
  return keyOfDeltas(l4Delta(from, to), l3Delta(from, to))
}

/** The outer source: as it is configured, else the route's. */
const sourceOf = ({ tunnel, nextHop }: WantedBackend): OuterSource | null => {
  if (!tunnel) return null
  return tunnel.source ?? (nextHop?.source ? { address: nextHop.source, spread: 0 } : null)
}

/** The fields of a record that say where packets go, and how. */
const wayFields = (wanted: WantedBackend, outPort: (ifindex: number) => number) => {
  const { nextHop, address, tunnel, translated } = wanted
  const forward: Forward = tunnel?.forward ?? (translated ? { mode: translated.mode } : direct)
  const source = sourceOf(wanted)
  const isResolved = nextHop !== null && (!tunnel || source !== null)
  const { flags, key, ...fields } = forwardFields(forward, source)
  return {
    ...fields,
    key: natKey(wanted) ?? key,
    flags: flags | (isResolved ? backendFlags.BACKEND_RESOLVED : 0),
    dstMac: nextHop?.mac ?? new Uint8Array(6),
    srcMac: nextHop?.sourceMac ?? new Uint8Array(6),
    ifindex: nextHop?.ifindex ?? 0,
    outPort: nextHop ? outPort(nextHop.ifindex) : 0,
    mtu: innerMtu(nextHop?.mtu ?? MAX_MTU, forward, address),
  }
}

/** Whose row of counters nobody counts in: there goes what belongs to nobody any more, for the totals. */
const NOBODY = 0

/**
 * @param graceMs   how long an id is left alone after its slots have gone
 * @param isTracked whether flows may hold an id: then it is free only after two sweeps
 */
export const createBackendStore = (
  dataplane: Dataplane,
  graceMs: number,
  now: () => number,
  isTracked: () => boolean,
): BackendStore => {
  let words = new BigUint64Array(dataplane.memory('backends'))
  let bytes = new Uint8Array(words.buffer)
  const byService = new Map<number, Map<string, number>>()
  const owners = new Map<number, { readonly service: number; readonly identity: string }>()
  const lastWritten = new Map<number, { readonly wanted: WantedBackend; readonly idle: number }>()
  const dying = new Map<number, Dying>()
  const byFlow = new Set<number>()
  let flowChanges = 0

  const recordOf = (id: number) =>
    backendLayout.decode(new Uint8Array(words.buffer, id * backendLayout.size, backendLayout.size))

  const own = (id: number, service: number, identity: string): void => {
    owners.set(id, { service, identity })
    const ids = byService.get(service) ?? new Map<string, number>()
    byService.set(service, ids.set(identity, id))
  }

  /** What is found in use: pinned maps of a process that is no more. */
  const adopt = (): Set<number> => {
    const used = new Set<number>()
    for (let id = 1; id < words.length / (backendLayout.size / 8); id++) {
      if (words[(id * backendLayout.size) / 8 + FLAGS_WORD] === 0n) continue
      const { mode, service, addr, port, flags } = recordOf(id)
      if (mode === forwardMode.FORWARD_NONE) continue
      used.add(id)
      if (flags & backendFlags.BACKEND_BY_FLOW) byFlow.add(id)
      if (flags & backendFlags.BACKEND_GONE) dying.set(id, { service, since: now(), isSwept: false })
      else own(id, service, backendIdentity({ port }, { address: addressText(addr), port }))
    }
    return used
  }
  const ids = createIds(1, dataplane.shape.backends, graceMs, now, adopt())

  const modeOf = (id: number): number => bytes[id * backendLayout.size + backendLayout.fields.mode.offset]!

  const store = (id: number, record: Uint8Array): void => {
    dataplane.counts.modeChanges(id, modeOf(id), record[backendLayout.fields.mode.offset]!)
    storeRecord(words, (id * backendLayout.size) / 8, record)
  }

  const mark = (id: number, flags: number): void => {
    const record = recordOf(id)
    store(id, backendLayout.encode({ ...record, flags: record.flags | flags }))
    lastWritten.delete(id)
  }

  const free = (id: number): void => {
    dataplane.counts.modeChanges(id, modeOf(id), forwardMode.FORWARD_NONE)
    Atomics.store(words, (id * backendLayout.size) / 8 + FLAGS_WORD, 0n)
    const service = dying.get(id)?.service ?? null
    dataplane.counts.moveBackend(id, service === null ? NOBODY : formerRow(dataplane.shape, service))
    dying.delete(id)
    byFlow.delete(id)
    ids.free(id)
  }

  const take = (service: number, identity: string): number => {
    const id = ids.take()
    dataplane.counts.moveBackend(id, NOBODY)
    own(id, service, identity)
    return id
  }

  const disown = (id: number): { readonly service: number } | undefined => {
    const owner = owners.get(id)
    if (owner) byService.get(owner.service)?.delete(owner.identity)
    owners.delete(id)
    return owner
  }

  return {
    idOf: (service, identity) => byService.get(service)?.get(identity),
    ofService: service => byService.get(service) ?? new Map(),
    write: (service, wanted, idle) => {
      const id = byService.get(service)?.get(wanted.identity) ?? take(service, wanted.identity)
      const last = lastWritten.get(id)
      if (last?.idle === idle && isSameEntry(last.wanted, wanted)) return id
      const way = wayFields(wanted, ifindex => dataplane.outPort(ifindex))
      store(
        id,
        backendLayout.encode({
          ...way,
          flags:
            way.flags |
            (wanted.isDead ? backendFlags.BACKEND_DEAD : 0) |
            (wanted.isDraining ? backendFlags.BACKEND_NO_NEW : 0) |
            (byFlow.has(id) ? backendFlags.BACKEND_BY_FLOW : 0),
          port: wanted.port,
          service,
          idle,
          addr: addressBytes(wanted.address),
        }),
      )
      lastWritten.set(id, { wanted, idle })
      return id
    },
    markDead: id => mark(id, backendFlags.BACKEND_DEAD | backendFlags.BACKEND_NO_NEW),
    retire: id => {
      const owner = disown(id)
      mark(id, backendFlags.BACKEND_GONE)
      dying.set(id, { service: owner?.service ?? null, since: now(), isSwept: false })
      if (!isTracked()) free(id)
    },
    giveBack: id => {
      disown(id)
      lastWritten.delete(id)
      free(id)
    },
    flags: id => bytes[id * backendLayout.size + backendLayout.fields.flags.offset]!,
    setByFlow: (id, isByFlow) => {
      if (byFlow.has(id) === isByFlow) return
      const record = recordOf(id)
      const { BACKEND_BY_FLOW } = backendFlags
      store(
        id,
        backendLayout.encode({
          ...record,
          flags: isByFlow ? record.flags | BACKEND_BY_FLOW : record.flags & ~BACKEND_BY_FLOW,
        }),
      )
      flowChanges++
      if (isByFlow) byFlow.add(id)
      else byFlow.delete(id)
    },
    hasConnections: id => modeOf(id) === forwardMode.FORWARD_FULLNAT || byFlow.has(id),
    flowChanges: () => flowChanges,
    hasByFlow: service =>
      byFlow.size > 0 && [...(byService.get(service)?.values() ?? [])].some(id => byFlow.has(id)),
    natOf: (service, protocol, vip) =>
      [...(byService.get(service)?.values() ?? [])].flatMap(id => {
        if (modeOf(id) !== forwardMode.FORWARD_NAT) return []
        const { addr, port } = recordOf(id)
        return [{ id, backend: { addr, port }, protocol, vip }]
      }),
    dyingOf: service => [...dying].flatMap(([id, one]) => (one.service === service ? [id] : [])),
    forgetService: service => {
      for (const one of dying.values()) if (one.service === service) one.service = null
      dataplane.counts.moveBackend(formerRow(dataplane.shape, service), NOBODY)
    },
    bound: () => ids.bound(),
    owner: id => owners.get(id) ?? null,
    hasRoom: count => ids.hasRoom(count),
    swept: (beganMs, flows) => {
      for (const [id, one] of dying) {
        if (beganMs - one.since < graceMs) continue
        if (one.isSwept && flows[id] === 0) free(id)
        else one.isSwept = true
      }
    },
    moveTo: (memory, capacity) => {
      words = new BigUint64Array(memory)
      bytes = new Uint8Array(memory)
      ids.grow(capacity)
    },
  }
}
