/** What does not fit loads a larger program (Dataplane.reshape), with the same things in its tables. */
import { BalancerError } from '../errors.js'
import { type Limits, serviceIdentity } from '../model.js'
import type { WantedBackend } from './backends.js'
import { cacheBits, type Dataplane, type MapName, type Shape } from './dataplane.js'
import { writeInterfaces } from './entry-interfaces.js'
import { GRACE_MS, type Held, type HeldService, type WantedPools, type WantedService } from './held.js'
import { slotLayout } from './layout.js'
import { isSameNumbering, isSamePlan } from './pool-plan.js'
import { writePools, writeSnatPrefixes } from './pool-tables.js'
import { createPooling, localAddressesOf, type PoolChange, poolShape } from './pooling.js'
import { createReplyTable } from './replies.js'
import { entryOf, movedEntry, writeAllTimes } from './service-entries.js'
import { isTracking } from './service-rules.js'
import { bucketsFor, createServiceTable } from './service-table.js'
import { createRingSlots, type RingSlots, slotMemory } from './slots.js'
import { createTurns } from './turns.js'

const MAX_BACKENDS = 2 ** slotLayout.SLOT_CURRENT_BITS
const MAX_RESEEDS = 8
const RETRY_MS = 60_000

/** A size of the flow cache in which flows that must be remembered have no room. */
export interface Refusal {
  readonly flows: number
  readonly reason: string
  /** It is not the one that was refused the last time. */
  readonly isNew: boolean
  /** After so long another `fit` tries it again; one of another size does at once. */
  readonly retryMs: number
}

export interface GrowthOptions {
  readonly onRefused?: (refusal: Refusal) => void
}

export interface Growth {
  /** Loads a program with room for more, or laid out by another seed, and moves over to it. @throws BalancerError `ERR_LIMIT` */
  reshape(change: Partial<Shape>, pools?: PoolChange): Promise<void>
  /** The pools of a configuration. @throws BalancerError `ERR_LIMIT` */
  setPools(wanted: WantedPools): Promise<void>
  /** For all that a put brings; ring slots are taken one ring at a time. @throws BalancerError `ERR_LIMIT` */
  makeRoom(wanted: readonly WantedService[]): Promise<void>
  /**
   * What the configuration allows, and has use for: tables grow, the flow cache gets the size that is wanted, what no
   * service needs is switched off. A flow cache that what must be remembered does not fit in stays, and is tried again.
   */
  fit(limits: Limits): Promise<void>
  /** A ring that nobody owns. @throws BalancerError `ERR_LIMIT` */
  freshSlots(size: number): Promise<RingSlots>
}

const POOL_MAPS = ['local_addresses', 'pools', 'snat_prefixes'] as const
const CONNECTION_MAPS = ['connections', 'connection_index'] as const

const double = (capacity: number, needed: number): number => {
  let next = capacity
  while (next < needed) next *= 2
  return next
}

