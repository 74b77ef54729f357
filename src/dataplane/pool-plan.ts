/**
 * Which numbers local addresses have, and which of them make a pool: connections are indexed by number and port. A pool's
 * numbers follow one another. An address keeps its number while that can be; those that are configured no more keep
 * theirs as long as connections may live there. Pure.
 */
import { addressBytes, addressFamily, addressText } from '../address.js'
import { BalancerError } from '../errors.js'
import type { PortRange } from '../model.js'
import { NO_LOCAL, PLACES_PER_NUMBER } from './load.js'

/** POOLS of bpf/pool_search.h: that of NAT by flow, then pairs, of IPv4 and of IPv6. */
export const NAT_POOL = 0
const FIRST_POOL = 1
const POOLS = 128
/** A pair that nobody fills: nothing is free there. */
export const NO_POOL = POOLS - 3
export const MAX_POOLS = (NO_POOL - FIRST_POOL) / 2
/** local_addresses of bpf/connection.h. */
const MAX_NUMBERED = 256

/** Connections from these addresses and ports. */
export interface PoolWish {
  readonly addresses: readonly string[]
  readonly ports: PortRange
}

export interface PlanWish {
  /** No address is in two of them. */
  readonly pools: readonly PoolWish[]
  /** Numbers for connections of NAT by flow. */
  readonly natNumbers: number
}

/** struct pool. */
export interface PoolRecord {
  readonly first: number
  readonly count: number
  readonly firstPort: number
  readonly ports: number
  readonly ranges: number
}

export interface PoolPlan {
  /** By number: null is nobody's, or NAT's by flow. */
  readonly numbers: readonly (string | null)[]
  /** By the data plane's index. */
  readonly pools: ReadonlyMap<number, PoolRecord>
  /** By any of its addresses: a pool's index of IPv4, IPv6's follows. */
  readonly indexes: ReadonlyMap<string, number>
}

export const noPools: PoolPlan = { numbers: [], pools: new Map(), indexes: new Map() }

/** Ports of a CPU's own range, at least. */
const MIN_RANGE_BITS = 4

const ofFamily = (addresses: readonly string[], family: 4 | 6): readonly string[] =>
  addresses.filter(address => addressFamily(address) === family)

/** By address, whatever is no longer a pool's too. */
export const numbersByAddress = ({ numbers }: PoolPlan): ReadonlyMap<string, number> =>
  new Map(numbers.flatMap((address, number) => (address === null ? [] : [[address, number] as const])))

/** Those that no pool has any more. */
export const retiredOf = ({ numbers, pools }: PoolPlan): readonly string[] =>
  numbers.flatMap((address, number) =>
    address !== null &&
    ![...pools.values()].some(({ first, count }) => number >= first && number < first + count)
      ? [address]
      : [],
  )

/** Whether the numbers that there are serve. */
const isServed = (before: PoolPlan, { pools, natNumbers }: PlanWish): boolean => {
  const nat = before.pools.get(NAT_POOL)
  if ((nat?.count ?? 0) !== natNumbers) return false
  const numbers = numbersByAddress(before)
  return pools.every(({ addresses }) =>
    ([4, 6] as const).every(family => {
      const own = ofFamily(addresses, family).map(address => numbers.get(address) ?? Number.NaN)
      return own.length === 0 || Math.max(...own) - Math.min(...own) === own.length - 1
    }),
  )
}

/** All pools one after the other, then what is left of the former ones, then NAT's. */
const numbered = (before: PoolPlan, { pools, natNumbers }: PlanWish): readonly (string | null)[] => {
  const wanted = pools.flatMap(({ addresses }) => [...ofFamily(addresses, 4), ...ofFamily(addresses, 6)])
  const there = new Set(wanted)
  const former = before.numbers.flatMap(address => (address === null || there.has(address) ? [] : [address]))
  // What has no room is given up, with its connections.
  return [...wanted, ...former]
    .slice(0, Math.max(wanted.length, MAX_NUMBERED))
    .concat(Array.from({ length: natNumbers }, () => null as unknown as string))
}

/**
 * @param before what there is
 * @param cpus   possible CPUs
 * @throws BalancerError `ERR_LIMIT`
 */
