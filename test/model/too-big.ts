/** A packet longer than the path to its backend takes (RFC 1191, 8201), or than its own interface does. */
import { back, error, isFromGroup, isFromHost } from './answer.js'
import type { IpPacket } from './packet.js'

/** `entryMtu` is that of the interface that the frame came in by. */
export const tooBig = (
  frame: Uint8Array,
  packet: IpPacket,
  mtu: number,
  entryMtu: number,
): { readonly verdict: string; readonly packet: Uint8Array } => {
  if (frame.length - packet.ipAt > entryMtu) return { verdict: 'DROP_AGGREGATED', packet: frame }
  if (!packet.dontFragment || isFromGroup(frame) || !isFromHost(packet))
    return { verdict: 'DROP_TOO_BIG', packet: frame }
  const kind = packet.version === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: mtu }
  const quote = frame.subarray(packet.ipAt, packet.end)
  return { verdict: 'TX_TOO_BIG', packet: back(frame, packet, error(packet.version, kind, quote)) }
}
