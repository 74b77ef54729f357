/** An echo request to a VIP: answered (RFC 792, RFC 4443 4.2), dropped, or left to the host. */
import { concat, readU16, u16 } from '../fixtures/bytes.js'
import { checksum, onesComplementSum } from '../fixtures/checksum.js'
import { isFromGroup, isFromHost } from './answer.js'
import type { IpPacket } from './packet.js'
import type { VipEntry } from './tables.js'

/** The ICMP message with the reply's type, its checksum by RFC 1624: one that was wrong stays wrong. */
const reply = (version: 4 | 6, request: Uint8Array): Uint8Array => {
  const [before, after] = version === 4 ? [0x0800, 0x0000] : [0x8000, 0x8100]
  const sum = onesComplementSum(concat(u16(0xffff - readU16(request, 2)), u16(0xffff - before), u16(after)))
  return concat(u16(after), u16(0xffff - sum), request.subarray(4))
}

/** All of the frame but the addresses, the TTL, the type and the checksums is as it came. */
const pong = (frame: Uint8Array, packet: IpPacket): Uint8Array => {
  const header = Uint8Array.from(frame.subarray(packet.ipAt, packet.transportAt))
  const addressesAt = packet.version === 4 ? 12 : 8
  header.set(concat(packet.destination, packet.source), addressesAt)
  header[packet.version === 4 ? 8 : 7] = 64
  if (packet.version === 4) {
    header.set([0, 0], 10)
    header.set(u16(checksum(header)), 10)
  }
  return concat(
    frame.subarray(6, 12),
    frame.subarray(0, 6),
    frame.subarray(12, packet.ipAt),
    header,
    reply(packet.version, frame.subarray(packet.transportAt)),
  )
}

export const answerPing = (
  frame: Uint8Array,
  packet: IpPacket,
  ping: VipEntry['ping'],
): { readonly verdict: string; readonly packet: Uint8Array } => {
  if (packet.length > frame.length - packet.ipAt) return { verdict: 'DROP_TRUNCATED', packet: frame }
  if (ping === 'drop') return { verdict: 'DROP_PING', packet: frame }
  const hasMore = packet.transportAt - packet.ipAt !== (packet.version === 4 ? 20 : 40)
  if (ping === 'pass' || hasMore) return { verdict: 'PASS_PING', packet: frame }
  if (isFromGroup(frame) || !isFromHost(packet)) return { verdict: 'DROP_PING', packet: frame }
  return { verdict: 'TX_PING', packet: pong(frame, packet) }
}
