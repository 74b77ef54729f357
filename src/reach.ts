/** How a backend is reached: on the link, in a tunnel, or by other addresses; its service and it give the words. */
import { addressFamily } from './address.js'
import { outerSource, overheadOf, type Tunnel } from './dataplane/encapsulation.js'
import { type Backend, type Forward, forwardOf, isTranslated, isTunnel, type Service } from './model.js'
import type { Resolution } from './next-hop.js'
import type { Target } from './next-hop-target.js'
import type { NextHops } from './next-hops.js'

/** The configured outer source of a backend's tunnel; null: the node's own address. */
export const tunnelSourceOf = (
  service: Pick<Service, 'tunnelSource'>,
  { address, tunnelSource }: Pick<Backend, 'address' | 'tunnelSource'>,
): string | null =>
  tunnelSource ??
  service.tunnelSource.find(source => addressFamily(source) === addressFamily(address)) ??
  null

/**
 * What every host takes whole (RFC 791) and every IPv6 link carries (RFC 8200 5), of the client's packet: clients do not
 * make theirs shorter whatever they are told (RFC 8201 4; Linux: net.ipv4.route.min_pmtu), so a message that says less
 * would only end their connections, and anybody can forge one.
 */
const LEAST_INNER = { 4: 576, 6: 1280 } as const

/** An IPv6 header is so much longer than an IPv4 header: FULLNAT makes the one of the other. */
const FAMILY_GAP = 20

interface Reach {
  readonly forward: Forward
  readonly source: string | null
  readonly tunnel: Tunnel | null
  readonly target: Target
  /** How much longer a packet leaves than it came, beyond a tunnel's headers: less than 0, where it leaves shorter. */
  readonly growth: number
}

/** A backend outlives most changes of its service: its next hop is looked up by the same object each time. */
const known = new WeakMap<Backend, Reach>()

const growthOf = (service: Service, { address }: Backend, forward: Forward): number =>
  isTranslated(forward.mode) ? ((addressFamily(address) - addressFamily(service.vip)) / 2) * FAMILY_GAP : 0

const localAddressesOf = ({ translation }: Service, { mode }: Forward): readonly string[] | undefined =>
  mode === 'fullnat' ? translation?.localAddresses : undefined

const reachOf = (service: Service, backend: Backend): Reach | null => {
  const forward = forwardOf(service, backend)
  if (forward.mode === 'dr') return null
  const source = isTunnel(forward) ? tunnelSourceOf(service, backend) : null
  const growth = growthOf(service, backend, forward)
  const before = known.get(backend)
  const leastMtu = overheadOf(forward, backend.address) + growth + LEAST_INNER[addressFamily(service.vip)]
  const localAddresses = localAddressesOf(service, forward)
  const isSame =
    before?.forward === forward &&
    before.source === source &&
    before.target.leastMtu === leastMtu &&
    before.target.localAddresses === localAddresses
  if (isSame) return before
  const { address, mac } = backend
  const way = isTunnel(forward)
    ? { isTunnelled: true }
    : { isRouted: true, ...(localAddresses ? { localAddresses } : {}) }
  const reach = {
    forward,
    source,
    tunnel: isTunnel(forward) ? { forward, source: source === null ? null : outerSource(source) } : null,
    target: { address, mac, leastMtu, ...way },
    growth,
  }
  known.set(backend, reach)
  return reach
}

/** By what was found for the packets as they leave: the same for the client's. */
const asTheyCame = new WeakMap<Resolution, { readonly growth: number; readonly inner: Resolution }>()

const shrunk = (found: Resolution, growth: number): Resolution => {
  if ('reason' in found || growth === 0) return found
  const before = asTheyCame.get(found)
  if (before?.growth === growth) return before.inner
  const less = (mtu: number): number => Math.max(0, mtu - growth)
  const { nextHop, learntMtu } = found
  const inner = {
    ...found,
    nextHop: { ...nextHop, mtu: less(nextHop.mtu) },
    ...(learntMtu === undefined ? {} : { learntMtu: less(learntMtu) }),
  }
  asTheyCame.set(found, { growth, inner })
  return inner
}

/** null: no tunnel. The very same object as long as nothing of it changes. */
export const tunnelOf = (service: Service, backend: Backend): Tunnel | null =>
  reachOf(service, backend)?.tunnel ?? null

/** What NextHops is to follow for a backend. */
export const targetOf = (service: Service, backend: Backend): Target =>
  reachOf(service, backend)?.target ?? backend

/** Its next hop, or why it has none. FULLNAT to the other family: its MTU is that of the client's packets. */
export const resolutionOf = (
  nextHops: Pick<NextHops, 'get'>,
  service: Service,
  backend: Backend,
): Resolution => {
  const reach = reachOf(service, backend)
  if (!reach) return nextHops.get(backend)
  const found = shrunk(nextHops.get(reach.target), reach.growth)
  if (!reach.tunnel || 'reason' in found || reach.source !== null || found.nextHop.source !== null)
    return found
  return {
    reason: `the route to ${backend.address} names no source address: give tunnel-source`,
    neighbour: found.neighbour,
  }
}
