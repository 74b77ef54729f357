/** A packet longer than the path to its backend takes (RFC 1191, 8201), or than its own interface does. */
import { back, error, isFromGroup, isFromHost, routerError } from './answer.js'
import type { IpPacket } from './packet.js'
import type { InterfaceEntry } from './tables.js'

/** `entryMtu` is that of the interface that the frame came in by; `router`: whose own address says it, else the destination. */
export const tooBig = (
  frame: Uint8Array,
  packet: IpPacket,
  mtu: number,
  entryMtu: number,
  router?: InterfaceEntry,
): { readonly verdict: string; readonly packet: Uint8Array } => {
  if (frame.length - packet.ipAt > entryMtu) return { verdict: 'DROP_AGGREGATED', packet: frame }
  if (!packet.dontFragment || isFromGroup(frame) || !isFromHost(packet))
    return { verdict: 'DROP_TOO_BIG', packet: frame }
  const kind = packet.version === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: mtu }
  if (router !== undefined) {
    const said = routerError(frame, packet, kind, router)
    return said === null
      ? { verdict: 'DROP_TOO_BIG', packet: frame }
      : { verdict: 'TX_TOO_BIG', packet: said }
  }
  const quote = frame.subarray(packet.ipAt, packet.end)
  return { verdict: 'TX_TOO_BIG', packet: back(frame, packet, error(packet.version, kind, quote)) }
}
