/**
 * The ring of a service: which backend owns each slot. A pure function of the configured backends, their weights, the
 * ring's size and who is down; the order in which they are listed has no effect, so every node builds the same.
 *
 * Two stages. The full ring is filled over all configured backends. Then the slots of those that are down go to the
 * survivors, who go on in their own preference lists: no survivor ever leaves a slot that it has in the full ring,
 * and a backend that comes back finds exactly its own.
 */
import { createHash } from 'node:crypto'
import { BalancerError } from './errors.js'
import { emptyFill, type Fill, fillFreeSlots, withoutDown } from './ring/fill.js'
import { byIdentity, type Identity, identityOf, permutation } from './ring/permutation.js'
import { apportion } from './ring/quotas.js'
import { isRingSize, MAX_RING_SIZE, MIN_RING_SIZE } from './ring/size.js'

export { permutation } from './ring/permutation.js'
export { DEFAULT_RING_SIZE, isPrime, isRingSize, MAX_RING_SIZE, MIN_RING_SIZE } from './ring/size.js'

/** A configured backend's claim on a ring. */
export interface Claim {
  /** "10.0.0.11:80" or "[2001:db8::1]:80", as `backendIdentity` makes it. Distinct within a ring. */
  readonly identity: string
  /** 0..1000. Weight 0 counts as down. */
  readonly weight: number
  /** At least 1: its weight in the full ring; default: `weight`, and 1 for weight 0. */
  readonly ringWeight?: number
}

/** The first stage: may be kept as long as the claims, their weights and the size stay the same. */
export interface FullRing<C extends Claim = Claim> extends Fill {
  /** As they were given. `owners` are indexes into them: everybody up; -1 when there are none. */
  readonly claims: readonly C[]
  /** The claims' indexes, sorted by identity. */
  readonly order: Int32Array
  /** Where each claim's preference list begins. */
  readonly offsets: Int32Array
  /** How many slots each claim owns. */
  readonly counts: Int32Array
}

/** Whether a claim is out of the ring at the moment, for whatever reason; weight 0 need not be looked at. */
export type IsDown<C extends Claim = Claim> = (claim: C, index: number) => boolean

const ringWeight = (claim: Claim): number => claim.ringWeight ?? Math.max(1, claim.weight)

const sortByIdentity = (identities: readonly Identity[]): Int32Array =>
  new Int32Array(identities.length)
    .map((_, index) => index)
    .sort((a, b) => byIdentity(identities[a]!, identities[b]!))

/** What follows from the claims' identities and the size, whatever their weights. */
type Preferences = Pick<FullRing, 'order' | 'offsets' | 'skips'>

const preferencesOf = (claims: readonly Claim[], size: number): Preferences => {
  const identities = claims.map(claim => identityOf(claim.identity))
  const order = sortByIdentity(identities)
  checkDistinct(claims, identities, order)
  const offsets = new Int32Array(claims.length)
  const skips = new Int32Array(claims.length)
  identities.forEach((identity, index) => {
    const { offset, skip } = permutation(identity, size)
    offsets[index] = offset
    skips[index] = skip
  })
  return { order, offsets, skips }
}

const isAlike = (claims: readonly Claim[], size: number, ring: FullRing): boolean =>
  ring.size === size &&
  ring.claims.length === claims.length &&
  claims.every(({ identity }, index) => identity === ring.claims[index]!.identity)

/**
 * Fills a ring with everybody up. Each claim's slots are its exact share rounded up or down.
 *
 * @param size   a prime from 251 to 655373, at least as many as there are claims
 * @param before a ring that may have the same size and identities: it then takes less time, and the result is the same
 * @throws BalancerError `ERR_RING_SIZE`; `ERR_CONFLICT` when two claims have one identity
 */
export const buildRing = <C extends Claim>(
  claims: readonly C[],
  size: number,
  before?: FullRing,
): FullRing<C> => {
  checkSize(size, claims.length)
  const preferences = before && isAlike(claims, size, before) ? before : preferencesOf(claims, size)
  const { order, offsets, skips } = preferences
  const fill = emptyFill(offsets, skips, Int32Array.from(claims, ringWeight), size)
  const { length } = claims
  const counts = apportion(size, length > 0 ? size : 0, order, fill.weights, new Int32Array(length))
  if (length > 0) fillFreeSlots(fill, order, counts.slice())
  return { ...fill, claims, order, offsets, counts }
}

