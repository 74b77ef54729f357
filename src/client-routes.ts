/**
 * The ways back to the clients, which replies and SNAT go by: the kernel's routes as a table that is short enough for the
 * data plane to look through. What cannot be said in it is asked of the kernel for each packet. Pure.
 */
import { addressText, macText } from './address.js'
import { BY_KERNEL, fitted, type Prefix, type Way } from './client-route-prefixes.js'
import { type ClientRoute, MAX_CLIENT_ROUTES } from './dataplane/client-routes-table.js'
import type { NetlinkRoute, NetlinkRule } from './native.js'
import { type NeighbourKey, neighbourKeyText, type Resolution } from './next-hop.js'

/** More of a family are not looked at: the kernel is asked for all of its addresses. */
export const MAX_ROUTES = 4096
/** Gateways beyond are asked for when there is a packet for them, as hosts on the link are. */
const MAX_GATEWAYS = 256

export interface RouteTables {
  /** Of both families; of one more than MAX_ROUTES: not all of them. */
  readonly routes: readonly NetlinkRoute[]
  readonly rules: readonly NetlinkRule[]
}

export type Family = 4 | 6

const RT_TABLE_DEFAULT = 253
const RT_TABLE_MAIN = 254
const RT_TABLE_LOCAL = 255
const FR_ACT_TO_TBL = 1
const RTN_UNICAST = 1
const RTN_LOCAL = 2
const RTN_BROADCAST = 3
const RTN_ANYCAST = 4
const RTN_MULTICAST = 5
const RTN_BLACKHOLE = 6
const RTN_UNREACHABLE = 7
const RTN_PROHIBIT = 8
const RTNH_F_DEAD = 1
const RTNH_F_LINKDOWN = 16

const BITS = { 4: 32, 6: 128 } as const

/** As the kernel has them from the start, by priority. */
const DEFAULT_RULES: Readonly<Record<Family, string>> = {
  4: `0:${RT_TABLE_LOCAL} 32766:${RT_TABLE_MAIN} 32767:${RT_TABLE_DEFAULT}`,
  6: `0:${RT_TABLE_LOCAL} 32766:${RT_TABLE_MAIN}`,
}

const isDefault = (family: Family, rules: readonly NetlinkRule[]): boolean => {
  const own = rules.filter(rule => rule.family === family)
  const text = own.map(({ priority, table }) => `${priority}:${table}`).join(' ')
  const isPlain = own.every(({ action, isSelective }) => action === FR_ACT_TO_TBL && !isSelective)
  return own.length === 0 || (isPlain && text === DEFAULT_RULES[family])
}

