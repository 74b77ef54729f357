/** The services as they run, and what is answered about them. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Order } from './admin.js'
import type { AdminProgress } from './admin-progress.js'
import type { BackendRow, ServiceRow } from './control/protocol.js'
import { type BackendCount, noCount, noTraffic } from './dataplane/counters.js'
import type { ServiceCounts, Tables } from './dataplane/tables.js'
import { identitiesOf, keyOf } from './identities.js'
import { type Backend, backendIdentity, forwardOf, isTranslated, type Service } from './model.js'
import type { NextHops } from './next-hops.js'
import { resolutionOf } from './reach.js'
import { ringDigest } from './ring.js'
import { claimsOf } from './rings.js'
import { backendRow, drainView, serviceRow } from './rows.js'
import type { Standing } from './standing.js'

/** What a service's tables were made of. */
export interface Running {
  readonly service: Service
  readonly standings: readonly Standing[]
  readonly takes: readonly boolean[]
  readonly owners: Int32Array
  /** How many slots each backend owns. */
  readonly slots: Int32Array
  readonly leaving: readonly { readonly backend: Backend; readonly standing: Standing }[]
  /** Made when it is first asked for. */
  digest: string | null
}

/** Made before the event loop turns: a millisecond. */
const ROWS_A_TURN = 250

/** Of a service that is not in the tables yet. */
const noCounts: ServiceCounts = {
  backends: new Map(),
  retired: noCount,
  unforwarded: noTraffic,
  slotsWritten: 0,
}

/** How long a backend may take to drain or leave; null: as long as it does. */
export const deadlineOf = (order: Order, service: Service): number | null => {
  if (order.state === 'leaving') return service.leaveDeadlineMs
  return order.state === 'draining' ? order.deadlineMs : null
}

export interface RunningRowsOptions {
  readonly tables: Pick<Tables, 'flows' | 'tracking' | 'count'>
  readonly nextHops: Pick<NextHops, 'get' | 'links'>
  readonly progress: AdminProgress
  /** @param key backendKey */
  readonly standing: (service: Service, backend: Backend, key: string) => Standing
  /** Whether requests go to a backend, and no replies come back. */
  readonly isSilent: (key: string) => boolean
  /** Names of those that packets are seen on. */
  readonly interfaces: () => readonly string[]
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

export interface RunningRows {
  service(one: Running, counts: ServiceCounts | undefined): Promise<ServiceRow>
  /** By its name; of two that have it, that of the configuration. */
  backend(one: Running, name: string): BackendRow | null
}

export const createRunningRows = (options: RunningRowsOptions): RunningRows => {
  const { tables, nextHops, progress, standing, now } = options

  /** A VLAN's packets enter by the interface below it. */
  const isSeen = (ifindex: number): boolean => {
    const links = nextHops.links()
    let link = links.find(one => one.ifindex === ifindex)
    for (let depth = 0; link && depth < links.length; depth++) {
      const { name, lower } = link
      if (options.interfaces().includes(name)) return true
      link = lower === null ? undefined : links.find(one => one.ifindex === lower)
    }
    return false
  }

  /** Why replies of a backend that is translated to cannot be what they should be. */
  const lackOf = (service: Service, backend: Backend, key: string, ifindex: number): string | null => {
    const { mode } = forwardOf(service, backend)
    if (!isTranslated(mode)) return null
    if (mode === 'nat' && ifindex !== 0 && !isSeen(ifindex)) {
      const name = nextHops.links().find(link => link.ifindex === ifindex)?.name ?? ifindex
      return `its replies are not seen: ${name}, by which they come, is none of \`interfaces\``
    }
    // UDP need not be answered.
    if (service.protocol !== 'tcp' || !options.isSilent(key)) return null
    return mode === 'nat'
      ? 'requests go out, no reply comes back: is this balancer the backend’s gateway?'
      : 'requests go out, no reply comes back: does the backend reach the local addresses?'
  }

  /** @param identity the backend's */
  const rowOf = (
    { service }: Running,
    backend: Backend,
    identity: string,
    slots: number,
    count: BackendCount,
  ): BackendRow => {
    const { service: own } = identitiesOf(service)
    const key = keyOf(own, identity)
    const order = progress.order(key)
    const resolution = resolutionOf(nextHops, service, backend)
    const ifindex = 'nextHop' in resolution ? resolution.nextHop.ifindex : 0
    return backendRow({
      service,
      backend,
      standing: standing(service, backend, key),
      state: order?.state ?? 'enabled',
      slots,
      count,
      resolution,
      interfaceName: nextHops.links().find(link => link.ifindex === ifindex)?.name ?? null,
      flows: tables.flows(own, identity),
      tracking: tables.tracking(own),
      lack: lackOf(service, backend, key, ifindex),
      drain: order ? drainView(order, progress.of(key), now(), deadlineOf(order, service), new Date()) : null,
    })
  }

  let made = 0

  const rowsOf = async (one: Running, counts: ServiceCounts): Promise<BackendRow[]> => {
    const { service, leaving } = one
    const all = [...service.backends, ...leaving.map(({ backend }) => backend)]
    const { backends: identities } = identitiesOf(service)
    const rows: BackendRow[] = []
    for (const [i, backend] of all.entries()) {
      if (++made % ROWS_A_TURN === 0) await nextTurn()
      const identity = identities[i] ?? backendIdentity(service, backend)
      rows.push(rowOf(one, backend, identity, one.slots[i] ?? 0, counts.backends.get(identity) ?? noCount))
    }
    return rows
  }

  const serviceRowOf = async (one: Running, counts: ServiceCounts = noCounts): Promise<ServiceRow> => {
    const { service: identity } = identitiesOf(one.service)
    const backends = await rowsOf(one, counts)
    if (one.digest === null) {
      one.digest = ringDigest(claimsOf(one.service), one.owners)
      await nextTurn()
    }
    return serviceRow(one.service, one.digest, counts, tables.tracking(identity), backends)
  }

  return {
    service: serviceRowOf,
    backend: (one, name) => {
      const { service, leaving, slots } = one
      const i = service.backends.findIndex(backend => backend.name === name)
      const backend = service.backends[i] ?? leaving.find(({ backend }) => backend.name === name)?.backend
      if (!backend) return null
      const identity = backendIdentity(service, backend)
      const count = tables.count(identitiesOf(service).service, identity)
      return rowOf(one, backend, identity, i < 0 ? 0 : slots[i]!, count)
    },
  }
}
