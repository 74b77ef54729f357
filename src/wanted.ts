/** What is wanted of the balancer: the configuration, and what was asked beyond it at run time. Pure values. */
import type { Order } from './admin.js'
import { defaultBackendName } from './config/rules.js'
import { differing } from './differing.js'
import { backendKey, identitiesOf } from './identities.js'
import { type Backend, type Config, forwardOf, type Service } from './model.js'

/** A backend that is out of the configuration, and stays until its flows have gone. */
export interface Leaving {
  /** Its service's identity. */
  readonly service: string
  readonly backend: Backend
  readonly sinceMs: number
}

/** A configuration that came over the socket and is not the daemon's own file. */
export interface AppliedText {
  readonly text: string
  /** Of the daemon's own file at that time: once that is edited, it counts again. */
  readonly fileDigest: string
}

export interface Wanted {
  /** As it was applied last; what differs in `config` was changed at run time. */
  readonly base: Config
  readonly config: Config
  /** null: `base` is the daemon's own file. */
  readonly applied: AppliedText | null
  /** Draining and disabled backends, by backendKey. */
  readonly orders: ReadonlyMap<string, Order>
  /** By backendKey. */
  readonly leaving: ReadonlyMap<string, Leaving>
}

/** Only what a configuration says. */
export const wantedBy = (config: Config): Wanted => ({
  base: config,
  config,
  applied: null,
  orders: new Map(),
  leaving: new Map(),
})

/**
 * Another configuration. Backends that it lacks are leaving from here on, those that it has again are not any more; a
 * service that it lacks is gone with all of its backends.
 *
 * @param mayStay whether a backend that is taken out may have flows left
 */
export const withConfig = (
  wanted: Wanted,
  config: Config,
  nowMs: number,
  mayStay: (key: string) => boolean,
): Wanted => {
  const orders = new Map(wanted.orders)
  const leaving = new Map(wanted.leaving)
  const after = new Map(config.services.map(service => [identitiesOf(service).service, service]))
  for (const before of wanted.config.services) {
    const { service } = identitiesOf(before)
    const now = after.get(service)
    if (now === before) continue
    const { before: were, after: are } = differing(before.backends, now?.backends ?? [])
    const kept = new Set(are.map(backend => backendKey(before, backend)))
    for (const key of kept) leaving.delete(key)
    for (const backend of were) {
      const key = backendKey(before, backend)
      if (kept.has(key)) continue
      // Untracked slots go to others with all of their flows, unless these are connections: none is left to wait for.
      const isRemembered = now?.tracking !== 'never' || forwardOf(before, backend).mode === 'fullnat'
      if (now && isRemembered && mayStay(key)) leaving.set(key, { service, backend, sinceMs: nowMs })
      orders.delete(key)
    }
  }
  for (const [key, { service }] of leaving) if (!after.has(service)) leaving.delete(key)
  return { ...wanted, config, orders, leaving }
}

/** @param order null: none any more */
export const withOrder = (wanted: Wanted, key: string, order: Order | null): Wanted => {
  const orders = new Map(wanted.orders)
  if (order) orders.set(key, order)
  else orders.delete(key)
  return { ...wanted, orders }
}

export const withoutLeaving = (wanted: Wanted, keys: Iterable<string>): Wanted => {
  const leaving = new Map(wanted.leaving)
  for (const key of keys) leaving.delete(key)
  return { ...wanted, leaving }
}

/** Those of one service. */
export const leavingOf = (wanted: Wanted, service: string): Backend[] =>
  [...wanted.leaving.values()].flatMap(one => (one.service === service ? [one.backend] : []))

/** A backend of which only the address is known; its next hop is looked up. */
export const strayBackend = (service: Pick<Service, 'port'>, identity: string): Backend => {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(identity) ?? []
  const address = bracketed ?? plain ?? identity
  const own = Number(port) === service.port ? null : Number(port)
  return { name: defaultBackendName(address, own), address, port: own, weight: 1, mac: null }
}
