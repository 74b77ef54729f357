/**
 * What the data plane should have, brought into its tables: a service at a time (putting.ts); what does not fit loads a
 * larger program (growth.ts), and slots that are tracked move on as time passes (tracking.ts).
 */
import type { Limits } from '../model.js'
import type { ClientRoute } from './client-routes-table.js'
import { addCounts, type BackendCount, noCount, noTraffic, type Traffic } from './counters.js'
import type { Dataplane } from './dataplane.js'
import { type EntryInterface, widthFor, writeInterfaces } from './entry-interfaces.js'
import { createGrowth, type GrowthOptions } from './growth.js'
import { keepVips, openHeld, type WantedPools, type WantedService } from './held.js'
import { backendFlags } from './layout.js'
import { formerRow } from './load.js'
import { createPutting, type PuttingOptions } from './putting.js'
import { createTracking, type Tracking, type TrackingOptions } from './tracking.js'

export type { NextHop, WantedBackend } from './backends.js'
export type { ClientRoute } from './client-routes-table.js'
export type { EntryInterface } from './entry-interfaces.js'
export type { WantedPools, WantedService } from './held.js'
export type { LiveFlows, TrackingState } from './tracking.js'

export interface ServiceCounts {
  readonly backends: ReadonlyMap<string, BackendCount>
  /** Of backends that are gone. */
  readonly retired: BackendCount
  /** Packets of the service that were not forwarded: answered, dropped, left to the host. */
  readonly unforwarded: Traffic
  /** Ring slots that puts have written. */
  readonly slotsWritten: number
}

/** A pool's addresses and ports, and what was made of them. */
export interface PoolState {
  /** NAT's by flow have none. */
  readonly addresses: readonly string[]
  /** Of all addresses together. */
  readonly ports: number
  /** Live connections, by the last sweep. */
  readonly used: number
  readonly opened: bigint
  /** In the entries of the same clients' former ones. */
  readonly reopened: bigint
  /** For want of a free port. */
  readonly refused: bigint
}

export interface Tables extends Omit<Tracking, 'connectionsByNumber'> {
  /** NAT's by flow first. */
  pools(): readonly PoolState[]
  /**
   * Adds or changes services; an `owners` that is the very array of the last time is not looked at. Resolves when every
   * changed slot is in place.
   *
   * @returns how many slots were written
   * @throws BalancerError `ERR_LIMIT`
   */
  put(wanted: readonly WantedService[]): Promise<number>
  remove(identities: readonly string[]): void
  /** What is there: also what an adopted data plane held. */
  identities(): readonly string[]
  setInterfaces(wanted: readonly EntryInterface[]): Promise<void>
  /** How replies to clients leave: ClientRoutesTable.set. @throws BalancerError `ERR_LIMIT` */
  setClientRoutes(family: 4 | 6, routes: readonly ClientRoute[]): Promise<void>
  /** Pools of local addresses, SNAT, and the size of NAT's by flow: before services that use them. @throws BalancerError `ERR_LIMIT` */
  setPools(wanted: WantedPools): Promise<void>
  /** Growth.fit, once the program is attached. @throws BalancerError `ERR_LIMIT` */
  fit(limits: Limits): Promise<void>
  /** Another key for the flow hash: every flow may change its slot. */
  setSeed(seed: string): Promise<void>
  /** Whether a backend gets packets of its old flows; null: it is not there. */
  isDead(service: string, backend: string): boolean | null
  /** What names an id in a trace. */
  serviceOf(id: number): string | null
  backendOf(id: number): { readonly service: string; readonly identity: string } | null
  /** One backend's, by its service's identity and its own. */
  count(service: string, backend: string): BackendCount
  /** By service identity, then backend identity. */
  counts(): Promise<ReadonlyMap<string, ServiceCounts>>
}

