/** The services as they run, and what is answered about them. */
import type { Order } from './admin.js'
import type { AdminProgress } from './admin-progress.js'
import type { BackendRow, ServiceRow } from './control/protocol.js'
import { type BackendCount, noCount, noTraffic } from './dataplane/counters.js'
import type { ServiceCounts, Tables } from './dataplane/tables.js'
import { backendKey } from './identities.js'
import { type Backend, backendIdentity, type Service, serviceIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
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
  readonly standingNow: (service: Service, backend: Backend) => Standing
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

export interface RunningRows {
  service(one: Running, counts: ServiceCounts | undefined): ServiceRow
  /** By its name; of two that have it, that of the configuration. */
  backend(one: Running, name: string): BackendRow | null
}

export const createRunningRows = (options: RunningRowsOptions): RunningRows => {
  const { tables, nextHops, progress, standingNow, now } = options

  const rowOf = ({ service }: Running, backend: Backend, slots: number, count: BackendCount): BackendRow => {
    const key = backendKey(service, backend)
    const identity = serviceIdentity(service)
    const order = progress.order(key)
    const resolution = nextHops.get(backend)
    const ifindex = 'nextHop' in resolution ? resolution.nextHop.ifindex : 0
    const deadlineMs = order === undefined ? null : deadlineOf(order, service)
    return backendRow({
      service,
      backend,
      standing: standingNow(service, backend),
      state: order?.state ?? 'enabled',
      slots,
      count,
      resolution,
      interfaceName: nextHops.links().find(link => link.ifindex === ifindex)?.name ?? null,
      flows: tables.flows(identity, backendIdentity(service, backend)),
      tracking: tables.tracking(identity),
      drain: drainView(order, progress.of(key), now(), deadlineMs, new Date()),
    })
  }

  const rowsOf = (one: Running, countOf: (identity: string) => BackendCount): BackendRow[] => {
    const { service, leaving } = one
    const count = (backend: Backend): BackendCount => countOf(backendIdentity(service, backend))
    return [
      ...service.backends.map((backend, i) => rowOf(one, backend, one.slots[i]!, count(backend))),
      ...leaving.map(({ backend }) => rowOf(one, backend, 0, count(backend))),
    ]
  }

  const serviceRowOf = (one: Running, counts: ServiceCounts = noCounts): ServiceRow => {
    const identity = serviceIdentity(one.service)
    const backends = rowsOf(one, backend => counts.backends.get(backend) ?? noCount)
    one.digest ??= ringDigest(claimsOf(one.service), one.owners)
    return serviceRow(one.service, one.digest, counts, tables.tracking(identity), backends)
  }

  return {
    service: serviceRowOf,
    backend: (one, name) => {
      const { service, leaving, slots } = one
      const i = service.backends.findIndex(backend => backend.name === name)
      const backend = service.backends[i] ?? leaving.find(({ backend }) => backend.name === name)?.backend
      if (!backend) return null
      const count = tables.count(serviceIdentity(service), backendIdentity(service, backend))
      return rowOf(one, backend, i < 0 ? 0 : slots[i]!, count)
    },
  }
}
