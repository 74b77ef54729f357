/**
 * From a backend to its next hop, out of what the kernel knows: its route, then the neighbour on the link, which is the
 * backend itself or a gateway. Pure: the kernel's tables come as values (src/next-hops.ts keeps them).
 */
import { addressBytes, addressText, macBytes } from './address.js'
import type { NextHop } from './dataplane/tables.js'
import type { NetlinkLink, NetlinkNeighbour, NetlinkRoute } from './native.js'

const RTN_UNICAST = 1
const RTN_LOCAL = 2
const ARPHRD_ETHER = 1
const NUD_INCOMPLETE = 1
const NUD_FAILED = 32
const IFF_UP = 1

export const isUp = (link: NetlinkLink | undefined): boolean =>
  link !== undefined && (link.flags & IFF_UP) !== 0

/** Where to: resolved, or why not. `neighbour` names what has to be asked for. */
export type Resolution =
  | {
      readonly nextHop: NextHop
      readonly neighbour: NeighbourKey | null
      /** What has been learnt of the path beyond the next hop, where that is less than the route's MTU. */
      readonly learntMtu?: number
    }
  | {
      readonly reason: string
      readonly neighbour: NeighbourKey | null
      /** The neighbour is being asked, and may yet answer. */
      readonly isAsked?: boolean
    }

export interface NeighbourKey {
  readonly ifindex: number
  readonly address: string
}

export const neighbourKeyText = ({ ifindex, address }: NeighbourKey): string => `${ifindex}/${address}`

/** What the kernel knows at the moment. */
export interface KernelTables {
  link(ifindex: number): NetlinkLink | undefined
  neighbour(key: NeighbourKey): NetlinkNeighbour | undefined
}

/** The kernel's choice for an address (of a multipath route, the one path that it takes), or why there is none. */
export type Route = NetlinkRoute | { readonly error: string }

export interface ResolveOptions {
  readonly address: string
  /** A static next hop. */
  readonly mac: string | null
  /** Routers may be between; neither: it must be on the link, they would not forward what is not addressed to it. */
  readonly isTunnelled?: boolean
  readonly isRouted?: boolean
  readonly route: Route
  /** Where a static next hop without a route leaves: the first entry interface. */
  readonly entry: NetlinkLink | undefined
  /** What routers have said of the path, in bytes of an IP packet; null: nothing. */
  readonly learntMtu?: number | null
  /** What routers say, to this host's kernel too, counts down to here; default 0. */
  readonly leastMtu?: number
}

interface Way {
  readonly link: NetlinkLink | undefined
  /** The smallest of the devices that are passed. */
  readonly mtu: number
}

/** A VLAN device's frames leave by the device below it; tags stay as they came. */
const wayOut = (tables: KernelTables, ifindex: number): Way => {
  let link = tables.link(ifindex)
  let mtu = link?.mtu ?? 0
  for (let depth = 0; link?.kind === 'vlan' && link.lower !== null && depth < 2; depth++) {
    link = tables.link(link.lower)
    mtu = Math.min(mtu, link?.mtu ?? 0)
  }
  return { link, mtu }
}

const hopOf = (route: Route): NetlinkRoute['nextHops'][number] | undefined =>
  'error' in route || route.type !== RTN_UNICAST ? undefined : route.nextHops[0]

const lower = (mtu: number, other: number | null | undefined): number => Math.min(mtu, other ?? mtu)

/** The MTU of a route: its own, at most that of its way out; null: there is no way. */
export const routeMtu = (tables: KernelTables, route: Route): number | null => {
  const hop = hopOf(route)
  const way = hop && wayOut(tables, hop.ifindex)
  return way?.link && !('error' in route) ? lower(way.mtu, route.mtu) : null
}

/** Kinds of devices that take frames from XDP; null is hardware. */
const takesXdpFrames: readonly (string | null)[] = [null, 'veth', 'bond', 'tun', 'netkit']

