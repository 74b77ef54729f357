/** Pools of local addresses, and of NAT by flow, brought into effect: another plan of them takes another program. */
import { addressBytes } from '../address.js'
import { DEFAULT_NAT_FLOWS, serviceIdentity } from '../model.js'
import { loadNative } from '../native.js'
import type { Shape } from './dataplane.js'
import type { Held, WantedPools, WantedService } from './held.js'
import { PLACES_PER_NUMBER } from './load.js'
import { bucketsForEntries } from './open-table.js'
import {
  indexBitsFor,
  isSamePlan,
  localOf,
  NAT_POOL,
  noPools,
  numbersByAddress,
  type PoolPlan,
  planPools,
  retiredOf,
} from './pool-plan.js'
import { writePools, writeSnatPrefixes } from './pool-tables.js'
import type { NatBackend, NumberedAddress } from './replies.js'

/** Pools that a program is to have. */
export interface PoolChange {
  readonly plan: PoolPlan
  /** Prefixes whose own connections are translated, and the index of their pool. */
  readonly snat: readonly string[]
  readonly snatPool: number
}

/** What of the shape follows from pools. */
export const poolShape = ({ plan, snat, snatPool }: PoolChange) => ({
  numbers: plan.numbers.length,
  indexBits: indexBitsFor(plan),
  snatPrefixes: snat.length,
  snatPool,
  ...localOf(plan),
})

/** Local addresses as the replies have them. */
export const localAddressesOf = (plan: PoolPlan): NumberedAddress[] =>
  [...numbersByAddress(plan)].map(([address, number]) => ({ addr: addressBytes(address), number }))

export interface Pooling {
  /** @throws BalancerError `ERR_LIMIT` */
  setPools(wanted: WantedPools): Promise<void>
  /** For what a put brings. @param change what else the put needs */
  makeRoom(wanted: readonly WantedService[], change: Partial<Shape>): Promise<void>
  /** What nobody needs any more goes. */
  fit(change: Partial<Shape>): Promise<void>
}

export const planFor = (
  before: PoolPlan,
  { pools, snat, natFlows }: WantedPools,
  byFlow: boolean,
): PoolChange => {
  const natNumbers = byFlow ? Math.ceil(natFlows / PLACES_PER_NUMBER) : 0
  const plan = planPools(before, { pools, natNumbers }, loadNative().possibleCpus)
  const snatPool = snat?.localAddresses
    .map(address => plan.indexes.get(address))
    .find(one => one !== undefined)
  return { plan, snat: snat?.prefixes ?? [], snatPool: snatPool ?? 0 }
}

/** The shape with which no other program is needed for these. @param nat how many NAT backends there are to be */
export const shapeForPools = (wanted: WantedPools, nat: number): Partial<Shape> => {
  const change = planFor(noPools, wanted, false)
  return {
    ...poolShape(change),
    nat: nat > 0,
    replies: bucketsForEntries(nat + localAddressesOf(change.plan).length),
  }
}

/** Addresses that no pool has any more, and no live connection, are nobody's. @param live connections by number */
export const dropRetired = (held: Held, live: Uint32Array): void => {
  if (live.length !== held.pools.numbers.length) return
  const retired = new Set(retiredOf(held.pools))
  if (retired.size === 0) return
  const numbers = held.pools.numbers.map((address, number) =>
    address !== null && retired.has(address) && live[number] === 0 ? null : address,
  )
  if (numbers.every((address, number) => address === held.pools.numbers[number])) return
  held.pools = { ...held.pools, numbers }
  held.replies.setLocal(localAddressesOf(held.pools))
  const { dataplane } = held
  writePools(dataplane.memory('pools'), dataplane.memory('local_addresses'), held.pools)
}

/** @param reshape loads another program, with these pools */
export const createPooling = (
  held: Held,
  reshape: (change: Partial<Shape>, pools?: PoolChange) => Promise<void>,
): Pooling => {
  const { dataplane, services } = held

  /** null: nothing is said yet, and what an earlier process left goes on. */
  const changeWith = (byFlow: boolean): PoolChange | null => {
    const { wantedPools } = held
    if (wantedPools === null && !byFlow) return null
    return planFor(held.pools, wantedPools ?? { pools: [], snat: null, natFlows: DEFAULT_NAT_FLOWS }, byFlow)
  }

  const isOfShape = (change: PoolChange): boolean => {
    const { shape } = dataplane
    return Object.entries(poolShape(change)).every(
      ([key, value]) => String(shape[key as keyof Shape]) === String(value),
    )
  }
  const isInEffect = (change: PoolChange): boolean =>
    isSamePlan(change.plan, held.pools) && change.snat.join() === held.snat.join() && isOfShape(change)

  /** Nothing is there yet that a packet could meet: the maps that there are serve, if they have the size. */
  const fillEmpty = (change: PoolChange): boolean => {
    const isEmpty = held.pools.pools.size === 0 && held.pools.numbers.every(address => address === null)
    if (!isEmpty || !isOfShape(change)) return false
    writePools(dataplane.memory('pools'), dataplane.memory('local_addresses'), change.plan)
    writeSnatPrefixes(dataplane.memory('snat_prefixes'), change.snat)
    Object.assign(held, { pools: change.plan, snat: change.snat })
    return held.replies.setLocal(localAddressesOf(change.plan))
  }

  /** @param fresh NAT backends that come */
  const bring = async (change: PoolChange | null, other: Partial<Shape>, fresh: number): Promise<void> => {
    const locals = localAddressesOf(change?.plan ?? held.pools).length
    const replies = bucketsForEntries(held.replies.nats() + fresh + locals)
    const more = replies > dataplane.shape.replies ? { ...other, replies } : other
    const isMore = Object.keys(more).length > 0
    if (change !== null && !isInEffect(change)) {
      if (isMore || !fillEmpty(change)) await reshape(more, change)
    } else if (isMore) await reshape(more)
  }

  /** By service: the NAT backends that it is to have. */
  const natAfter = (wanted: readonly WantedService[]): ReadonlyMap<number | string, readonly NatBackend[]> =>
    new Map(
      wanted.map(({ service, backends }) => [
        services.get(serviceIdentity(service))?.id ?? serviceIdentity(service),
        backends.flatMap(({ translated, address, port }, id) =>
          translated?.mode === 'nat'
            ? [{ id, backend: { addr: addressBytes(address), port }, ...translated }]
            : [],
        ),
      ]),
    )

  const hasNatPool = (): boolean => held.pools.pools.has(NAT_POOL)

  return {
    setPools: async wanted => {
      held.wantedPools = wanted
      await bring(changeWith(hasNatPool()), {}, 0)
    },
    makeRoom: async (wanted, change) => {
      const fresh = wanted.reduce((sum, { service, backends }) => {
        const before = services.get(serviceIdentity(service))?.wanted?.backends
        return sum + backends.filter((one, i) => one.translated?.mode === 'nat' && one !== before?.[i]).length
      }, 0)
      const needsFlows = fresh > 0 && !hasNatPool() && held.replies.wouldBeByFlow(natAfter(wanted))
      const more = fresh > 0 && !dataplane.shape.nat ? { ...change, nat: true } : change
      await bring(needsFlows ? changeWith(true) : null, more, fresh)
    },
    fit: async change => {
      await bring(changeWith(held.replies.hasByFlow()), change, 0)
    },
  }
}