export const createGrowth = (held: Held, { onRefused }: GrowthOptions = {}): Growth => {
  const { dataplane, services, backends, serviceIds, regions, now } = held
  const inTurn = createTurns()
  /** The size that the flow cache could not be given, and until when that is not tried again. */
  let refused: { readonly flows: number; readonly untilMs: number } | null = null
  /** The size that it is to have; where nothing is tracked it has none. */
  let { flows } = dataplane.shape

  /**
   * False: a service finds no room, and the next seed may do better. Else what is to be done when the program has been
   * moved over; until then nothing here is touched.
   */
  const fill = (next: Dataplane, { plan, snat }: PoolChange): false | (() => void) => {
    const table = createServiceTable(next.memory('services'), next.serviceSeed, GRACE_MS, now)
    const entries = new Map(
      [...services.values()].map(
        at =>
          [
            at,
            at.wanted ? entryOf(held, at, next.shape.seed, plan) : movedEntry(at, held.pools, plan),
          ] as const,
      ),
    )
    for (const entry of [...entries.values(), ...held.vips.all()])
      if (entry && !table.put(entry)) return false
    const replies = createReplyTable(next.memory('replies'), next.serviceSeed, GRACE_MS, now)
    const local = localAddressesOf(plan)
    if (!held.replies.fill(replies, local)) return false
    writePools(next.memory('pools'), next.memory('local_addresses'), plan)
    writeSnatPrefixes(next.memory('snat_prefixes'), snat)
    writeAllTimes(next.memory('connection_times'), held, next.shape.services)

    const before = dataplane.memory('slots')
    const after = next.memory('slots')
    if (after.byteLength !== before.byteLength) new BigUint64Array(after).set(new BigUint64Array(before))
    const records = new BigUint64Array(next.memory('backends'))
    if (next.shape.backends !== dataplane.shape.backends)
      records.set(new BigUint64Array(dataplane.memory('backends')))
    writeInterfaces(next.memory('interfaces'), held.interfaces)
    return () => {
      backends.moveTo(next.memory('backends'), next.shape.backends)
      held.slots = slotMemory(after)
      held.table = table
      held.replies.moveTo(replies, local)
      held.pools = plan
      held.snat = snat
      for (const [at, entry] of entries) {
        at.slots.moveTo(held.slots)
        at.entry = entry
      }
    }
  }

  /** What it was to be, while another change was under way: no table has become smaller meanwhile. */
  const shapeWith = (change: Partial<Shape>): Shape => {
    const { shape } = dataplane
    const larger = (key: 'services' | 'backends' | 'slots' | 'replies'): number =>
      Math.max(shape[key], change[key] ?? 0)
    return {
      ...shape,
      ...change,
      services: larger('services'),
      serviceBuckets: Math.max(shape.serviceBuckets, bucketsFor(larger('services'))),
      backends: larger('backends'),
      slots: larger('slots'),
      replies: larger('replies'),
    }
  }

  const moveTo = async (
    change: Partial<Shape>,
    pools: PoolChange = { plan: held.pools, snat: held.snat, snatPool: dataplane.shape.snatPool },
  ): Promise<void> => {
    const shape = shapeWith({ ...change, ...poolShape(pools) })
    const isSame = isSamePlan(pools.plan, held.pools) && pools.snat.join() === held.snat.join()
    const fresh: MapName[] = [
      ...(isSame ? [] : POOL_MAPS),
      ...(isSameNumbering(pools.plan, held.pools) ? [] : CONNECTION_MAPS),
    ]
    held.isMoving = true
    try {
      for (let attempt = 0; !(await dataplane.reshape(shape, next => fill(next, pools), fresh)); attempt++)
        if (attempt === MAX_RESEEDS)
          throw new BalancerError('ERR_LIMIT', `no room for ${services.size} services in the service table`)
    } finally {
      held.isMoving = false
    }
    serviceIds.grow(shape.services)
    regions.grow(shape.slots)
  }
  const reshape = (change: Partial<Shape>, pools?: PoolChange): Promise<void> =>
    inTurn(() => moveTo(change, pools))

  const pooling = createPooling(held, reshape)

  const takeRegion = async (size: number): Promise<number> => {
    const base = regions.take(size)
    if (base !== null) return base
    await reshape({ slots: double(dataplane.shape.slots, dataplane.shape.slots + size) })
    return takeRegion(size)
  }

  const isThere = (at: HeldService | undefined, { identity }: WantedBackend): boolean =>
    at !== undefined && backends.idOf(at.id, identity) !== undefined

  return {
    reshape,
    setPools: pooling.setPools,
    makeRoom: async wanted => {
      const fresh = wanted.filter(({ service }) => !services.has(serviceIdentity(service))).length
      const freshBackends = wanted.reduce((sum, { service, backends: all }) => {
        const at = services.get(serviceIdentity(service))
        return (
          sum +
          all.filter((backend, i) => backend !== at?.wanted?.backends[i] && !isThere(at, backend)).length
        )
      }, 0)
      const { shape } = dataplane
      const change: { -readonly [K in keyof Shape]?: Shape[K] } = {}
      if (!serviceIds.hasRoom(fresh)) change.services = double(shape.services, shape.services + fresh)
      if (!backends.hasRoom(freshBackends)) {
        change.backends = Math.min(MAX_BACKENDS, double(shape.backends, shape.backends + freshBackends))
        if (change.backends === shape.backends)
          throw new BalancerError('ERR_LIMIT', `more than ${MAX_BACKENDS - 1} backends in all`)
      }
      if (!shape.anyPort && wanted.some(({ service }) => service.port === 0)) change.anyPort = true
      if (!shape.tracking && wanted.some(({ service }) => isTracking(service))) {
        change.tracking = true
        change.flows = flows
      }
      await pooling.makeRoom(wanted, change)
    },
    fit: async limits => {
      const { shape } = dataplane
      const change: { -readonly [K in keyof Shape]?: Shape[K] } = {}
      for (const key of ['services', 'backends', 'slots'] as const)
        if (limits[key] > shape[key]) change[key] = limits[key]
      // Another build's may have been smaller.
      if (shape.serviceBuckets < bucketsFor(shape.services))
        change.serviceBuckets = bucketsFor(shape.services)
      if (shape.anyPort && ![...services.values()].some(({ entry }) => entry?.port === 0))
        change.anyPort = false
      if (shape.nat && !held.replies.hasNat()) change.nat = false
      await pooling.fit(change)

      flows = limits.flows
      if (!shape.tracking || cacheBits({ flows, tracking: true }) === cacheBits(shape)) {
        refused = null
        return
      }
      if (refused?.flows === flows && now() < refused.untilMs) return
      try {
        await reshape({ flows })
        refused = null
      } catch (error) {
        if (!(error instanceof BalancerError) || error.code !== 'ERR_LIMIT') throw error
        const isNew = refused?.flows !== flows
        refused = { flows, untilMs: now() + RETRY_MS }
        onRefused?.({ flows, reason: error.message, isNew, retryMs: RETRY_MS })
      }
    },
    freshSlots: async size => {
      const base = await takeRegion(size)
      for (let slot = 0; slot < size; slot++) held.slots.write(base + slot, 0)
      return createRingSlots(held.slots, base, size, now)
    },
  }
}
