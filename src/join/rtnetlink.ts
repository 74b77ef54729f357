/** Messages of rtnetlink (rtnetlink(7)), as far as a backend host needs them. Pure. */
import { addressFamily, addressText, shortAddressBytes } from '../address.js'
import type { Family } from './wanted.js'

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22
export const RTM_NEWROUTE = 24
export const RTM_GETROUTE = 26

export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400

const AF: Readonly<Record<Family, number>> = { 4: 2, 6: 10 }
export const familyNumber = (family: Family): number => AF[family]

const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const padded = (length: number): number => (length + 3) & ~3

export interface Attribute {
  readonly type: number
  readonly value: Uint8Array
}

/** @param from where they begin */
export const readAttributes = (bytes: Uint8Array, from: number): readonly Attribute[] => {
  const view = viewOf(bytes)
  const attributes: Attribute[] = []
  for (let at = from; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, isLittle)
    if (length < 4 || at + length > bytes.length) break
    attributes.push({ type: view.getUint16(at + 2, isLittle), value: bytes.slice(at + 4, at + length) })
    at += padded(length)
  }
  return attributes
}

const writeAttributes = (head: Uint8Array, attributes: readonly Attribute[]): Uint8Array => {
  const size = attributes.reduce((sum, { value }) => sum + padded(4 + value.length), head.length)
  const bytes = new Uint8Array(size)
  const view = viewOf(bytes)
  bytes.set(head)
  let at = head.length
  for (const { type, value } of attributes) {
    view.setUint16(at, 4 + value.length, isLittle)
    view.setUint16(at + 2, type, isLittle)
    bytes.set(value, at + 4)
    at += padded(4 + value.length)
  }
  return bytes
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
const readU32 = (bytes: Uint8Array | undefined): number | null =>
  bytes && bytes.length >= 4 ? viewOf(bytes).getUint32(0, isLittle) : null

// --- addresses: struct ifaddrmsg { u8 family, prefixlen, flags, scope; u32 index } ---

const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_CACHEINFO = 6
const IFA_FLAGS = 8

/** Of IPv4 addresses the same bit is IFA_F_SECONDARY. */
const IFA_F_TEMPORARY = 0x01
const IFA_F_NODAD = 0x02
const IFA_F_NOPREFIXROUTE = 0x200

const RT_SCOPE_LINK = 253
const RT_SCOPE_HOST = 254

export interface HostAddress {
  /** Canonical text. */
  readonly address: string
  readonly bits: number
  readonly ifindex: number
  /** Not for this host or link alone, nor a passing one (RFC 8981). */
  readonly isLasting: boolean
  /** IPv4 `scope host`. */
  readonly isHostScope: boolean
}

export const readAddress = (message: Uint8Array): HostAddress | null => {
  const attributes = new Map(readAttributes(message, 8).map(({ type, value }) => [type, value]))
  const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
  if (!address) return null
  const flags = readU32(attributes.get(IFA_FLAGS)) ?? message[2]!
  const scope = message[3]!
  return {
    address: addressText(address),
    bits: message[1]!,
    ifindex: viewOf(message).getUint32(4, isLittle),
    isLasting: scope < RT_SCOPE_LINK && (address.length === 4 || (flags & IFA_F_TEMPORARY) === 0),
    isHostScope: scope === RT_SCOPE_HOST,
  }
}

/**
 * An address of one host on an interface, that is never chosen as the source of what the host itself begins: IPv4 by
 * `scope host`, IPv6 as deprecated.
 */
export const addressMessage = (address: string, ifindex: number): Uint8Array => {
  const family = addressFamily(address)
  const bytes = shortAddressBytes(address)
  const head = new Uint8Array(8)
  head[0] = AF[family]
  head[1] = bytes.length * 8
  head[3] = family === 4 ? RT_SCOPE_HOST : 0
  viewOf(head).setUint32(4, ifindex, isLittle)
  const forEver = 0xffffffff
  const deprecated = new Uint8Array(Uint32Array.of(0, forEver, 0, 0).buffer) // struct ifa_cacheinfo
  return writeAttributes(head, [
    { type: IFA_LOCAL, value: bytes },
    { type: IFA_ADDRESS, value: bytes },
    ...(family === 6
      ? [
          { type: IFA_FLAGS, value: u32(IFA_F_NODAD | IFA_F_NOPREFIXROUTE) },
          { type: IFA_CACHEINFO, value: deprecated },
        ]
      : []),
  ])
}

// --- routes: struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags } ---

const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_METRICS = 8
const RTA_MULTIPATH = 9
const RTA_CACHEINFO = 12
const RTA_TABLE = 15
const RTA_VIA = 18
const RTA_NH_ID = 30
const RTAX_MTU = 2
const RTAX_ADVMSS = 8

const RTM_F_CLONED = 0x200
const RTNH_F_ONLINK = 4
const RTN_UNICAST = 1
const RTPROT_REDIRECT = 1
const RTPROT_RA = 9
const RT_TABLE_LOCAL = 255

export interface HostRoute {
  readonly family: Family
  /** "default", "10.0.0.0/24". */
  readonly destination: string
  readonly table: number
  readonly priority: number
  /** The interfaces that it leads out by. */
  readonly ifindexes: readonly number[]
  readonly mtu: number | null
  readonly advmss: number | null
  /** It comes and goes with router advertisements or redirects, or after a time. */
  readonly isPassing: boolean
  /** What the kernel tells routes apart by: family, table, destination, TOS, priority. */
  readonly key: string
  /** What makes it, with NLM_F_REPLACE: attributes in order, without what only the kernel says. */
  readonly message: Uint8Array
}

/** struct rtnexthop { u16 len; u8 flags, hops; u32 ifindex } and attributes, one after the other. */
const nextHops = (multipath: Uint8Array): { ifindexes: number[]; cleaned: Uint8Array } => {
  const cleaned = multipath.slice()
  const view = viewOf(cleaned)
  const ifindexes: number[] = []
  for (let at = 0; at + 8 <= cleaned.length; ) {
    const length = view.getUint16(at, isLittle)
    if (length < 8) break
    cleaned[at + 2]! &= RTNH_F_ONLINK
    ifindexes.push(view.getUint32(at + 4, isLittle))
    at += padded(length)
  }
  return { ifindexes, cleaned }
}

/** Has the kernel's own remarks taken out, so that two dumps of one route are equal, and the message can be sent. */
const sendable = (message: Uint8Array, attributes: readonly Attribute[]): Uint8Array => {
  const head = message.slice(0, 12)
  viewOf(head).setUint32(8, viewOf(message).getUint32(8, isLittle) & RTNH_F_ONLINK, isLittle)
  const hasObject = attributes.some(({ type }) => type === RTA_NH_ID)
  // The kernel spells a next hop object out, and does not take both.
  const spelt = [RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA]
  return writeAttributes(
    head,
    attributes
      .filter(({ type }) => type !== RTA_CACHEINFO && !(hasObject && spelt.includes(type)))
      .map(({ type, value }) => ({
        type,
        value: type === RTA_MULTIPATH ? nextHops(value).cleaned : value,
      }))
      .sort((a, b) => a.type - b.type),
  )
}

/** @returns null for what is no route of packets out of this host */
export const readRoute = (message: Uint8Array): HostRoute | null => {
  const [familyByte, bits = 0, , tos, tableByte = 0, protocol, , type] = message
  if (type !== RTN_UNICAST || viewOf(message).getUint32(8, isLittle) & RTM_F_CLONED) return null
  const family: Family = familyByte === AF[4] ? 4 : 6
  const attributes = readAttributes(message, 12)
  const values = new Map(attributes.map(one => [one.type, one.value]))
  const table = readU32(values.get(RTA_TABLE)) ?? tableByte
  if (table === RT_TABLE_LOCAL) return null
  const destination = values.get(RTA_DST)
  const oif = readU32(values.get(RTA_OIF))
  const multipath = values.get(RTA_MULTIPATH)
  const metrics = new Map(
    readAttributes(values.get(RTA_METRICS) ?? new Uint8Array(0), 0).map(m => [m.type, m.value]),
  )
  const priority = readU32(values.get(RTA_PRIORITY)) ?? 0
  const expires = viewOf(values.get(RTA_CACHEINFO) ?? new Uint8Array(12)).getInt32(8, isLittle)
  const text = destination ? `${addressText(destination)}/${bits}` : 'default'
  return {
    family,
    destination: text,
    table,
    priority,
    ifindexes: oif !== null ? [oif] : multipath ? nextHops(multipath).ifindexes : [],
    mtu: readU32(metrics.get(RTAX_MTU)),
    advmss: readU32(metrics.get(RTAX_ADVMSS)),
    isPassing: protocol === RTPROT_RA || protocol === RTPROT_REDIRECT || expires !== 0,
    key: `${family} ${table} ${text} ${tos} ${priority}`,
    message: sendable(message, attributes),
  }
}

/** The same route with another MSS to announce. */
export const withAdvmss = (message: Uint8Array, advmss: number): Uint8Array => {
  const attributes = readAttributes(message, 12)
  const metrics = readAttributes(
    attributes.find(({ type }) => type === RTA_METRICS)?.value ?? new Uint8Array(0),
    0,
  ).filter(({ type }) => type !== RTAX_ADVMSS)
  const changed = [...metrics, { type: RTAX_ADVMSS, value: u32(advmss) }].sort((a, b) => a.type - b.type)
  return writeAttributes(
    message.slice(0, 12),
    [
      ...attributes.filter(({ type }) => type !== RTA_METRICS),
      { type: RTA_METRICS, value: writeAttributes(new Uint8Array(0), changed) },
    ].sort((a, b) => a.type - b.type),
  )
}

export const sameMessage = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/**
 * The message that gives a route back what it had: of one by a next hop object that had no metrics the kernel keeps those
 * that it has, unless it is told an empty list (fib_create_info in net/ipv4/fib_semantics.c).
 */
export const restoring = (message: Uint8Array): Uint8Array => {
  const attributes = readAttributes(message, 12)
  const has = (wanted: number): boolean => attributes.some(({ type }) => type === wanted)
  if (!has(RTA_NH_ID) || has(RTA_METRICS)) return message
  return writeAttributes(message.slice(0, 12), [
    ...attributes,
    { type: RTA_METRICS, value: new Uint8Array(0) },
  ])
}
