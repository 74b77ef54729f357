/** What the balancer's own answers have in common: to whom there is one at all, and the frame around it. */
import { address } from '../fixtures/addresses.js'
import { concat, sameBytes } from '../fixtures/bytes.js'
import { ipv4, ipv6 } from '../fixtures/frames.js'
import { icmp, icmpv6, type Transport } from '../fixtures/transport.js'
import type { IpPacket } from './packet.js'
import type { InterfaceEntry } from './tables.js'

/** What an answer is made of: the Ethernet header and tags of a frame, and the packet that it is about. */
export type Received = Pick<IpPacket, 'version' | 'source' | 'destination' | 'ipAt' | 'end'>

const isUnicastHost = (source: Uint8Array): boolean => {
  if (source.length === 4) return source[0] !== 0 && source[0] !== 127 && source[0]! < 224
  if (source[0] === 0xff) return false
  return source.subarray(0, 15).some(byte => byte !== 0) || source[15]! > 1
}

export const isFromHost = ({ source, destination }: Received): boolean =>
  isUnicastHost(source) && !sameBytes(source, destination)

export const isFromGroup = (frame: Uint8Array): boolean => (frame[6]! & 1) !== 0

/** MAC addresses exchanged, VLAN tags as they came, up to the EtherType. */
const ethernetBack = (frame: Uint8Array, ipAt: number): Uint8Array =>
  concat(frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12, ipAt))

/** The answer's frame: addresses exchanged, or `from` another one, and a fresh IP header. */
export const back = (
  frame: Uint8Array,
  received: Received,
  transport: Transport,
  from = received.destination,
): Uint8Array => {
  const addresses = { from, to: received.source }
  const ip =
    received.version === 4
      ? ipv4({ ...addresses, dontFragment: true }, transport)
      : ipv6(addresses, transport)
  return concat(ethernetBack(frame, received.ipAt), ip.bytes)
}

export interface ErrorKind {
  readonly type: number
  readonly code: number
  /** The MTU, where it is about one. */
  readonly rest?: number
}

/** An ICMP error that quotes of `quote` what 576 or 1280 bytes in all hold. */
export const error = (version: 4 | 6, kind: ErrorKind, quote: Uint8Array): Transport =>
  version === 4 ? icmp(kind, quote.subarray(0, 576 - 20 - 8)) : icmpv6(kind, quote.subarray(0, 1280 - 40 - 8))

/** An error that quotes the packet and comes from the interface's own address; null: it has none. */
export const routerError = (
  frame: Uint8Array,
  received: Received,
  kind: ErrorKind,
  entry: InterfaceEntry | undefined,
): Uint8Array | null => {
  const own = received.version === 4 ? entry?.address4 : entry?.address6
  if (own === undefined) return null
  const quote = frame.subarray(received.ipAt, received.end)
  return back(frame, received, error(received.version, kind, quote), address(own))
}
