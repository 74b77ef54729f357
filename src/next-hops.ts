/**
 * The backends' next hops, followed as the kernel's links, routes and neighbours change. XDP traffic keeps no
 * neighbour entry alive, so each is asked for again every REFRESH_MS: a MAC address that changed silently is followed
 * within 30 s.
 */
import { addressText, shortAddressBytes } from './address.js'
import type { Log } from './log.js'
import type { Netlink, NetlinkEvent, NetlinkLink, NetlinkNeighbour, NetlinkRoute } from './native.js'
import {
  type KernelTables,
  type NeighbourKey,
  neighbourKeyText,
  type Resolution,
  resolveNextHop,
} from './next-hop.js'

const REFRESH_MS = 10_000
/** How soon an unanswered neighbour is asked for again. */
const RETRY_MS = 1_000
/** Events that come together are looked at together. */
const SETTLE_MS = 20

const NUD_FAILED = 32

export interface NextHops {
  /** The addresses (and static MAC addresses) to follow from here on; resolves when each has been looked up once. */
  follow(wanted: readonly Target[]): Promise<void>
  /** What is known of a target that is followed. */
  get(target: Target): Resolution
  links(): readonly NetlinkLink[]
  close(): void
}

export interface Target {
  readonly address: string
  readonly mac: string | null
  /** It may be behind a gateway; default: it must be on the link, as direct routing demands. */
  readonly isTunnelled?: boolean
}

export interface NextHopsOptions {
  readonly netlink: Netlink
  /** Where a static next hop without a route leaves: the first interface that traffic enters by. */
  readonly entry: (links: readonly NetlinkLink[]) => NetlinkLink | undefined
  /** Something may have changed: next hops, links. */
  readonly onChange: (change: { readonly links: boolean }) => void
  readonly log: Log
  /** Ask for neighbours that are not known, and keep those that are fresh. */
  readonly probe: boolean
}

type Route = NetlinkRoute | { readonly error: string }

const targetKey = ({ address, mac, isTunnelled }: Target): string =>
  `${address} ${mac ?? ''} ${isTunnelled ?? false}`

const isSame = (a: Target, b: Target): boolean =>
  a === b || (a.address === b.address && a.mac === b.mac && a.isTunnelled === b.isTunnelled)

export const createNextHops = async (options: NextHopsOptions): Promise<NextHops> => {
  const { netlink, log } = options
  const links = new Map<number, NetlinkLink>()
  const neighbours = new Map<string, NetlinkNeighbour>()
  /** Since when the kernel calls a neighbour failed: its MAC address is believed for one more round of questions. */
  const lastGood = new Map<string, { readonly neighbour: NetlinkNeighbour; readonly failures: number }>()
  const routes = new Map<string, Route>()
  let targets: readonly Target[] = []
  let timer: NodeJS.Timeout | null = null
  let isClosed = false
  let entryBefore: number | undefined
  let followed: readonly Target[] = []

  const neighbourKey = ({ ifindex, address }: NetlinkNeighbour): string =>
    neighbourKeyText({ ifindex, address: addressText(address) })

  const setNeighbour = (neighbour: NetlinkNeighbour): void => {
    const key = neighbourKey(neighbour)
    neighbours.set(key, neighbour)
    resolved = new WeakMap()
    if (neighbour.mac && !(neighbour.state & (NUD_FAILED | 1))) lastGood.set(key, { neighbour, failures: 0 })
    else if (neighbour.state & NUD_FAILED) {
      const good = lastGood.get(key)
      if (good) lastGood.set(key, { ...good, failures: good.failures + 1 })
    }
  }

  /** The kernel has dropped an entry: what it said is believed until the next answer, if somebody still wants to know. */
  const forget = (key: string): void => {
    neighbours.delete(key)
    const isWanted = targets.some(target => key.endsWith(`/${target.address}`))
    if (!isWanted) lastGood.delete(key)
    resolved = new WeakMap()
  }

  const tables: KernelTables = {
    link: ifindex => links.get(ifindex),
    neighbour: key => {
      const text = neighbourKeyText(key)
      const good = lastGood.get(text)
      return options.probe && good && good.failures <= 1 ? good.neighbour : neighbours.get(text)
    },
  }

  const readAll = async (): Promise<void> => {
    const [allLinks, allNeighbours] = await Promise.all([netlink.links(), netlink.neighbours()])
    links.clear()
    for (const link of allLinks) links.set(link.ifindex, link)
    neighbours.clear()
    for (const neighbour of allNeighbours) setNeighbour(neighbour)
    resolved = new WeakMap()
  }

  const routeTo = async (address: string): Promise<Route> => {
    try {
      return await netlink.routeTo(shortAddressBytes(address))
    } catch (cause) {
      return { error: (cause as { code?: string }).code ?? String(cause) }
    }
  }

  const readRoutes = async (addresses: readonly string[]): Promise<void> => {
    await Promise.all(addresses.map(async address => routes.set(address, await routeTo(address))))
    resolved = new WeakMap()
  }

  /** What was found out of each target (by the object that asks) since the kernel's tables last changed. */
  let resolved = new WeakMap<Target, Resolution>()

  const resolve = (target: Target): Resolution =>
    resolveNextHop(tables, {
      ...target,
      route: routes.get(target.address) ?? { error: 'not looked up' },
      entry: options.entry([...links.values()]),
    })

  const get = (target: Target): Resolution => {
    const known = resolved.get(target)
    if (known) return known
    const now = resolve(target)
    resolved.set(target, now)
    return now
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
    if (!options.probe) return
    const asked = new Set<string>()
    for (const target of targets) {
      const resolution = get(target)
      const { neighbour } = resolution
      if (!neighbour || asked.has(neighbourKeyText(neighbour))) continue
      const known = neighbours.get(neighbourKeyText(neighbour))
      const isFailing = !known?.mac || known.state & NUD_FAILED
      if (which === 'unresolved' && 'nextHop' in resolution && !isFailing) continue
      asked.add(neighbourKeyText(neighbour))
      ask(neighbour)
    }
  }

  const pending = { links: false, routes: false, all: false, neighbours: false }

  const settle = async (): Promise<void> => {
    const { links: linksChanged, routes: routesChanged, all } = { ...pending }
    Object.assign(pending, { links: false, routes: false, all: false, neighbours: false })
    if (all) await readAll()
    if (routesChanged || linksChanged || all) await readRoutes([...routes.keys()])
    if (isClosed) return
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
        resolved = new WeakMap()
        pending.links = true
        break
      case 'address':
      case 'route':
        pending.routes = true
        break
      case 'neighbour':
        if (event.change === 'new') setNeighbour(event.neighbour)
        else forget(neighbourKey(event.neighbour))
        pending.neighbours = true
        break
      case 'overrun':
        pending.all = true
        break
    }
  }

  netlink.subscribe(events => {
    for (const event of events) onEvent(event)
    settleSoon()
  })
  await readAll()

  const retry = setInterval(() => askFor('unresolved'), RETRY_MS)
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
      const addresses = new Set(targets.map(({ address }) => address))
      for (const address of routes.keys()) if (!addresses.has(address)) routes.delete(address)
      const fresh = [...addresses].filter(address => !routes.has(address))
      if (fresh.length === 0) return
      await readRoutes(fresh)
      askFor('unresolved')
    },
    get,
    links: () => [...links.values()],
    close: () => {
      isClosed = true
      if (timer) clearTimeout(timer)
      clearInterval(retry)
      clearInterval(refresh)
      netlink.close()
    },
  }
}
