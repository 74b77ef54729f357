/** Encapsulation by RFC 2003, 2473, 4213 (IP in IP), 2784 and 2890 (GRE), and by GUE, as docs/data-plane.md chooses. */
import { address, mac } from '../fixtures/addresses.js'
import { concat, readU16, u16, u32 } from '../fixtures/bytes.js'
import { onesComplementSum } from '../fixtures/checksum.js'
import { ipv4, ipv6 } from '../fixtures/frames.js'
import { other, pseudoHeader } from '../fixtures/transport.js'
import type { IpPacket } from './packet.js'
import type { BackendEntry, Tunnel } from './tables.js'

const TTL = 64

/** The outer source: the last `spread` bits are the hash's. */
const sourceOf = ({ from, spread }: Tunnel, hash: bigint): Uint8Array => {
  const bytes = Uint8Array.from(address(from))
  for (let bit = 0; bit < spread; bit++) {
    const at = bytes.length - 1 - (bit >> 3)
    const mask = 1 << (bit & 7)
    const isSet = ((hash >> BigInt(bit)) & 1n) === 1n
    bytes[at] = isSet ? bytes[at]! | mask : bytes[at]! & ~mask
  }
  return bytes
}

/**
 * The packet's bytes summed up as they are when its checksums are right: the outer UDP checksum takes them for right,
 * so that a wrong one is wrong in both. Read is what has no checksum that covers it all: UDP without one, options,
 * extension headers, ICMP.
 */
const sumOf = (packet: IpPacket, bytes: Uint8Array): number => {
  const headerBytes = packet.transportAt - packet.ipAt
  const transport = bytes.subarray(headerBytes)
  const isCovered = packet.carries === 6 || (packet.carries === 17 && readU16(transport, 6) !== 0)
  if (!isCovered || headerBytes !== (packet.version === 4 ? 20 : 40)) return onesComplementSum(bytes)
  const addresses = { from: packet.source, to: packet.destination }
  const pseudo = onesComplementSum(pseudoHeader(addresses, packet.carries, transport.length))
  const header = packet.version === 4 ? 0xffff : onesComplementSum(bytes.subarray(0, 40))
  return onesComplementSum(concat(u16(header), u16(0xffff - pseudo)))
}

const gre = ({ key }: Tunnel, version: 4 | 6, inner: Uint8Array): Uint8Array =>
  concat(
    u16(key === null ? 0 : 0x2000),
    u16(version === 4 ? 0x0800 : 0x86dd),
    key === null ? new Uint8Array(0) : u32(key),
    inner,
  )

interface Outer {
  readonly from: Uint8Array
  readonly to: Uint8Array
}

const gue = (tunnel: Tunnel, packet: IpPacket, inner: Uint8Array, hash: bigint, outer: Outer): Uint8Array => {
  const header = tunnel.isBare ? new Uint8Array(0) : Uint8Array.of(0, packet.version === 4 ? 4 : 41, 0, 0)
  const length = 8 + header.length + inner.length
  const ports = concat(u16(0xc000 | Number(hash & 0x3fffn)), u16(tunnel.port), u16(length))
  const isSummed = outer.to.length === 16
  const sum = onesComplementSum(
    concat(pseudoHeader(outer, 17, length), ports, header, u16(sumOf(packet, inner))),
  )
  return concat(ports, u16(isSummed ? 0xffff - sum || 0xffff : 0), header, inner)
}

export interface Encapsulated {
  readonly packet: Uint8Array
  /** Where an outer IPv4 header is whose id may be anything: DF is clear. */
  readonly freeIdAt: number | null
}

/** The frame as it leaves towards the backend; what comes after the packet in it, stays after it. */
export const encapsulate = (
  frame: Uint8Array,
  packet: IpPacket,
  backend: BackendEntry,
  tunnel: Tunnel,
  hash: bigint,
): Encapsulated => {
  const inner = frame.subarray(packet.ipAt, packet.ipAt + packet.length)
  const trailer = frame.subarray(packet.ipAt + packet.length)
  const outer = { from: sourceOf(tunnel, hash), to: address(tunnel.to) }
  const [protocol, body] = {
    ipip: () => [packet.version === 4 ? 4 : 41, inner] as const,
    gre: () => [47, gre(tunnel, packet.version, inner)] as const,
    gue: () => [17, gue(tunnel, packet, inner, hash, outer)] as const,
  }[tunnel.mode]()
  const { etherType, bytes } =
    outer.to.length === 4
      ? ipv4(
          { ...outer, tos: packet.tos, dontFragment: packet.dontFragment, ttl: TTL },
          other(protocol, body),
        )
      : ipv6(
          { ...outer, trafficClass: packet.tos, flowLabel: Number(hash & 0xfffffn) | 1, hopLimit: TTL },
          other(protocol, body),
        )
  const tags = frame.subarray(12, packet.ipAt - 2)
  const ethernet = concat(mac(backend.nextHopMac), mac(backend.interfaceMac), tags, u16(etherType))
  return {
    packet: concat(ethernet, bytes, trailer),
    freeIdAt: outer.to.length === 4 && !packet.dontFragment ? packet.ipAt : null,
  }
}
