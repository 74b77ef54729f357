/** What the data plane's tables hold, as the control process knows it; at first what an earlier process left there. */
import { addressText } from '../address.js'
import { type Service, type Snat, serviceIdentity } from '../model.js'
import { createIds, createRegions, type IdAllocator, type RegionAllocator } from './allocator.js'
import { type BackendStore, createBackendStore, type WantedBackend } from './backends.js'
import type { Dataplane } from './dataplane.js'
import { type EntryInterface, readInterfaces } from './entry-interfaces.js'
import { writeNatSources } from './nat-sources.js'
import type { PoolPlan, PoolWish } from './pool-plan.js'
import { readPools, readSnatPrefixes } from './pool-tables.js'
import { createReplies, createReplyTable, type Replies } from './replies.js'
import { protocolOf } from './service-rules.js'
import { createServiceTable, type ServiceEntry, type ServiceTable } from './service-table.js'
import { createRingSlots, type RingSlots, type SlotMemory, slotMemory } from './slots.js'
import { createVipEntries, isVipEntry, type VipEntries } from './vip-entries.js'

/** Far longer than a packet is in the program: an id, a bucket, a region freed is not used again before. */
export const GRACE_MS = 1000

export interface WantedService {
  readonly service: Service
  /** One that is no longer listed is gone: nobody goes back to it. One that is leaving is listed, but owns no slot. */
  readonly backends: readonly WantedBackend[]
  /** Per slot an index into `backends`, -1: nobody. */
  readonly owners: Int32Array
}

export interface HeldService {
  readonly id: number
  slots: RingSlots
  /** The entry in the service table. */
  entry: ServiceEntry | null
  /** null: an earlier process's, of which nothing was wanted yet. */
  wanted: WantedService | null
  /** The ids of its backends, in their order. */
  ids: readonly number[]
  /** The same; backends that are none of these are gone. */
  listed: ReadonlySet<number>
  /** Slots that the last put that changed the ring wrote, and all of them. */
  written: number
  writtenInAll: number
}

/** The pools of a configuration. */
export interface WantedPools {
  /** No address is in two of them. */
  readonly pools: readonly PoolWish[]
  /** Whose own connections are translated, and from which addresses: all of one pool; null: nobody's. */
  readonly snat: Pick<Snat, 'prefixes' | 'localAddresses'> | null
  /** Connections of NAT by flow, where there are such backends. */
  readonly natFlows: number
}

/** The parts that move to other memory when the data plane is loaded anew are replaced. */
export interface Held {
  readonly dataplane: Dataplane
  /** By serviceIdentity. */
  readonly services: Map<string, HeldService>
  readonly backends: BackendStore
  readonly serviceIds: IdAllocator
  readonly regions: RegionAllocator
  slots: SlotMemory
  table: ServiceTable
  readonly vips: VipEntries
  readonly replies: Replies
  pools: PoolPlan
  /** Whose own connections are translated: prefixes. */
  snat: readonly string[]
  /** null: not said yet; what an earlier process left goes on. */
  wantedPools: WantedPools | null
  interfaces: readonly EntryInterface[]
  /** It is about to move to another program's maps: slots are not to be written meanwhile. */
  isMoving: boolean
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

const newService = (id: number, slots: RingSlots, entry: ServiceEntry | null): HeldService => ({
  id,
  slots,
  entry,
  wanted: null,
  ids: [],
  listed: new Set(),
  written: 0,
  writtenInAll: 0,
})

/** A service that was not there, with an id of its own. @throws BalancerError `ERR_LIMIT` */
export const takeService = ({ dataplane, serviceIds }: Held, slots: RingSlots): HeldService => {
  const id = serviceIds.take()
  dataplane.counts.clearService(id)
  return newService(id, slots, null)
}

/** @param now milliseconds, monotonic */
export const openHeld = (dataplane: Dataplane, now: () => number): Held => {
  const { shape, serviceSeed } = dataplane
  const slots = slotMemory(dataplane.memory('slots'))
  const table = createServiceTable(dataplane.memory('services'), serviceSeed, GRACE_MS, now)
  const backends = createBackendStore(
    dataplane,
    GRACE_MS,
    now,
    () => dataplane.shape.tracking || dataplane.shape.numbers > 0,
  )
  const services = new Map<string, HeldService>()
  for (const entry of table.entries()) {
    if (isVipEntry(entry)) continue
    const { addr, port, protocol, id, ringBase, ringSize } = entry
    const identity = serviceIdentity({ vip: addressText(addr), port, protocol: protocolOf(protocol) })
    services.set(identity, newService(id, createRingSlots(slots, ringBase, ringSize, now), entry))
  }
  const found = [...services.values()]
  const held: Held = {
    dataplane,
    services,
    backends,
    serviceIds: createIds(0, shape.services, GRACE_MS, now, new Set(found.map(({ id }) => id))),
    regions: createRegions(
      shape.slots,
      GRACE_MS,
      now,
      found.map(({ slots: { base, size } }) => ({ base, size })),
    ),
    slots,
    table,
    vips: createVipEntries(table.entries(), () => held.table),
    pools: readPools(dataplane.memory('pools'), dataplane.memory('local_addresses'), shape.numbers),
    snat: readSnatPrefixes(dataplane.memory('snat_prefixes'), shape.snatPrefixes),
    wantedPools: null,
    replies: createReplies(
      createReplyTable(dataplane.memory('replies'), serviceSeed, GRACE_MS, now),
      new Map(
        found.map(({ id, entry }) => [id, entry ? backends.natOf(id, entry.protocol, entry) : []] as const),
      ),
      (id, byFlow) => backends.setByFlow(id, byFlow),
      sources => writeNatSources(dataplane.memory('nat_sources'), sources),
    ),
    interfaces: readInterfaces(dataplane.memory('interfaces')),
    isMoving: false,
    now,
  }
  keepVips(held)
  return held
}

/** A VIP without a service is the host's alone. */
export const keepVips = ({ services, vips }: Held): void =>
  vips.keepOnly(
    new Set([...services.values()].flatMap(({ entry }) => (entry ? addressText(entry.addr) : []))),
  )
