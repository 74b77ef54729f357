/**
 * The backends' next hops, followed as the kernel's links, routes and neighbours change. XDP traffic keeps no
 * neighbour entry alive, so each is asked for again every REFRESH_MS: a MAC address that changed silently is followed
 * within 30 s. What the kernel learns of a path (an exception's MTU, a redirect) makes no event either: the routes to
 * backends that are not on the link are read again as often.
 */
import { addressFamily, shortAddressBytes } from './address.js'
import type { LocalAddresses } from './local-addresses-followed.js'
import type { Log } from './log.js'
import type { Netlink, NetlinkEvent, NetlinkLink } from './native.js'
import {
  isUp,
  type KernelTables,
  type NeighbourKey,
  neighbourKeyText,
  type Resolution,
  resolveNextHop,
  routeMtu,
} from './next-hop.js'
import { createKeptNextHops, KEEP_MS } from './next-hop-kept.js'
import { createNeighbours } from './next-hop-neighbours.js'
import { createRoutes } from './next-hop-routes.js'
import type { Target } from './next-hop-target.js'

const REFRESH_MS = 10_000
/** How soon an unanswered neighbour is asked for again. */
const RETRY_MS = 1_000
/** Events that come together are looked at together. */
const SETTLE_MS = 20

export interface NextHops {
  /** The addresses (and static MAC addresses) to follow from here on; resolves when each has been looked up once. */
  follow(wanted: readonly Target[]): Promise<void>
  /** What is known of a target that is followed. */
  get(target: Target): Resolution
  links(): readonly NetlinkLink[]
  close(): void
}

/** Others that go by the kernel's tables, as they are followed here. */
export interface Companion {
  /** A moment ago, events that came together: one call. */
  changed(what: KernelChange): void
  /** To be asked for, and asked for again, like those that targets depend on. */
  neighbours(): Iterable<NeighbourKey>
}

export interface KernelChange {
  readonly links: boolean
  readonly neighbours: boolean
  readonly addresses: boolean
  /** Routes, rules, and all that they depend on: they are to be read again. */
  readonly routes: boolean
}

/** What the paths beyond the next hops are learnt by. */
export interface FollowedNextHops extends NextHops {
  readonly tables: KernelTables
  /** Whether frames can leave by an interface. */
  isUp(ifindex: number): boolean
  accompany(companion: Companion): void
  /** A companion's neighbours are others: those that are not known are asked for. */
  askFor(): void
  /** The MTU of the route to a tunnelled target, without what has been learnt of the path; null: none such, no route. */
  routeMtu(address: string): number | null
  /** `learntMtu` gives other answers. */
  reconsider(): void
}

export interface NextHopsOptions {
  readonly netlink: Pick<Netlink, 'links' | 'neighbours' | 'routeTo' | 'resolve' | 'subscribe' | 'close'>
  /** Where a static next hop without a route leaves: the first interface that traffic enters by. */
  readonly entry: (links: readonly NetlinkLink[]) => NetlinkLink | undefined
  /** Something may have changed: next hops, links. */
  readonly onChange: (change: { readonly links: boolean }) => void
  readonly log: Log
  /** Ask for neighbours that are not known, and keep those that are fresh. */
  readonly probe: boolean
  /** What routers have said of the path to an address; null: nothing. */
  readonly learntMtu?: (address: string) => number | null
  /** Which local addresses are of use; absent: all. */
  readonly localAddresses?: Pick<LocalAddresses, 'lacking'>
  /** The way to an address is another one, or takes packets of another length. */
  readonly onPathChange?: (address: string) => void
}

const targetKey = ({ address, mac, isTunnelled, isRouted, leastMtu }: Target): string =>
  `${address} ${mac ?? ''} ${isTunnelled ?? false} ${isRouted ?? false} ${leastMtu ?? 0}`

