/** How a backend is reached: on the link, or in a tunnel, for which its service and it give the words. */
import { addressFamily } from './address.js'
import { outerSource, overheadOf, type Tunnel } from './dataplane/encapsulation.js'
import { type Backend, type Forward, forwardOf, isTunnel, type Service } from './model.js'
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

interface Reach {
  readonly forward: Forward
  readonly source: string | null
  readonly tunnel: Tunnel | null
  readonly target: Target
}

/** A backend outlives most changes of its service: its next hop is looked up by the same object each time. */
const known = new WeakMap<Backend, Reach>()

const reachOf = (service: Service, backend: Backend): Reach | null => {
  const forward = forwardOf(service, backend)
  if (!isTunnel(forward)) return null
  const source = tunnelSourceOf(service, backend)
  const before = known.get(backend)
  const leastMtu = overheadOf(forward, backend.address) + LEAST_INNER[addressFamily(service.vip)]
  const isSame =
    before?.forward === forward && before.source === source && before.target.leastMtu === leastMtu
  if (isSame) return before
  const { address, mac } = backend
  const reach = {
    forward,
    source,
    tunnel: { forward, source: source === null ? null : outerSource(source) },
    target: { address, mac, isTunnelled: true, leastMtu },
  }
  known.set(backend, reach)
  return reach
}

/** null: no tunnel. The very same object as long as nothing of it changes. */
export const tunnelOf = (service: Service, backend: Backend): Tunnel | null =>
  reachOf(service, backend)?.tunnel ?? null

/** What NextHops is to follow for a backend. */
export const targetOf = (service: Service, backend: Backend): Target =>
  reachOf(service, backend)?.target ?? backend

/** Its next hop, or why it has none. */
export const resolutionOf = (
  nextHops: Pick<NextHops, 'get'>,
  service: Service,
  backend: Backend,
): Resolution => {
  const reach = reachOf(service, backend)
  if (!reach) return nextHops.get(backend)
  const found = nextHops.get(reach.target)
  if ('reason' in found || reach.source !== null || found.nextHop.source !== null) return found
  return {
    reason: `the route to ${backend.address} names no source address: give tunnel-source`,
    neighbour: found.neighbour,
  }
}