const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`)

/** Of which no packet on the wire is a client's: loopback, link-local (IPv6), multicast. */
const foreign: Readonly<Record<Family, readonly { readonly value: bigint; readonly length: number }[]>> = {
  4: [
    { value: 0x7fn, length: 8 },
    { value: 0xen, length: 4 },
  ],
  6: [
    { value: 1n, length: 128 },
    { value: 0x3fan, length: 10 },
    { value: 0xffn, length: 8 },
  ],
}

const isForeign = (family: Family, value: bigint, length: number): boolean =>
  foreign[family].some(
    range => length >= range.length && value >> BigInt(BITS[family] - range.length) === range.value,
  )

/** All routes of one destination, table by table. */
interface Destination {
  readonly value: bigint
  readonly length: number
  readonly local: NetlinkRoute[]
  readonly main: NetlinkRoute[]
}

const destinationsOf = (family: Family, routes: readonly NetlinkRoute[]): readonly Destination[] => {
  const all = new Map<string, Destination>()
  for (const route of routes) {
    const { prefixLength: length, table } = route
    const value = numberOf(route.destination)
    if (isForeign(family, value, length) || (table !== RT_TABLE_LOCAL && table !== RT_TABLE_MAIN)) continue
    const key = `${value}/${length}`
    const one = all.get(key) ?? { value, length, local: [], main: [] }
    all.set(key, one)
    ;(table === RT_TABLE_LOCAL ? one.local : one.main).push(route)
  }
  return [...all.values()]
}

/** The host's own, its broadcasts and groups. */
const isOwn = ({ type }: NetlinkRoute): boolean =>
  type === RTN_LOCAL || type === RTN_BROADCAST || type === RTN_ANYCAST || type === RTN_MULTICAST

const refuses = ({ type }: NetlinkRoute): boolean =>
  type === RTN_BLACKHOLE || type === RTN_UNREACHABLE || type === RTN_PROHIBIT

/** The one that the kernel takes, where that is sure. */
const bestOf = (routes: readonly NetlinkRoute[]): NetlinkRoute | null => {
  const least = routes.reduce(
    (priority, route) => Math.min(priority, route.priority),
    Number.POSITIVE_INFINITY,
  )
  const [best, ...others] = routes.filter(({ priority }) => priority === least)
  return best && others.length === 0 && routes.every(({ tos }) => tos === 0) ? best : null
}

/** One gateway, by nothing but its link. */
const isByGateway = ({ type, nextHops: [hop, ...others] }: NetlinkRoute): boolean =>
  type === RTN_UNICAST &&
  hop !== undefined &&
  others.length === 0 &&
  hop.gateway !== null &&
  !hop.isEncapsulated &&
  (hop.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) === 0

/** @param key of the destination, the same as long as it is there */
export type ResolveGateway = (key: string, route: NetlinkRoute) => Resolution

const wayOf = (family: Family, destination: Destination, resolve: ResolveGateway): Way => {
  const { local, main, value, length } = destination
  if (local.length > 0) return local.every(isOwn) ? { kind: 'local', nextHop: null } : BY_KERNEL
  const route = bestOf(main)
  if (!route) return BY_KERNEL
  if (isOwn(route)) return { kind: 'local', nextHop: null }
  if (refuses(route)) return { kind: 'none', nextHop: null }
  if (!isByGateway(route)) return BY_KERNEL
  const resolution = resolve(`${family} ${value}/${length}`, route)
  return 'nextHop' in resolution ? { kind: 'hop', nextHop: resolution.nextHop } : BY_KERNEL
}

const covers = (a: Destination, b: Destination, bits: number): boolean =>
  a.length < b.length && a.value >> BigInt(bits - a.length) === b.value >> BigInt(bits - a.length)

/** IPv4 as ::ffff:a.b.c.d. */
const bytesOf = (family: Family, value: bigint): Uint8Array => {
  const mapped = family === 4 ? (0xffffn << 32n) | value : value
  return Uint8Array.from(Buffer.from(mapped.toString(16).padStart(32, '0'), 'hex'))
}

const NOWHERE: Prefix = { value: 0n, length: 0, way: { kind: 'none', nextHop: null } }

const ofFamily = (family: Family, routes: readonly NetlinkRoute[]): readonly NetlinkRoute[] =>
  routes.filter(({ destination }) => destination.length * 8 === BITS[family])

/** Rules of the operator's, routes by their source, a second table, and too many: no table says what the kernel does. */
const isBeyond = (family: Family, routes: readonly NetlinkRoute[], rules: readonly NetlinkRule[]): boolean =>
  routes.length > MAX_ROUTES ||
  !isDefault(family, rules) ||
  routes.some(({ sourceLength, table }) => sourceLength > 0 || table === RT_TABLE_DEFAULT)

/** A family's table: the longest prefix first, the last one of length 0. */
export const clientRoutesOf = (
  family: Family,
  tables: RouteTables,
  resolve: ResolveGateway,
): readonly ClientRoute[] => {
  const bits = BITS[family]
  const routes = ofFamily(family, tables.routes)
  const prefixes = (): readonly Prefix[] => {
    const all = destinationsOf(family, routes)
    // Of what lies inside the host's own the kernel says by its version who has it.
    const own = all.filter(({ local, length }) => local.length > 0 && length < bits)
    const found = all.map(one => ({
      value: one.value,
      length: one.length,
      way:
        one.local.length === 0 && own.some(other => covers(other, one, bits))
          ? BY_KERNEL
          : wayOf(family, one, resolve),
    }))
    return fitted(
      found.some(({ length }) => length === 0) ? found : [NOWHERE, ...found],
      bits,
      MAX_CLIENT_ROUTES,
    )
  }
  const table = isBeyond(family, routes, tables.rules) ? [{ ...NOWHERE, way: BY_KERNEL }] : prefixes()
  return table
    .toSorted((a, b) => b.length - a.length || (a.value < b.value ? -1 : 1))
    .map(({ value, length, way }) => ({ net: bytesOf(family, value), length, ...way }))
}

/** The gateways whose MAC addresses are to be known, whoever uses them. */
export const gatewaysOf = ({ routes }: RouteTables): readonly NeighbourKey[] => {
  const gateways = new Map<string, NeighbourKey>()
  for (const { type, table, nextHops } of routes)
    for (const { ifindex, gateway } of nextHops) {
      if (gateways.size === MAX_GATEWAYS) break
      if (type !== RTN_UNICAST || table !== RT_TABLE_MAIN || gateway === null) continue
      const key = { ifindex, address: addressText(gateway) }
      gateways.set(neighbourKeyText(key), key)
    }
  return [...gateways.values()]
}

/** "10.9.0.0/16 by 02:00:00:00:00:01, interface 4, MTU 1500", "10.0.0.0/24 kernel". */
export const clientRouteText = ({ net, length, kind, nextHop }: ClientRoute): string => {
  const prefix = `${addressText(net)}/${length}`
  if (nextHop === null) return `${prefix} ${kind}`
  return `${prefix} by ${macText(nextHop.mac)}, interface ${nextHop.ifindex}, MTU ${nextHop.mtu}`
}