export const planPools = (before: PoolPlan, wish: PlanWish, cpus: number): PoolPlan => {
  if (wish.pools.length > MAX_POOLS)
    throw new BalancerError('ERR_LIMIT', `more than ${MAX_POOLS} pools of local addresses`)
  const serves = isServed(before, wish)
  const isUnused = wish.pools.length === 0 && wish.natNumbers === 0 && retiredOf(before).length === 0
  const numbers = serves && !(isUnused && before.pools.size === 0) ? before.numbers : numbered(before, wish)
  const byAddress = numbersByAddress({ ...noPools, numbers })
  const pools = new Map<number, PoolRecord>()
  const indexes = new Map<string, number>()
  const ranges = (ports: number): number => Math.min(cpus, Math.max(1, ports >> MIN_RANGE_BITS))
  wish.pools.forEach(({ addresses, ports: { first, last } }, i) => {
    const index = FIRST_POOL + 2 * i
    for (const address of addresses) indexes.set(address, index)
    for (const family of [4, 6] as const) {
      const own = ofFamily(addresses, family).map(address => byAddress.get(address)!)
      if (own.length === 0) continue
      const ports = last - first + 1
      pools.set(index + (family === 4 ? 0 : 1), {
        first: Math.min(...own),
        count: own.length,
        firstPort: first,
        ports,
        ranges: ranges(ports),
      })
    }
  })
  if (wish.natNumbers > 0)
    pools.set(NAT_POOL, {
      first: serves ? before.pools.get(NAT_POOL)!.first : numbers.length - wish.natNumbers,
      count: wish.natNumbers,
      firstPort: 0,
      ports: PLACES_PER_NUMBER,
      ranges: ranges(PLACES_PER_NUMBER),
    })
  return { numbers, pools, indexes }
}

/** Whether an entry lies where it lay. */
export const isSameNumbering = (a: PoolPlan, b: PoolPlan): boolean =>
  a.numbers.length === b.numbers.length &&
  a.numbers.every((address, number) => address === b.numbers[number]) &&
  a.pools.get(NAT_POOL)?.first === b.pools.get(NAT_POOL)?.first

export const isSamePlan = (a: PoolPlan, b: PoolPlan): boolean =>
  isSameNumbering(a, b) && JSON.stringify([...a.pools]) === JSON.stringify([...b.pools])

/** Where an entry of one plan lies in another: by number; -1: nowhere. */
export const numberMap = (from: PoolPlan, to: PoolPlan): Int32Array => {
  const byAddress = numbersByAddress(to)
  const map = Int32Array.from(from.numbers, address =>
    address === null ? -1 : (byAddress.get(address) ?? -1),
  )
  const [was, is] = [from.pools.get(NAT_POOL), to.pools.get(NAT_POOL)]
  for (let i = 0; was && is && i < Math.min(was.count, is.count); i++) map[was.first + i] = is.first + i
  return map
}

/** Words that the index has for each of its connections. */
const indexWords = (plan: PoolPlan): number =>
  [...plan.pools].reduce(
    (sum, [index, { count, ports }]) => sum + count * ports * (index === NAT_POOL ? 2 : 1),
    0,
  )

const MIN_INDEX_BITS = 4
const MAX_INDEX_BITS = 24
/** A bucket has twice as many: so full a connection's two buckets hardly ever are. */
const WORDS_PER_BUCKET = 4

/** log2 of the index's buckets. */
export const indexBitsFor = (plan: PoolPlan): number =>
  Math.min(
    MAX_INDEX_BITS,
    Math.max(MIN_INDEX_BITS, Math.ceil(Math.log2(indexWords(plan) / WORDS_PER_BUCKET || 1))),
  )

/** What a family's addresses have in common, as two halves in memory's order, and which bits that is. */
const commonOf = (
  addresses: readonly string[],
): { net: readonly bigint[]; mask: readonly bigint[] } | null => {
  const all = addresses.map(addressBytes)
  const [first] = all
  if (!first) return null
  const halves = (bytes: Uint8Array): bigint[] => [...new BigUint64Array(bytes.slice().buffer)]
  let length = 0
  const bit = (bytes: Uint8Array, i: number): number => (bytes[i >> 3]! >> (7 - (i % 8))) & 1
  while (length < 128 && all.every(bytes => bit(bytes, length) === bit(first, length))) length++
  const mask = Uint8Array.from({ length: 16 }, (_, i) => 0xff00 >> Math.min(8, Math.max(0, length - 8 * i)))
  return { net: halves(first.map((byte, i) => byte & mask[i]!)), mask: halves(mask) }
}

/** config.local_net and local_mask: nothing else is looked up. */
export const localOf = ({
  numbers,
}: PoolPlan): { localNet: readonly bigint[]; localMask: readonly bigint[] } => {
  const addresses = numbers.filter(address => address !== null)
  const common = ([4, 6] as const).map(family => commonOf(ofFamily(addresses, family)))
  return {
    localNet: common.flatMap((one, i) => one?.net ?? NO_LOCAL.localNet.slice(2 * i, 2 * i + 2)),
    localMask: common.flatMap((one, i) => one?.mask ?? NO_LOCAL.localMask.slice(2 * i, 2 * i + 2)),
  }
}

/** An address as it lies in the map of local addresses; null: nobody's. */
export const addressOf = (bytes: Uint8Array): string | null =>
  bytes.every(byte => byte === 0) ? null : addressText(bytes)
