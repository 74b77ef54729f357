/** What a change of a ring does to the flows on it. Pure. */
import type { Impact } from './control/protocol.js'
import type { Service } from './model.js'

/** A service's ring as identities: `owners` are indexes into them, -1: nobody. */
export interface OwnedRing {
  readonly identities: readonly string[]
  readonly owners: Int32Array
}

/** What is known of a backend's traffic. */
export interface Traffic {
  /** Of the last minute. */
  readonly packets: number
  /** Live flows, all of them; null: some are not tracked. */
  readonly flows: number | null
}

/** How many of each present owner's slots go to somebody else; and how many slots in all, those of nobody included. */
export const movedSlots = (
  before: OwnedRing,
  after: OwnedRing,
): { readonly total: number; readonly moved: Int32Array; readonly owned: Int32Array } => {
  const places = new Map(after.identities.map((identity, i) => [identity, i]))
  const sameAs = Int32Array.from(before.identities, identity => places.get(identity) ?? -2)
  const moved = new Int32Array(before.identities.length)
  const owned = new Int32Array(before.identities.length)
  const isComparable = before.owners.length === after.owners.length
  let total = 0
  for (let slot = 0; slot < before.owners.length; slot++) {
    const owner = before.owners[slot]!
    if (owner >= 0) owned[owner]!++
    if (isComparable && (owner < 0 ? -1 : sameAs[owner]!) === after.owners[slot]) continue
    total++
    if (owner >= 0) moved[owner]!++
  }
  return { total, moved, owned }
}

/** Why untracked flows cannot be kept: each may be in another slot afterwards. null: they can. */
export const breakingChange = (before: Service, after: Service, isReseeded: boolean): string | null => {
  const reasons = [
    ...(before.ringSize === after.ringSize ? [] : [`ring-size ${before.ringSize} -> ${after.ringSize}`]),
    ...(before.hash.join() === after.hash.join()
      ? []
      : [`hash [${before.hash.join(', ')}] -> [${after.hash.join(', ')}]`]),
    ...(isReseeded ? ['another seed'] : []),
  ]
  return reasons.length === 0 ? null : `${reasons.join(', ')}: every flow may change its backend`
}

/**
 * @param breaks    what breakingChange() says
 * @param trafficOf by identity
 */
export const impactOf = (
  service: Service,
  before: OwnedRing,
  after: OwnedRing,
  breaks: string | null,
  trafficOf: (identity: string) => Traffic,
): Impact => {
  const { total, moved, owned } =
    breaks === null ? movedSlots(before, after) : movedSlots(before, { identities: [], owners: after.owners })
  const traffic = before.identities.map(trafficOf)
  const share = (i: number): number => (owned[i] === 0 ? 0 : moved[i]! / owned[i]!)
  const packets = traffic.reduce((sum, one) => sum + one.packets, 0)
  const onMoved = traffic.reduce((sum, one, i) => sum + one.packets * share(i), 0)
  const losers = traffic.map((one, i) =>
    moved[i] === 0 ? 0 : one.flows === null ? null : one.flows * share(i),
  )
  const flows = losers.includes(null)
    ? 'unknown'
    : Math.round(losers.reduce<number>((sum, one) => sum + one!, 0))
  return {
    service: service.name,
    slotsMoved: total,
    slots: before.owners.length,
    packetShare: packets === 0 ? null : onMoved / packets,
    flows,
    breaks: breaks !== null,
    reason: breaks,
  }
}
