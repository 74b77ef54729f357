/**
 * Whether packets to the local addresses, which FULLNAT and SNAT connections come from, reach this host: by its own
 * tables they are local, or a router may send them here. Pure.
 */
import { addressFamily } from './address.js'
import { isInPrefix } from './config/prefixes.js'
import type { Route } from './next-hop.js'

/** Something is to be done about a local address, or about those of a prefix that share a fate. */
export interface LocalAddressFinding {
  /** The address, or the prefix as it is configured. */
  readonly address: string
  /** All that it is about. */
  readonly addresses: readonly string[]
  /** They may be used all the same: connections from them can have answers. */
  readonly isUsable: boolean
  /** What is the matter, and what to do. */
  readonly text: string
}

const RTN_UNICAST = 1
const RTN_LOCAL = 2

/** Where packets to an address that is not this host's go: null: to a router, or nowhere. */
interface Astray {
  readonly link: string | null
}

const astray = (route: Route, nameOf: (ifindex: number) => string): Astray | null => {
  if ('error' in route) return { link: null }
  if (route.type === RTN_LOCAL) return null
  const hop = route.type === RTN_UNICAST ? route.nextHops[0] : undefined
  return { link: hop && hop.gateway === null ? nameOf(hop.ifindex) : null }
}

/** What makes addresses this host's, and has it answer who asks for their MAC addresses. */
const remedy = (address: string, link: string | null): string => {
  if (addressFamily(address) === 4) return `ip route add local ${address} dev lo`
  if (!address.includes('/')) return `ip -6 addr add ${address}/128 dev ${link ?? 'DEVICE'} nodad`
  const local = `ip -6 route add local ${address} dev lo`
  // The kernel advertises IPv6 neighbours one by one, never a prefix of them.
  return link === null ? local : `route ${address} here from the neighbours, and ${local}`
}

const findingOf = (
  address: string,
  addresses: readonly string[],
  link: string | null,
): LocalAddressFinding => {
  const count = addresses.length
  const [are, them] =
    count === 1
      ? [`${addresses[0]} is`, 'it']
      : [`${count} addresses of ${address}, the first is ${addresses[0]}, are`, 'them']
  const what = remedy(count === 1 ? addresses[0]! : address, link)
  const text =
    link === null
      ? `${are} not this host's by its own tables: see that a router sends here what is for ${them}, or ${what}`
      : `${are} not this host's, but on the link of ${link}, where nobody answers for ${them}: ${what}`
  return { address, addresses, isUsable: link === null, text }
}

/**
 * @param prefixes  what some of the addresses were configured by
 * @param routeOf   the kernel's choice for one
 * @param nameOf    an interface's name
 * @returns         of each prefix one, unless its addresses go to different places; of each other address one
 */
export const checkLocalAddresses = (
  addresses: readonly string[],
  prefixes: readonly string[],
  routeOf: (address: string) => Route,
  nameOf: (ifindex: number) => string,
): readonly LocalAddressFinding[] => {
  const groups = new Map<string, { readonly name: string; readonly link: string | null; all: string[] }>()
  for (const address of addresses) {
    const found = astray(routeOf(address), nameOf)
    if (!found) continue
    const name = prefixes.find(prefix => isInPrefix(address, prefix)) ?? address
    const key = `${name} ${found.link ?? ''}`
    const group = groups.get(key)
    if (group) group.all.push(address)
    else groups.set(key, { name, link: found.link, all: [address] })
  }
  return [...groups.values()].map(({ name, link, all }) => findingOf(name, all, link))
}
