/** Step 9 of docs/data-plane.md: the answer to a packet whose service has no backend, where the packet allows one. */
import { readU16, readU32 } from '../fixtures/bytes.js'
import { type Transport, tcp, tcpFlags } from '../fixtures/transport.js'
import { back, error, isFromGroup, isFromHost } from './answer.js'
import type { ServicePacket } from './packet.js'

export interface Answer {
  readonly verdict: 'TX_REJECT_RST' | 'TX_REJECT_UNREACHABLE'
  readonly packet: Uint8Array
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

const unreachable = (frame: Uint8Array, packet: ServicePacket): Transport =>
  error(
    packet.version,
    packet.version === 4 ? { type: 3, code: 3 } : { type: 1, code: 4 },
    frame.subarray(packet.ipAt, packet.end),
  )

/** null: the packet is dropped without an answer. */
export const reject = (frame: Uint8Array, packet: ServicePacket): Answer | null => {
  if (isFromGroup(frame) || !isFromHost(packet)) return null
  const transport = packet.protocol === 'tcp' ? reset(frame, packet) : unreachable(frame, packet)
  if (transport === null) return null
  const verdict = packet.protocol === 'tcp' ? 'TX_REJECT_RST' : 'TX_REJECT_UNREACHABLE'
  return { verdict, packet: back(frame, packet, transport) }
}
