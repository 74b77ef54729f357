/**
 * Where replies come back (bpf/replies.h): an entry for each address, port and protocol of a NAT backend, and one for each
 * local address. A backend that two services have, or one on every port, is told by its flow.
 */
import { replyLayout, serviceState } from './layout.js'
import { createOpenTable, type OpenTable, type TableKey } from './open-table.js'
import { type End, l3Delta, l4Delta } from './sum-delta.js'

export interface ReplyEntry extends TableKey {
  readonly byFlow: number
  readonly vip: Uint8Array
  readonly vipPort: number
  readonly id: number
  readonly l4Delta: number
  readonly l3Delta: number
}

export type ReplyTable = OpenTable<ReplyEntry>

const format = {
  layout: replyLayout,
  encode: (entry: ReplyEntry) => replyLayout.encode({ ...entry, state: serviceState.SERVICE_USED }),
  decode: (record: Uint8Array): ReplyEntry => replyLayout.decode(record),
}

/** The parameters are createOpenTable's. */
export const createReplyTable = (
  memory: ArrayBuffer,
  seed: number,
  graceMs: number,
  now: () => number,
): ReplyTable => createOpenTable(format, memory, seed, graceMs, now)

/** A NAT backend of a service. */
export interface NatBackend {
  /** The backend's. */
  readonly id: number
  readonly backend: End
  /** IPPROTO_*. */
  readonly protocol: number
  /** The service's VIP and port. */
  readonly vip: End
}

/** A local address, by its number. */
export interface NumberedAddress {
  readonly addr: Uint8Array
  readonly number: number
}

const NO_ADDRESS = new Uint8Array(16)

const natEntry = ({ id, backend, protocol, vip }: NatBackend, byFlow: boolean): ReplyEntry => ({
  ...backend,
  protocol,
  byFlow: byFlow ? 1 : 0,
  vip: vip.addr,
  vipPort: vip.port,
  id,
  l4Delta: l4Delta(backend, vip),
  l3Delta: l3Delta(backend, vip),
})

const localEntry = ({ addr, number }: NumberedAddress): ReplyEntry => ({
  addr,
  port: 0,
  protocol: 0,
  byFlow: 0,
  vip: NO_ADDRESS,
  vipPort: 0,
  id: number,
  l4Delta: 0,
  l3Delta: 0,
})

const keyOf = ({ addr, port }: End, protocol: number): string =>
  `${Buffer.from(addr).toString('hex')}:${port}/${protocol}`

const byKey = (addresses: readonly NumberedAddress[]): Map<string, NumberedAddress> =>
  new Map(addresses.map(one => [keyOf({ ...one, port: 0 }, 0), one]))

/** By address, port and protocol of the backend: those that share it. */
type Users = Map<string, Map<number, NatBackend>>

/** Of those on every port there is one for an address: it takes part in what the others are. */
const isByFlow = (users: Users, { backend, protocol }: NatBackend): boolean =>
  backend.port === 0 ||
  (users.get(keyOf(backend, protocol))?.size ?? 0) > 1 ||
  users.has(keyOf({ ...backend, port: 0 }, protocol))

export interface Replies {
  /** Entries that there are. */
  nats(): number
  /** Of NAT backends. */
  hasNat(): boolean
  /** Whether one of them is told by its flow. */
  hasByFlow(): boolean
  /** Whether one would be by flow with these of some services. @param wanted by service */
  wouldBeByFlow(wanted: ReadonlyMap<number | string, readonly NatBackend[]>): boolean
  /**
   * A service's NAT backends, instead of those it had. False: no room; the table must be reseeded, and then has them.
   */
  setNat(service: number, backends: readonly NatBackend[]): boolean
  /** Those that were set last, or found. */
  natOf(service: number): readonly NatBackend[]
  /** Local addresses, instead of those that there were; false: as of setNat. */
  setLocal(addresses: readonly NumberedAddress[]): boolean
  /** All NAT backends, and these local addresses, in another table. False: no room. */
  fill(table: ReplyTable, local: readonly NumberedAddress[]): boolean
  /** From here on that one is kept, which was filled so. */
  moveTo(table: ReplyTable, local: readonly NumberedAddress[]): void
}

/**
 * @param found   the NAT backends that an earlier process left, by service
 * @param setSources where all replies come from, before one comes
 * @param setFlow whether a backend's requests are told by their flow: it is, before its replies are, and as long as they are
 */
