/** A router's error about a tunnel's packet, told to the client (RFC 2003 4, RFC 2473 8). */
import { mapped, mappedAddress } from '../fixtures/addresses.js'
import { sameBytes, u16 } from '../fixtures/bytes.js'
import { back, type ErrorKind, error, isFromHost } from './answer.js'
import type { TunnelError } from './message.js'
import type { IpPacket } from './packet.js'
import type { BackendEntry } from './tables.js'

const kindOf = (version: 4 | 6, mtu: number | null): ErrorKind => {
  if (mtu === null) return version === 4 ? { type: 3, code: 1 } : { type: 1, code: 3 }
  return version === 4 ? { type: 3, code: 4, rest: mtu } : { type: 2, code: 0, rest: mtu }
}

export const tellClient = (
  frame: Uint8Array,
  packet: IpPacket,
  { flow, end, quote, mtu }: TunnelError,
  backend: BackendEntry,
): { readonly verdict: string; readonly packet: Uint8Array } => {
  const isOurs = backend.tunnel !== null && sameBytes(mappedAddress(backend.tunnel.to), mapped(end))
  const received = { ...flow, ipAt: packet.ipAt, end: packet.end }
  if (!isOurs || !isFromHost(received)) return { verdict: 'PASS_TUNNEL_ERROR', packet: frame }
  const answer = back(frame, received, error(flow.version, kindOf(flow.version, mtu), quote))
  answer.set(u16(flow.version === 4 ? 0x0800 : 0x86dd), packet.ipAt - 2)
  return { verdict: 'TX_TUNNEL_ERROR', packet: answer }
}
