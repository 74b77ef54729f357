/**
 * What the data plane should have, brought into its tables with the fewest stores. Orders: a backend's entry and its flags
 * before the slots that name it, a ring before the service that names it; what goes is left in place until no packet can
 * be holding it. What does not fit loads a larger program (growth.ts).
 */
import { type Limits, type Service, serviceIdentity } from '../model.js'
import { addCounts, type BackendCount, noCount, noTraffic, type Traffic } from './counters.js'
import type { Dataplane } from './dataplane.js'
import { type EntryInterface, widthFor, writeInterfaces } from './entry-interfaces.js'
import { unitsOf } from './flow-clock.js'
import { createGrowth } from './growth.js'
import { type HeldService, openHeld, takeService, type WantedService } from './held.js'
import { backendFlags } from './layout.js'
import { formerRow } from './load.js'
import { breakingEntry, idleMs, serviceEntryOf } from './service-rules.js'
import type { OwnerRules } from './slot.js'
import { createTracking, type Tracking, type TrackingOptions } from './tracking.js'

export type { NextHop, WantedBackend } from './backends.js'
export type { EntryInterface } from './entry-interfaces.js'
export type { WantedService } from './held.js'
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

export interface Tables extends Tracking {
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
  /** Growth.fit, once the program is attached. @throws BalancerError `ERR_LIMIT` */
  fit(limits: Limits): Promise<void>
  /** Another key for the flow hash: every flow may change its slot. */
  setSeed(seed: string): Promise<void>
  /** What names an id in a trace. */
  serviceOf(id: number): string | null
  backendOf(id: number): { readonly service: string; readonly identity: string } | null
  /** One backend's, by its service's identity and its own. */
  count(service: string, backend: string): BackendCount
  /** By service identity, then backend identity. */
  counts(): Promise<ReadonlyMap<string, ServiceCounts>>
}

export interface TablesOptions extends TrackingOptions {
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** A change has written ring slots of a service: how many. */
  readonly onSlotsWritten?: (count: number) => void
  /** What an earlier process left is changed so that every flow of a service may meet another backend: its name, and why. */
  readonly onBroken?: (service: string, reason: string) => void
}

const REFUSING = backendFlags.BACKEND_DEAD | backendFlags.BACKEND_NO_NEW

export const createTables = (dataplane: Dataplane, options: TablesOptions): Tables => {
  const held = openHeld(dataplane, options.now)
  const { services, backends, serviceIds, regions } = held
  const { reshape, makeRoom, freshSlots, fit } = createGrowth(held)

  const rulesOf = (service: Service, listed: ReadonlySet<number>): OwnerRules => ({
    tracking: service.tracking,
    takesNew: id => (backends.flags(id) & REFUSING) === 0,
    isGone: id => !listed.has(id),
  })

  /** Most changes leave most backends as they were: the very same objects. @returns their ids */
  const writeBackends = (at: HeldService, { service, backends: wanted }: WantedService): number[] => {
    const idle = unitsOf(idleMs(service))
    const before = at.wanted && idleMs(at.wanted.service) === idleMs(service) ? at.wanted.backends : []
    const { ids } = at
    at.ids = [] // a put that fails has written some of them
    return wanted.map((backend, i) =>
      backend === before[i] && i < ids.length ? ids[i]! : backends.write(at.id, backend, idle),
    )
  }

  const putOne = async (wanted: WantedService): Promise<number> => {
    const { service, owners } = wanted
    const name = serviceIdentity(service)
    const size = owners.length
    const at = services.get(name) ?? takeService(held, await freshSlots(size))
    const former = at.slots
    const isResized = former.size !== size
    if (isResized) at.slots = await freshSlots(size)

    const ids = writeBackends(at, wanted)
    const present = backends.ofService(at.id)
    const listed =
      ids.length === at.listed.size && ids.every(id => at.listed.has(id)) ? at.listed : new Set(ids)
    const gone = present.size === ids.length ? [] : [...present.values()].filter(id => !listed.has(id))
    for (const id of gone) backends.markDead(id)

    const isSameRing =
      at.wanted?.owners === owners &&
      at.wanted.service.tracking === service.tracking &&
      gone.length === 0 &&
      !isResized
    const written = isSameRing ? 0 : at.slots.setOwners(owners, ids, rulesOf(service, listed))
    if (written > 0) {
      at.written = written
      at.writtenInAll += written
      options.onSlotsWritten?.(written)
    }
    const found = at.wanted ? null : at.entry
    Object.assign(at, { wanted, ids, listed })
    at.entry = serviceEntryOf(service, at, held.seed)
    const broken = found && breakingEntry(found, at.entry)
    if (broken) options.onBroken?.(service.name, broken)
    services.set(name, at)
    if (!held.table.put(at.entry)) await reshape({})
    for (const id of gone) backends.retire(id)
    if (isResized) regions.free(former.base, former.size)
    return written
  }

  const removeOne = (identity: string): void => {
    const at = services.get(identity)
    if (!at) return
    if (at.entry) held.table.remove(at.entry)
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

  return {
    ...createTracking(held, options),
    put: async wanted => {
      await makeRoom(wanted)
      let written = 0
      for (const one of wanted) written += await putOne(one)
      limitCounts()
      return written
    },
    remove: identities => identities.forEach(removeOne),
    identities: () => [...services.keys()],
    setInterfaces: async wanted => {
      held.interfaces = wanted
      const width = widthFor(wanted, dataplane.shape.interfaces)
      if (width !== dataplane.shape.interfaces) await reshape({ interfaces: width })
      else writeInterfaces(dataplane.memory('interfaces'), wanted)
    },
    fit,
    setSeed: async wanted => {
      if (wanted === held.seed) return
      held.seed = wanted
      await reshape({ seed: wanted })
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
            retired: [formerRow(dataplane.shape, at.id), ...backends.dyingOf(at.id)]
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