const through = (
  link: NetlinkLink | undefined,
  ifindex: number,
): { readonly link: NetlinkLink } | { readonly reason: string } => {
  if (!link) return { reason: `interface ${ifindex} does not exist` }
  if (!isUp(link)) return { reason: `interface ${link.name} is down` }
  if (!takesXdpFrames.includes(link.kind))
    return { reason: `interface ${link.name} (${link.kind}) takes no frames from XDP` }
  return { link }
}

const sourceOf = (route: Route): Uint8Array | null =>
  'error' in route || route.source === null ? null : addressBytes(addressText(route.source))

interface Hop {
  readonly link: NetlinkLink
  readonly mac: Uint8Array
  readonly sourceMac: Uint8Array
  /** Of the route. */
  readonly mtu: number
  /** Of the way out: nothing longer leaves. */
  readonly wayMtu: number
  readonly neighbour: NeighbourKey | null
}

const resolved = (
  { link, mac, sourceMac, mtu, wayMtu, neighbour }: Hop,
  { route, isTunnelled, isRouted, learntMtu, leastMtu = 0 }: ResolveOptions,
): Resolution => {
  const path = isTunnelled || isRouted ? Math.min(wayMtu, Math.max(lower(mtu, learntMtu), leastMtu)) : mtu
  return {
    nextHop: { ifindex: link.ifindex, mac, sourceMac, mtu: path, source: sourceOf(route) },
    neighbour,
    ...(path < mtu ? { learntMtu: path } : {}),
  }
}

const resolveStatic = (tables: KernelTables, mac: string, options: ResolveOptions): Resolution => {
  const { route, entry } = options
  const hop = hopOf(route)
  const { link, mtu: wayMtu } = hop ? wayOut(tables, hop.ifindex) : { link: entry, mtu: entry?.mtu ?? 0 }
  if (!link) return { reason: 'neither its route nor its entry interface exists', neighbour: null }
  return resolved(
    {
      link,
      mac: macBytes(mac),
      sourceMac: link.mac ?? new Uint8Array(6),
      mtu: routeMtu(tables, route) ?? wayMtu,
      wayMtu,
      neighbour: null,
    },
    options,
  )
}

export const resolveNextHop = (tables: KernelTables, options: ResolveOptions): Resolution => {
  const { address, mac, route, isTunnelled, isRouted } = options
  if (mac !== null) return resolveStatic(tables, mac, options)

  if ('error' in route) return { reason: `no route to ${address} (${route.error})`, neighbour: null }
  if (route.type === RTN_LOCAL) return { reason: `${address} is this host's own address`, neighbour: null }
  const hop = hopOf(route)
  if (!hop) return { reason: `no route to ${address}`, neighbour: null }
  if (hop.gateway && !isTunnelled && !isRouted)
    return { reason: `${address} is behind a gateway: dr needs a backend on the link`, neighbour: null }

  const way = wayOut(tables, hop.ifindex)
  const out = through(way.link, hop.ifindex)
  if ('reason' in out) return { ...out, neighbour: null }
  if (out.link.type !== ARPHRD_ETHER || !out.link.mac)
    return { reason: `interface ${out.link.name} is no Ethernet device`, neighbour: null }

  const key = { ifindex: hop.ifindex, address: hop.gateway ? addressText(hop.gateway) : address }
  const neighbour = tables.neighbour(key)
  if (!neighbour?.mac || neighbour.state & (NUD_INCOMPLETE | NUD_FAILED)) {
    const isAsked = !neighbour || !(neighbour.state & NUD_FAILED)
    const asked = isAsked ? 'is not resolved yet' : 'does not answer'
    const what = hop.gateway ? 'gateway' : 'neighbour'
    const name = tables.link(hop.ifindex)?.name ?? hop.ifindex
    return { reason: `${what} ${key.address} on ${name} ${asked}`, neighbour: key, isAsked }
  }
  return resolved(
    {
      link: out.link,
      mac: neighbour.mac,
      sourceMac: out.link.mac,
      mtu: routeMtu(tables, route) ?? way.mtu,
      wayMtu: way.mtu,
      neighbour: key,
    },
    options,
  )
}
