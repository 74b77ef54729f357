/**
 * Whether packets to the local addresses, which FULLNAT and SNAT connections come from, reach this host: by its own
 * tables they are local, or a router may send them here. Pure.
 */
import { addressFamily } from './address.js'
import type { Route } from './next-hop.js'

/** Something is to be done about a local address. */
export interface LocalAddressFinding {
  readonly address: string
  /** It may be used all the same: connections from it can have answers. */
  readonly isUsable: boolean
  /** What is the matter, and what to do. */
  readonly text: string
}

const RTN_UNICAST = 1
const RTN_LOCAL = 2

/** What makes an address this host's, and has it answer who asks for its MAC address. */
const remedy = (address: string, device: string): string =>
  addressFamily(address) === 4
    ? `ip route add local ${address} dev lo`
    : `ip -6 addr add ${address}/128 dev ${device} nodad`

/**
 * @param route      the kernel's choice for it
 * @param nameOf     an interface's name
 * @returns          null: it is this host's
 */
export const checkLocalAddress = (
  address: string,
  route: Route,
  nameOf: (ifindex: number) => string,
): LocalAddressFinding | null => {
  if (!('error' in route) && route.type === RTN_LOCAL) return null
  const hop = 'error' in route || route.type !== RTN_UNICAST ? undefined : route.nextHops[0]
  if (hop && hop.gateway === null) {
    const device = nameOf(hop.ifindex)
    return {
      address,
      isUsable: false,
      text: `${address} is not this host's, but on the link of ${device}, where nobody answers for it: ${remedy(address, device)}`,
    }
  }
  return {
    address,
    isUsable: true,
    text: `${address} is not this host's by its own tables: see that a router sends here what is for it, or ${remedy(address, 'DEVICE')}`,
  }
}
