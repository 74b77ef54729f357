/**
 * The tables of the ways back to clients, followed as the kernel's routes, rules, links and neighbours change. Only
 * where somebody needs them are the kernel's routes read at all.
 */
import { addressText } from './address.js'
import {
  clientRoutesOf,
  clientRouteText,
  type Family,
  gatewaysOf,
  MAX_ROUTES,
  type RouteTables,
} from './client-routes.js'
import type { ClientRoute } from './dataplane/tables.js'
import type { Clock } from './health/clock.js'
import type { Log } from './log.js'
import type { Netlink, NetlinkRoute } from './native.js'
import { type NeighbourKey, type Resolution, resolveNextHop } from './next-hop.js'
import { createKeptNextHops, KEEP_MS } from './next-hop-kept.js'
import type { FollowedNextHops } from './next-hops.js'

const FAMILIES: readonly Family[] = [4, 6]
/** The kernel's routes are read again after so many times what the last time took. */
const REST_FACTOR = 10
/** What failed is tried again after so long. */
const RETRY_MS = 1_000
/** The first table waits so long at most for the gateways to answer, and looks so often. */
const ANSWERS_MS = 1_000
const LOOK_MS = 20

export interface ClientRoutesOptions {
  readonly netlink: Pick<Netlink, 'routes' | 'rules'>
  readonly nextHops: Pick<FollowedNextHops, 'accompany' | 'askFor' | 'isUp' | 'tables'>
  /** Brings a family's table into effect; one that is there already costs nothing. */
  readonly put: (family: Family, routes: readonly ClientRoute[]) => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

export interface FollowedClientRoutes {
  /** Whether anybody needs them; resolves when they are in effect, or could not be brought there yet. */
  use(isUsed: boolean): Promise<void>
  /** As they are wanted. */
  tables(): ReadonlyMap<Family, readonly ClientRoute[]>
  close(): void
}

export const createClientRoutes = (options: ClientRoutesOptions): FollowedClientRoutes => {
  const { netlink, nextHops, put, clock, log } = options
  let isUsed = false
  let isClosed = false
  let kernel: RouteTables = { routes: [], rules: [] }
  let gateways: readonly NeighbourKey[] = []
  let wanted: ReadonlyMap<Family, readonly ClientRoute[]> = new Map()
  /** Routes are not read again before. */
  let restsUntil = 0
  const pending = { routes: false, ways: false }

  const delay = (ms: number): Promise<void> => new Promise(resolve => clock.after(ms, resolve))
  const isOver = (): boolean => isClosed || !isUsed

  const kept = createKeptNextHops(clock.now, nextHops.isUp, () => clock.after(KEEP_MS, () => reconsider()))
  let seen = new Set<string>()
  let isUnanswered = false
  const resolve = (key: string, route: NetlinkRoute): Resolution => {
    const address = addressText(route.destination)
    const found = resolveNextHop(nextHops.tables, {
      address,
      mac: null,
      isRouted: true,
      route,
      entry: undefined,
    })
    seen.add(key)
    if ('reason' in found && found.isAsked) isUnanswered = true
    return kept.of(key, found)
  }

  const look = (): void => {
    seen = new Set()
    isUnanswered = false
    const before = wanted
    wanted = new Map(FAMILIES.map(family => [family, clientRoutesOf(family, kernel, resolve)]))
    kept.only(seen)
    for (const family of FAMILIES) {
      const routes = wanted.get(family)!.map(clientRouteText)
      if (routes.join() !== (before.get(family) ?? []).map(clientRouteText).join())
        log.debug({ event: 'client-routes.changed', family, routes }, 'the ways back to clients have changed')
    }
  }

  const read = async (): Promise<void> => {
    if (clock.now() < restsUntil) await delay(restsUntil - clock.now())
    if (isOver()) return
    pending.routes = false
    const began = clock.now()
    const [routes, rules] = await Promise.all([netlink.routes(MAX_ROUTES + 1), netlink.rules()])
    restsUntil = clock.now() + REST_FACTOR * (clock.now() - began)
    kernel = { routes, rules }
    gateways = gatewaysOf(kernel)
    nextHops.askFor()
  }

  const work = async (): Promise<void> => {
    while ((pending.routes || pending.ways) && !isOver()) {
      const isFirst = wanted.size === 0
      if (pending.routes) await read()
      pending.ways = false
      if (isOver()) return
      look()
      // What an earlier process has put goes on meanwhile; fresh memory asks the kernel.
      for (let waited = 0; isFirst && isUnanswered && waited < ANSWERS_MS && !isOver(); waited += LOOK_MS) {
        await delay(LOOK_MS)
        look()
      }
      for (const [family, routes] of wanted) await put(family, routes)
    }
  }

  let working: Promise<void> | null = null
  const settle = (): Promise<void> => {
    working ??= work().then(
      () => {
        working = null
        // What came while the last step ended.
        return (pending.routes || pending.ways) && !isOver() ? settle() : undefined
      },
      (error: unknown) => {
        working = null
        if (isOver()) return
        log.error(
          { event: 'client-routes.failed', error: String(error) },
          'the ways back to clients are not known',
        )
        pending.ways = true
        clock.after(RETRY_MS, () => void settle())
      },
    )
    return working
  }

  const reconsider = (): void => {
    pending.ways = true
    void settle()
  }

  nextHops.accompany({
    changed: ({ routes }) => {
      if (!isUsed) return
      pending.routes ||= routes
      reconsider()
    },
    neighbours: () => gateways,
  })

  return {
    use: async wantsThem => {
      if (wantsThem === isUsed) return
      isUsed = wantsThem
      wanted = new Map()
      gateways = []
      pending.routes = isUsed
      await settle()
    },
    tables: () => wanted,
    close: () => {
      isClosed = true
    },
  }
}
