/** Steps 1 to 4 of docs/data-plane.md: from a frame to the addresses, ports and end of what may be a service's packet. */
import { readU16 } from '../fixtures/bytes.js'

export interface IpPacket {
  readonly version: 4 | 6
  /** The number of what the IP header and its extension headers carry. */
  readonly carries: number
  /** 4 or 16 bytes. */
  readonly source: Uint8Array
  readonly destination: Uint8Array
  /** TOS or traffic class. */
  readonly tos: number
  /** IPv6 always: no router fragments it. */
  readonly dontFragment: boolean
  /** Offsets in the frame: the IP header, the L4 header, and the first byte that is no longer the packet's. */
  readonly ipAt: number
  readonly transportAt: number
  readonly end: number
  /** Bytes from the IP header on, as it says; the frame may hold fewer. */
  readonly length: number
}

export interface ServicePacket extends IpPacket {
  readonly protocol: 'tcp' | 'udp'
  /** The first 4 bytes of the L4 header. */
  readonly ports: Uint8Array
}

type Verdict = string

const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT = 44
const AUTHENTICATION = 51
const DESTINATION_OPTIONS = 60
const EXTENSIONS_FOLLOWED = 4

const readIpv4 = (frame: Uint8Array, at: number): IpPacket | Verdict => {
  const header = frame.subarray(at)
  if (header.length < 20) return 'PASS_TRUNCATED'
  const headerLength = (header[0]! & 15) * 4
  if (header[0]! >> 4 !== 4 || headerLength < 20) return 'PASS_NOT_IP'
  if ((readU16(header, 6) & 0x3fff) !== 0) return 'PASS_FRAGMENT'
  const length = readU16(header, 2)
  const end = Math.min(frame.length, at + length)
  if (at + headerLength > end) return 'PASS_TRUNCATED'
  return {
    version: 4,
    carries: header[9]!,
    source: header.subarray(12, 16),
    destination: header.subarray(16, 20),
    tos: header[1]!,
    dontFragment: (header[6]! & 0x40) !== 0,
    ipAt: at,
    transportAt: at + headerLength,
    end,
    length,
  }
}

const readIpv6 = (frame: Uint8Array, at: number): IpPacket | Verdict => {
  const header = frame.subarray(at)
  if (header.length < 40) return 'PASS_TRUNCATED'
  if (header[0]! >> 4 !== 6) return 'PASS_NOT_IP'
  const length = 40 + readU16(header, 4)
  const end = Math.min(frame.length, at + length)
  let next = header[6]!
  let here = at + 40
  for (let followed = 0; ; followed++) {
    if (next === FRAGMENT) return 'PASS_FRAGMENT'
    if (![HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION_OPTIONS].includes(next)) break
    if (followed === EXTENSIONS_FOLLOWED) return 'PASS_EXTENSION_HEADERS'
    if (here + 8 > end) return 'PASS_TRUNCATED'
    const units = frame[here + 1]!
    const bytes = next === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8
    if (here + bytes > end) return 'PASS_TRUNCATED'
    if (next === ROUTING && frame[here + 3] !== 0) return 'PASS_EXTENSION_HEADERS'
    next = frame[here]!
    here += bytes
  }
  return {
    version: 6,
    carries: next,
    source: header.subarray(8, 24),
    destination: header.subarray(24, 40),
    tos: (readU16(header, 0) >> 4) & 255,
    dontFragment: true,
    ipAt: at,
    transportAt: here,
    end,
    length,
  }
}

/** Steps 1 to 3: the IP packet, or the verdict that ends its journey here. */
export const readIp = (frame: Uint8Array): IpPacket | Verdict => {
  let at = 12
  for (let tags = 0; tags < 2 && [0x8100, 0x88a8].includes(readU16(frame, at)); tags++) {
    at += 4
    if (at + 2 > frame.length) return 'PASS_TRUNCATED'
  }
  const etherType = readU16(frame, at)
  if (etherType === 0x0800) return readIpv4(frame, at + 2)
  if (etherType === 0x86dd) return readIpv6(frame, at + 2)
  return 'PASS_NOT_IP'
}

/** Step 4, of TCP and UDP. */
export const readPorts = (frame: Uint8Array, packet: IpPacket): ServicePacket | Verdict => {
  if (packet.carries !== 6 && packet.carries !== 17) return 'PASS_NOT_A_SERVICE'
  if (packet.transportAt + 4 > packet.end) return 'PASS_TRUNCATED'
  return {
    ...packet,
    protocol: packet.carries === 6 ? 'tcp' : 'udp',
    ports: frame.subarray(packet.transportAt, packet.transportAt + 4),
  }
}
