/** Steps 1 to 4 of docs/data-plane.md: from a frame to the addresses, ports and end of what may be a service's packet. */
import { readU16 } from '../fixtures/bytes.js'

export interface ServicePacket {
  readonly version: 4 | 6
  readonly protocol: 'tcp' | 'udp'
  /** 4 or 16 bytes. */
  readonly source: Uint8Array
  readonly destination: Uint8Array
  /** The first 4 bytes of the L4 header. */
  readonly ports: Uint8Array
  /** Offsets in the frame: the IP header, the L4 header, and the first byte that is no longer the packet's. */
  readonly ipAt: number
  readonly transportAt: number
  readonly end: number
}

type Verdict = string

const HOP_BY_HOP = 0
const ROUTING = 43
const FRAGMENT = 44
const AUTHENTICATION = 51
const DESTINATION_OPTIONS = 60
const EXTENSIONS_FOLLOWED = 4

interface Network {
  readonly version: 4 | 6
  readonly protocol: number
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly transportAt: number
  readonly end: number
}

const readIpv4 = (frame: Uint8Array, at: number): Network | Verdict => {
  const header = frame.subarray(at)
  if (header.length < 20) return 'PASS_TRUNCATED'
  const headerLength = (header[0]! & 15) * 4
  if (header[0]! >> 4 !== 4 || headerLength < 20) return 'PASS_NOT_IP'
  if ((readU16(header, 6) & 0x3fff) !== 0) return 'PASS_FRAGMENT'
  const end = Math.min(frame.length, at + readU16(header, 2))
  if (at + headerLength > end) return 'PASS_TRUNCATED'
  return {
    version: 4,
    protocol: header[9]!,
    source: header.subarray(12, 16),
    destination: header.subarray(16, 20),
    transportAt: at + headerLength,
    end,
  }
}

const readIpv6 = (frame: Uint8Array, at: number): Network | Verdict => {
  const header = frame.subarray(at)
  if (header.length < 40) return 'PASS_TRUNCATED'
  if (header[0]! >> 4 !== 6) return 'PASS_NOT_IP'
  const end = Math.min(frame.length, at + 40 + readU16(header, 4))
  let next = header[6]!
  let here = at + 40
  for (let followed = 0; ; followed++) {
    if (next === FRAGMENT) return 'PASS_FRAGMENT'
    if (![HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION_OPTIONS].includes(next)) break
    if (followed === EXTENSIONS_FOLLOWED) return 'PASS_EXTENSION_HEADERS'
    if (here + 8 > end) return 'PASS_TRUNCATED'
    const units = frame[here + 1]!
    const length = next === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8
    if (here + length > end) return 'PASS_TRUNCATED'
    if (next === ROUTING && frame[here + 3] !== 0) return 'PASS_EXTENSION_HEADERS'
    next = frame[here]!
    here += length
  }
  return {
    version: 6,
    protocol: next,
    source: header.subarray(8, 24),
    destination: header.subarray(24, 40),
    transportAt: here,
    end,
  }
}

/** The packet, or the verdict that ends its journey here. */
export const readPacket = (frame: Uint8Array): ServicePacket | Verdict => {
  let at = 12
  for (let tags = 0; tags < 2 && [0x8100, 0x88a8].includes(readU16(frame, at)); tags++) {
    at += 4
    if (at + 2 > frame.length) return 'PASS_TRUNCATED'
  }
  const etherType = readU16(frame, at)
  const ipAt = at + 2
  const network =
    etherType === 0x0800
      ? readIpv4(frame, ipAt)
      : etherType === 0x86dd
        ? readIpv6(frame, ipAt)
        : 'PASS_NOT_IP'
  if (typeof network === 'string') return network
  if (network.protocol !== 6 && network.protocol !== 17) return 'PASS_NOT_A_SERVICE'
  if (network.transportAt + 4 > network.end) return 'PASS_TRUNCATED'
  return {
    ...network,
    protocol: network.protocol === 6 ? 'tcp' : 'udp',
    ports: frame.subarray(network.transportAt, network.transportAt + 4),
    ipAt,
  }
}
