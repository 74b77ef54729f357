/**
 * From a backend to its next hop, out of what the kernel knows: its route, then the neighbour on the link. Pure: the
 * kernel's tables come as values (src/next-hops.ts keeps them).
 */
import { macBytes } from './address.js'
import type { NextHop } from './dataplane/tables.js'
import type { NetlinkLink, NetlinkNeighbour, NetlinkRoute } from './native.js'

const RTN_UNICAST = 1
const RTN_LOCAL = 2
const ARPHRD_ETHER = 1
const NUD_INCOMPLETE = 1
const NUD_FAILED = 32
const IFF_UP = 1

/** Where to: resolved, or why not. `neighbour` names what has to be asked for. */
export type Resolution =
  | { readonly nextHop: NextHop; readonly neighbour: NeighbourKey | null }
  | { readonly reason: string; readonly neighbour: NeighbourKey | null }

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

export interface ResolveOptions {
  readonly address: string
  /** A static next hop. */
  readonly mac: string | null
  /** The kernel's choice for the address, or why there is none. */
  readonly route: NetlinkRoute | { readonly error: string }
  /** Where a static next hop without a route leaves: the first entry interface. */
  readonly entry: NetlinkLink | undefined
}

/** A VLAN device's frames leave by the device below it; tags stay as they came. */
const wayOut = (tables: KernelTables, ifindex: number): NetlinkLink | undefined => {
  let link = tables.link(ifindex)
  for (let depth = 0; link?.kind === 'vlan' && link.lower !== null && depth < 2; depth++)
    link = tables.link(link.lower)
  return link
}

/** Kinds of devices that take frames from XDP; null is hardware. */
const takesXdpFrames: readonly (string | null)[] = [null, 'veth', 'bond', 'tun', 'netkit']

const through = (
  link: NetlinkLink | undefined,
  ifindex: number,
): { readonly link: NetlinkLink } | { readonly reason: string } => {
  if (!link) return { reason: `interface ${ifindex} does not exist` }
  if (!(link.flags & IFF_UP)) return { reason: `interface ${link.name} is down` }
  if (!takesXdpFrames.includes(link.kind))
    return { reason: `interface ${link.name} (${link.kind}) takes no frames from XDP` }
  return { link }
}

/** Direct routing: the backend itself must be on the link. */
export const resolveNextHop = (
  tables: KernelTables,
  { address, mac, route, entry }: ResolveOptions,
): Resolution => {
  const isRouted = !('error' in route) && route.type === RTN_UNICAST && route.nextHops[0] !== undefined

  if (mac !== null) {
    const out = isRouted ? wayOut(tables, route.nextHops[0]!.ifindex) : entry
    if (!out) return { reason: 'neither its route nor its entry interface exists', neighbour: null }
    return {
      nextHop: {
        ifindex: out.ifindex,
        mac: macBytes(mac),
        sourceMac: out.mac ?? new Uint8Array(6),
        mtu: out.mtu,
        source: null,
      },
      neighbour: null,
    }
  }

  if ('error' in route) return { reason: `no route to ${address} (${route.error})`, neighbour: null }
  if (route.type === RTN_LOCAL) return { reason: `${address} is this host's own address`, neighbour: null }
  const hop = route.nextHops[0]
  if (!isRouted || !hop) return { reason: `no route to ${address}`, neighbour: null }
  if (hop.gateway)
    return { reason: `${address} is behind a gateway: dr needs a backend on the link`, neighbour: null }

  const link = tables.link(hop.ifindex)
  const out = through(wayOut(tables, hop.ifindex), hop.ifindex)
  if ('reason' in out) return { ...out, neighbour: null }
  if (out.link.type !== ARPHRD_ETHER || !out.link.mac)
    return { reason: `interface ${out.link.name} is no Ethernet device`, neighbour: null }

  const key = { ifindex: hop.ifindex, address }
  const neighbour = tables.neighbour(key)
  if (!neighbour?.mac || neighbour.state & (NUD_INCOMPLETE | NUD_FAILED)) {
    const asked = neighbour && neighbour.state & NUD_FAILED ? 'does not answer' : 'is not resolved yet'
    return { reason: `neighbour ${address} on ${link?.name ?? hop.ifindex} ${asked}`, neighbour: key }
  }
  return {
    nextHop: {
      ifindex: out.link.ifindex,
      mac: neighbour.mac,
      sourceMac: out.link.mac,
      mtu: out.link.mtu,
      source: null,
    },
    neighbour: key,
  }
}