const isSame = (a: Target, b: Target): boolean =>
  a === b ||
  (a.address === b.address &&
    a.mac === b.mac &&
    a.isTunnelled === b.isTunnelled &&
    a.isRouted === b.isRouted &&
    a.leastMtu === b.leastMtu)

export const createNextHops = async (options: NextHopsOptions): Promise<FollowedNextHops> => {
  const { netlink, log, onPathChange = () => {}, learntMtu = () => null } = options
  const links = new Map<number, NetlinkLink>()
  const neighbours = createNeighbours(options.probe)
  const routes = createRoutes(netlink, onPathChange)
  let targets: readonly Target[] = []
  /** Those that may be behind a gateway. */
  let distant: readonly string[] = []
  let isTunnelled: ReadonlySet<string> = new Set()
  let timer: NodeJS.Timeout | null = null
  let isClosed = false
  let entryBefore: number | undefined
  let followed: readonly Target[] = []
  const companions: Companion[] = []

  const tables: KernelTables = { link: ifindex => links.get(ifindex), neighbour: neighbours.get }
  const isLinkUp = (ifindex: number): boolean => isUp(links.get(ifindex))

  let keeping: NodeJS.Timeout | null = null
  const kept = createKeptNextHops(
    () => performance.now(),
    isLinkUp,
    () => {
      keeping ??= setTimeout(() => {
        keeping = null
        reconsider()
      }, KEEP_MS)
    },
  )

  /** What was found out of each target (by the object that asks) since something last changed. */
  let resolved = new WeakMap<Target, Resolution>()

  const lackingFor = ({ localAddresses, address }: Target): string | null =>
    localAddresses === undefined
      ? null
      : (options.localAddresses?.lacking(localAddresses, addressFamily(address)) ?? null)

  const get = (target: Target): Resolution => {
    const known = resolved.get(target)
    if (known) return known
    const lacking = lackingFor(target)
    if (lacking !== null) {
      const none = { reason: lacking, neighbour: null }
      resolved.set(target, none)
      return none
    }
    const found = resolveNextHop(tables, {
      ...target,
      route: routes.get(target.address),
      entry: options.entry([...links.values()]),
      learntMtu: target.isTunnelled ? learntMtu(target.address) : null,
    })
    const now = kept.of(targetKey(target), found)
    resolved.set(target, now)
    return now
  }

  /** Those that targets depend on, as of the last look. */
  let wantedNeighbours: ReadonlyMap<string, NeighbourKey> = new Map()

  const lookAtNeighbours = (): void => {
    const own = targets.flatMap(target => get(target).neighbour ?? [])
    const all = [...own, ...companions.flatMap(one => [...one.neighbours()])]
    wantedNeighbours = new Map(all.map(key => [neighbourKeyText(key), key]))
  }

  const readAll = async (): Promise<void> => {
    const [allLinks, allNeighbours] = await Promise.all([netlink.links(), netlink.neighbours()])
    links.clear()
    for (const link of allLinks) links.set(link.ifindex, link)
    neighbours.replaceAll(allNeighbours)
    resolved = new WeakMap()
  }

  const ask = (key: NeighbourKey): void => {
    netlink.resolve(key.ifindex, shortAddressBytes(key.address)).catch((error: unknown) => {
      log.debug(
        { event: 'neighbour.ask-failed', ...key, error: String(error) },
        'the kernel refused to ask for a neighbour',
      )
    })
  }

  const askFor = (which: 'unresolved' | 'all'): void => {
    lookAtNeighbours()
    if (!options.probe) return
    for (const key of wantedNeighbours.values()) if (which === 'all' || neighbours.isFailing(key)) ask(key)
  }

  const nothing = { links: false, addresses: false, routes: false, all: false, neighbours: false }
  const pending = { ...nothing }

  const settle = async (): Promise<void> => {
    const { links: linksChanged, routes: routesChanged, all, neighbours: neighboursChanged } = { ...pending }
    const addresses = pending.addresses || all
    Object.assign(pending, nothing)
    if (all) await readAll()
    const areRoutesOthers = (routesChanged || linksChanged || all) && (await routes.read())
    resolved = new WeakMap()
    if (isClosed) return
    const change = {
      links: linksChanged || all,
      neighbours: neighboursChanged || all,
      addresses,
      routes: routesChanged || linksChanged || all,
    }
    for (const one of companions) one.changed(change)
    if (!(linksChanged || all || neighboursChanged || areRoutesOthers)) return
    options.onChange({ links: linksChanged || all })
    askFor('unresolved')
  }

  const settleSoon = (): void => {
    timer ??= setTimeout(() => {
      timer = null
      settle().catch((error: unknown) => {
        log.error({ event: 'netlink.failed', error: String(error) }, 'reading the kernel tables failed')
        pending.all = true
        if (!isClosed) settleSoon()
      })
    }, SETTLE_MS)
  }

  const onEvent = (event: NetlinkEvent): void => {
    switch (event.kind) {
      case 'link':
        if (event.change === 'new') links.set(event.link.ifindex, event.link)
        else links.delete(event.link.ifindex)
        pending.links = true
        break
      case 'address':
        pending.addresses = true
        pending.routes = true
        return
      case 'route':
      case 'rule':
        pending.routes = true
        return
      case 'neighbour':
        if (event.change === 'new') neighbours.set(event.neighbour)
        else neighbours.forget(event.neighbour, key => wantedNeighbours.has(key))
        pending.neighbours = true
        break
      case 'overrun':
        pending.all = true
        return
    }
    resolved = new WeakMap()
  }

  const reconsider = (): void => {
    resolved = new WeakMap()
    options.onChange({ links: false })
  }

  /** A part of the distant targets' routes each time, each of them once in REFRESH_MS. */
  let turn = 0
  const readSomeRoutes = async (): Promise<void> => {
    const turns = REFRESH_MS / RETRY_MS
    const from = Math.floor((distant.length * turn) / turns)
    turn = (turn + 1) % turns
    const to = turn === 0 ? distant.length : Math.floor((distant.length * turn) / turns)
    if (!(await routes.read(distant.slice(from, to))) || isClosed) return
    reconsider()
    askFor('unresolved')
  }

  netlink.subscribe(events => {
    for (const event of events) onEvent(event)
    settleSoon()
  })
  await readAll()

  const retry = setInterval(() => {
    askFor('unresolved')
    if (options.probe) void readSomeRoutes()
  }, RETRY_MS)
  const refresh = setInterval(() => askFor('all'), REFRESH_MS)

  return {
    follow: async wanted => {
      const entryNow = options.entry([...links.values()])?.ifindex
      if (entryNow !== entryBefore) resolved = new WeakMap()
      entryBefore = entryNow
      const isFollowed = (target: Target, i: number): boolean => isSame(target, followed[i]!)
      if (wanted.length === followed.length && wanted.every(isFollowed)) return
      followed = wanted
      targets = [...new Map(wanted.map(target => [targetKey(target), target])).values()]
      kept.only(targets.map(targetKey))
      isTunnelled = new Set(targets.flatMap(target => (target.isTunnelled ? [target.address] : [])))
      distant = [...new Set(targets.flatMap(one => (one.isTunnelled || one.isRouted ? [one.address] : [])))]
      if (!(await routes.follow(new Set(targets.map(({ address }) => address))))) return
      resolved = new WeakMap()
      askFor('unresolved')
    },
    get,
    routeMtu: address => (isTunnelled.has(address) ? routeMtu(tables, routes.get(address)) : null),
    reconsider,
    tables,
    isUp: isLinkUp,
    accompany: companion => void companions.push(companion),
    askFor: () => askFor('unresolved'),
    links: () => [...links.values()],
    close: () => {
      isClosed = true
      if (timer) clearTimeout(timer)
      if (keeping) clearTimeout(keeping)
      clearInterval(retry)
      clearInterval(refresh)
      netlink.close()
    },
  }
}