export interface TablesOptions extends TrackingOptions, PuttingOptions, GrowthOptions {
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

export const createTables = (dataplane: Dataplane, options: TablesOptions): Tables => {
  const held = openHeld(dataplane, options.now)
  const { services, backends, serviceIds, regions } = held
  const growth = createGrowth(held, options)
  const { reshape, makeRoom, fit } = growth

  const putOne = createPutting(held, growth, options)

  const removeOne = (identity: string): void => {
    const at = services.get(identity)
    if (!at) return
    if (at.entry) held.table.remove(at.entry)
    held.replies.setNat(at.id, [])
    for (const id of [...backends.ofService(at.id).values()]) {
      backends.markDead(id)
      backends.retire(id)
    }
    backends.forgetService(at.id)
    regions.free(at.slots.base, at.slots.size)
    serviceIds.free(at.id)
    services.delete(identity)
  }

  const limitCounts = (): void =>
    dataplane.counts.limit({ backends: backends.bound(), services: serviceIds.bound() })
  limitCounts()

  const serviceOf = (id: number): string | null => [...services].find(([, at]) => at.id === id)?.[0] ?? null

  const { connectionsByNumber, ...tracking } = createTracking(held, options)

  return {
    ...tracking,
    pools: () => {
      const live = connectionsByNumber()
      return [...held.pools.pools]
        .sort(([a], [b]) => a - b)
        .map(([index, { first, count, ports }]) => ({
          addresses: held.pools.numbers.slice(first, first + count).flatMap(address => address ?? []),
          ports: count * ports,
          used: live.slice(first, first + count).reduce((sum, one) => sum + one, 0),
          ...dataplane.counts.pool(index),
        }))
    },
    put: async wanted => {
      let written = 0
      try {
        await makeRoom(wanted)
        for (const one of wanted) written += await putOne(one)
      } finally {
        limitCounts()
      }
      return written
    },
    remove: identities => {
      if (identities.length === 0) return
      identities.forEach(removeOne)
      keepVips(held)
    },
    identities: () => [...services.keys()],
    setInterfaces: async wanted => {
      held.interfaces = wanted
      const width = widthFor(wanted, dataplane.shape.interfaces)
      if (width !== dataplane.shape.interfaces) await reshape({ interfaces: width })
      else writeInterfaces(dataplane.memory('interfaces'), wanted)
    },
    setPools: growth.setPools,
    setClientRoutes: (family, routes) => dataplane.setClientRoutes(family, routes),
    fit,
    setSeed: async wanted => {
      if (wanted !== dataplane.shape.seed) await reshape({ seed: wanted })
    },
    isDead: (service, backend) => {
      const at = services.get(service)
      const id = at && backends.idOf(at.id, backend)
      return id === undefined ? null : (backends.flags(id) & backendFlags.BACKEND_DEAD) !== 0
    },
    serviceOf,
    backendOf: id => {
      const owner = backends.owner(id)
      const service = owner && serviceOf(owner.service)
      return owner && service ? { service, identity: owner.identity } : null
    },
    count: (service, backend) => {
      const at = services.get(service)
      const id = at && backends.idOf(at.id, backend)
      return id === undefined ? noCount : dataplane.counts.backend(id)
    },
    counts: async () => {
      // The rows are those of the program that runs now.
      const { shape } = dataplane
      const [rows, unforwarded] = await Promise.all([
        dataplane.counts.backends(),
        dataplane.counts.services(),
      ])
      const row = (id: number): BackendCount => rows.get(id) ?? noCount
      return new Map(
        [...services].map(([name, at]) => [
          name,
          {
            backends: new Map([...backends.ofService(at.id)].map(([identity, id]) => [identity, row(id)])),
            retired: [formerRow(shape, at.id), ...backends.dyingOf(at.id)]
              .map(row)
              .reduce(addCounts, noCount),
            unforwarded: unforwarded.get(at.id) ?? noTraffic,
            slotsWritten: at.writtenInAll,
          },
        ]),
      )
    },
  }
}
