/** Step 9 of docs/data-plane.md: the answer to a packet whose service has no backend, where the packet allows one. */
import { concat, readU16, readU32, sameBytes } from '../fixtures/bytes.js'
import { ipv4, ipv6 } from '../fixtures/frames.js'
import { icmp, icmpv6, type Transport, tcp, tcpFlags } from '../fixtures/transport.js'
import type { ServicePacket } from './packet.js'

export interface Answer {
  readonly verdict: 'TX_REJECT_RST' | 'TX_REJECT_UNREACHABLE'
  readonly packet: Uint8Array
}

const isUnicastHost = (source: Uint8Array): boolean => {
  if (source.length === 4) return source[0] !== 0 && source[0] !== 127 && source[0]! < 224
  if (source[0] === 0xff) return false
  return source.subarray(0, 15).some(byte => byte !== 0) || source[15]! > 1
}

const mayBeAnswered = (frame: Uint8Array, packet: ServicePacket): boolean =>
  (frame[6]! & 1) === 0 && isUnicastHost(packet.source) && !sameBytes(packet.source, packet.destination)

/** The answer's frame: addresses exchanged, VLAN tags as they came, a fresh IP header. */
const back = (frame: Uint8Array, packet: ServicePacket, transport: Transport): Uint8Array => {
  const addresses = { from: packet.destination, to: packet.source }
  const ip =
    packet.version === 4 ? ipv4({ ...addresses, dontFragment: true }, transport) : ipv6(addresses, transport)
  return concat(frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12, packet.ipAt), ip.bytes)
}

/** RFC 9293 3.10.7.1. */
const reset = (frame: Uint8Array, packet: ServicePacket): Transport | null => {
  const segment = frame.subarray(packet.transportAt, packet.end)
  const dataAt = (segment[12]! >> 4) * 4
  const flags = segment[13]!
  if ((flags & tcpFlags.RST) !== 0 || dataAt < 20 || dataAt > segment.length) return null
  const ports = { from: readU16(segment, 2), to: readU16(segment, 0) }
  if ((flags & tcpFlags.ACK) !== 0) return tcp({ ...ports, seq: readU32(segment, 8), flags: tcpFlags.RST })
  const length = segment.length - dataAt + (flags & tcpFlags.SYN ? 1 : 0) + (flags & tcpFlags.FIN ? 1 : 0)
  const ack = (readU32(segment, 4) + length) % 2 ** 32
  return tcp({ ...ports, ack, flags: tcpFlags.RST | tcpFlags.ACK })
}

const unreachable = (frame: Uint8Array, packet: ServicePacket): Transport => {
  const received = frame.subarray(packet.ipAt, packet.end)
  return packet.version === 4
    ? icmp({ type: 3, code: 3 }, received.subarray(0, 576 - 20 - 8))
    : icmpv6({ type: 1, code: 4 }, received.subarray(0, 1280 - 40 - 8))
}

/** null: the packet is dropped without an answer. */
export const reject = (frame: Uint8Array, packet: ServicePacket): Answer | null => {
  if (!mayBeAnswered(frame, packet)) return null
  const transport = packet.protocol === 'tcp' ? reset(frame, packet) : unreachable(frame, packet)
  if (transport === null) return null
  const verdict = packet.protocol === 'tcp' ? 'TX_REJECT_RST' : 'TX_REJECT_UNREACHABLE'
  return { verdict, packet: back(frame, packet, transport) }
}