export const createReplies = (
  first: ReplyTable,
  found: ReadonlyMap<number, readonly NatBackend[]>,
  setFlow: (backend: number, byFlow: boolean) => void,
  setSources: (addresses: readonly Uint8Array[]) => void = () => {},
): Replies => {
  let table = first
  const users: Users = new Map()
  const byService = new Map<number, readonly NatBackend[]>()
  let local = new Map<string, NumberedAddress>()
  const flows = new Set<string>()

  const add = (one: NatBackend): void => {
    const key = keyOf(one.backend, one.protocol)
    users.set(key, (users.get(key) ?? new Map()).set(one.id, one))
  }
  const drop = ({ backend, protocol, id }: NatBackend): void => {
    const key = keyOf(backend, protocol)
    const there = users.get(key)
    there?.delete(id)
    if (there?.size === 0) users.delete(key)
  }

  const entryOf = (key: string): ReplyEntry | null => {
    const [one] = users.get(key)?.values() ?? []
    return one ? natEntry(one, isByFlow(users, one)) : null
  }

  /** Those of one address and protocol are by flow together where one of them is on every port. */
  const keysWith = ({ backend, protocol }: NatBackend): string[] => {
    if (backend.port !== 0) return [keyOf(backend, protocol)]
    const [start, end] = [keyOf(backend, protocol).split(':')[0]!, `/${protocol}`]
    return [
      keyOf(backend, protocol),
      ...[...users.keys()].filter(key => key.startsWith(start) && key.endsWith(end)),
    ]
  }

  const write = (key: string, removed: readonly NatBackend[]): boolean => {
    const there = users.get(key)
    const entry = entryOf(key)
    const former = removed.filter(({ backend, protocol }) => keyOf(backend, protocol) === key)
    if (entry === null || !there) {
      flows.delete(key)
      for (const { backend, protocol, id } of former) {
        table.remove({ ...backend, protocol })
        setFlow(id, false)
      }
      return true
    }
    for (const { id } of former) if (!there.has(id)) setFlow(id, false)
    if (entry.byFlow === 1) {
      for (const id of there.keys()) setFlow(id, true)
      flows.add(key)
      return table.put(entry)
    }
    const isPut = table.put(entry)
    if (flows.delete(key)) for (const id of there.keys()) setFlow(id, false)
    return isPut
  }

  for (const [service, backends] of found) {
    byService.set(service, backends)
    backends.forEach(add)
  }
  const known = new Set<string>()
  for (const entry of table.entries()) {
    const key = keyOf(entry, entry.protocol)
    if (entry.protocol === 0) local.set(key, { addr: entry.addr, number: entry.id })
    else if (users.has(key)) known.add(key)
    else table.remove(entry)
    if (entry.byFlow === 1) flows.add(key)
  }
  const tellSources = (): void =>
    setSources([...users.values()].flatMap(there => [...there.values()].map(({ backend }) => backend.addr)))

  tellSources()
  for (const key of users.keys()) if (!known.has(key)) write(key, [])

  return {
    nats: () => users.size,
    hasNat: () => users.size > 0,
    hasByFlow: () => [...users.values()].some(there => isByFlow(users, there.values().next().value!)),
    wouldBeByFlow: wanted => {
      const after: Users = new Map()
      const addTo = (of: number | string, backends: readonly NatBackend[]): void => {
        for (const [i, one] of backends.entries()) {
          const key = keyOf(one.backend, one.protocol)
          // Ids are not given yet: the place among all that are wanted tells them apart.
          after.set(key, (after.get(key) ?? new Map()).set(`${of} ${i}`, one))
        }
      }
      for (const [service, backends] of byService) if (!wanted.has(service)) addTo(service, backends)
      for (const [service, backends] of wanted) addTo(service, backends)
      for (const backends of wanted.values()) if (backends.some(one => isByFlow(after, one))) return true
      return false
    },
    setNat: (service, backends) => {
      const before = byService.get(service) ?? []
      const [were, are] = [new Set(before), new Set(backends)]
      const gone = before.filter(one => !are.has(one))
      const fresh = backends.filter(one => !were.has(one))
      if (backends.length > 0) byService.set(service, backends)
      else byService.delete(service)
      gone.forEach(drop)
      fresh.forEach(add)
      tellSources()
      let hasRoom = true
      for (const key of new Set([...gone, ...fresh].flatMap(keysWith))) hasRoom = write(key, gone) && hasRoom
      return hasRoom
    },
    natOf: service => byService.get(service) ?? [],
    setLocal: addresses => {
      const next = byKey(addresses)
      for (const [key, { addr }] of local) if (!next.has(key)) table.remove({ addr, port: 0, protocol: 0 })
      let hasRoom = true
      for (const [key, one] of next)
        if (local.get(key)?.number !== one.number) hasRoom = table.put(localEntry(one)) && hasRoom
      local = next
      return hasRoom
    },
    fill: (to, addresses) => {
      for (const key of users.keys()) if (!to.put(entryOf(key)!)) return false
      for (const one of addresses) if (!to.put(localEntry(one))) return false
      return true
    },
    moveTo: (to, addresses) => {
      table = to
      local = byKey(addresses)
      tellSources()
    },
  }
}