const checkSize = (size: number, claims: number): void => {
  if (!isRingSize(size))
    throw new BalancerError(
      'ERR_RING_SIZE',
      `a ring of ${size} slots: the size is a prime from ${MIN_RING_SIZE} to ${MAX_RING_SIZE}`,
    )
  if (claims > size)
    throw new BalancerError('ERR_RING_SIZE', `a ring of ${size} slots for ${claims} backends`)
}

const checkDistinct = (
  claims: readonly Claim[],
  identities: readonly Identity[],
  order: Int32Array,
): void => {
  for (let i = 1; i < order.length; i++) {
    const claim = order[i]!
    if (byIdentity(identities[order[i - 1]!]!, identities[claim]!) === 0)
      throw new BalancerError('ERR_CONFLICT', `two backends of a ring at ${claims[claim]!.identity}`)
  }
}

/**
 * Gives the slots of those that are down to the others. Depends on the full ring and on who is down, not on how that
 * came about.
 *
 * @returns the owner of each slot, an index into `full.claims`; -1 everywhere when all are down
 */
export const refillRing = <C extends Claim>(full: FullRing<C>, isDown: IsDown<C>): Int32Array => {
  const down = new Uint8Array(full.claims.length)
  full.claims.forEach((claim, index) => {
    if (claim.weight === 0 || isDown(claim, index)) down[index] = 1
  })
  const survivors = full.order.filter(claim => down[claim] === 0)
  if (survivors.length === 0) return new Int32Array(full.size).fill(-1)
  if (survivors.length === full.claims.length) return full.owners.slice()
  const { fill, free } = withoutDown(full, down)
  const takers = furthestBehindFirst(full, survivors)
  fillFreeSlots(fill, takers, apportion(full.size, free, takers, full.weights, full.counts))
  return fill.owners
}

/**
 * The order of turns of the second stage: who has the fewest slots for its weight is first, then by identity. So with
 * equal weights the slot counts still differ by at most 1 afterwards.
 */
const furthestBehindFirst = ({ size, weights, counts }: FullRing, survivors: Int32Array): Int32Array => {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const ahead = Array.from(counts)
  for (let claim = 0; claim < ahead.length; claim++)
    ahead[claim] = counts[claim]! * total - size * weights[claim]!
  return survivors.slice().sort((a, b) => ahead[a]! - ahead[b]!)
}

/** How many slots each claim owns. */
export const countSlots = (owners: Int32Array, claims: number): Int32Array => {
  const counts = new Int32Array(claims)
  for (let slot = 0; slot < owners.length; slot++) {
    const owner = owners[slot]!
    if (owner >= 0) counts[owner]!++
  }
  return counts
}

/** Each claim's share of the ring by weight among those that are up, 0..1; 0 for those that are not. */
export const expectedShares = <C extends Claim>(claims: readonly C[], isDown: IsDown<C>): number[] => {
  const weights = claims.map((claim, index) => (isDown(claim, index) ? 0 : claim.weight))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map(weight => (total === 0 ? 0 : weight / total))
}

/**
 * What two nodes compare: equal when their rings are.
 *
 * SHA-256 over the size (u32), the number of claims (u32), each claim's 18 bytes of address and port in sorted order,
 * and each slot's owner as its place in that order (u32, 0xffffffff: nobody); all numbers little-endian.
 *
 * @returns the first 16 hex digits
 */
export const ringDigest = (claims: readonly Claim[], owners: Int32Array): string => {
  const identities = claims.map(claim => identityOf(claim.identity))
  const order = sortByIdentity(identities)
  const places = new Int32Array(claims.length)
  order.forEach((claim, place) => {
    places[claim] = place
  })
  const words = new DataView(new ArrayBuffer(8 + owners.length * 4))
  words.setUint32(0, owners.length, true)
  words.setUint32(4, claims.length, true)
  for (let slot = 0; slot < owners.length; slot++) {
    const owner = owners[slot]!
    words.setInt32(8 + slot * 4, owner < 0 ? -1 : places[owner]!, true)
  }
  const hash = createHash('sha256').update(new Uint8Array(words.buffer, 0, 8))
  for (const claim of order) hash.update(identities[claim]!.bytes)
  return hash.update(new Uint8Array(words.buffer, 8)).digest('hex').slice(0, 16)
}
