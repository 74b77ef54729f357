/** What `explain` says beyond the verdict: how a packet was encapsulated, or why it was too long. Pure. */
import { addressText } from './address.js'
import { innerMtu, overheadOf } from './dataplane/encapsulation.js'
import type { Verdict } from './dataplane/verdicts.js'
import type { Forward } from './model.js'

const ETHERNET_BYTES = 14
const TAG_BYTES = 4
const VLAN_TYPES = [0x8100, 0x88a8]
const UDP = 17

/** As it left; lengths in bytes of IP packets. */
export interface Encapsulation {
  readonly mode: Forward['mode']
  readonly source: string
  readonly destination: string
  /** GUE. */
  readonly sourcePort: number | null
  readonly port: number | null
  readonly variant: 0 | 1 | null
  /** GRE. */
  readonly key: number | null
  /** The packet, the headers ahead of it, and both, which is at most the path's MTU. */
  readonly packet: number
  readonly headers: number
  readonly total: number
  readonly mtu: number
}

/** The way to a backend. */
export interface Way {
  readonly address: string
  readonly forward: Forward
  /** Of a packet as it leaves; null: the way is not known. */
  readonly pathMtu: number | null
  /** Why it is not. */
  readonly reason: string | null
}

interface IpHeader {
  readonly source: string
  readonly destination: string
  readonly total: number
  readonly protocol: number
  /** In the frame, of what follows the header. */
  readonly next: number
}

/** null: no IP packet. */
const ipHeaderOf = (frame: Uint8Array): IpHeader | null => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  let at = ETHERNET_BYTES
  while (at + TAG_BYTES <= frame.length && VLAN_TYPES.includes(view.getUint16(at - 2))) at += TAG_BYTES
  const version = at < frame.length ? frame[at]! >> 4 : 0
  const address = (offset: number, length: number): string =>
    addressText(frame.subarray(at + offset, at + offset + length))
  if (version === 4 && at + 20 <= frame.length)
    return {
      source: address(12, 4),
      destination: address(16, 4),
      total: view.getUint16(at + 2),
      protocol: frame[at + 9]!,
      next: at + 4 * (frame[at]! & 15),
    }
  if (version === 6 && at + 40 <= frame.length)
    return {
      source: address(8, 16),
      destination: address(24, 16),
      total: 40 + view.getUint16(at + 4),
      protocol: frame[at + 6]!,
      next: at + 40,
    }
  return null
}

/** @param frame as it left; null: it did not leave through a tunnel */
export const encapsulationOf = (
  frame: Uint8Array,
  verdict: Verdict,
  { address, forward, pathMtu }: Way,
): Encapsulation | null => {
  const outer = ipHeaderOf(frame)
  if (!outer || !/^(TX|REDIRECT)_(IPIP|GRE|GUE)$/.test(verdict)) return null
  const headers = overheadOf(forward, address)
  const ports = outer.protocol === UDP ? new DataView(frame.buffer, frame.byteOffset + outer.next, 4) : null
  return {
    mode: forward.mode,
    source: outer.source,
    destination: outer.destination,
    sourcePort: ports?.getUint16(0) ?? null,
    port: ports?.getUint16(2) ?? null,
    variant: forward.mode === 'gue' ? forward.variant : null,
    key: forward.mode === 'gre' ? forward.key : null,
    packet: outer.total - headers,
    headers,
    total: outer.total,
    mtu: pathMtu ?? 0,
  }
}

const sizes = (frame: Uint8Array, { address, forward, pathMtu }: Way): string => {
  const packet = ipHeaderOf(frame)?.total ?? 0
  const headers = overheadOf(forward, address)
  const sum = headers === 0 ? `${packet}` : `${packet} + ${headers} of ${forward.mode} = ${packet + headers}`
  return `${sum} bytes, more than the path's MTU of ${pathMtu ?? 0}`
}

/**
 * Why a packet ended as it did, where the verdict's name leaves something to say.
 *
 * @param frame as it came
 * @param way   to its backend; null: it has none
 */
export const reasonOf = (
  verdict: Verdict,
  frame: Uint8Array,
  way: Way | null,
  entryMtu: number,
): string | null => {
  const told = way && innerMtu(way.pathMtu ?? 0, way.forward, way.address)
  switch (verdict) {
    case 'TX_TOO_BIG':
      return way && `${sizes(frame, way)}: the client is told ${told}`
    case 'DROP_TOO_BIG':
      return (
        way && `${sizes(frame, way)}, and nobody is to be told: no DF, an ICMP error, or no host's address`
      )
    case 'DROP_TOO_BIG_LIMITED':
      return way && `${sizes(frame, way)}, and the rate limit lets nobody be told`
    case 'DROP_AGGREGATED':
      return `${ipHeaderOf(frame)?.total ?? 0} bytes, more than the MTU of ${entryMtu} where it came in: several packets merged (GRO, LRO)`
    case 'DROP_NO_HEADROOM':
      return (
        way &&
        `no room ahead of the frame for the ${overheadOf(way.forward, way.address)} bytes of ${way.forward.mode}`
      )
    case 'DROP_NO_NEXT_HOP':
      return way && way.forward.mode !== 'dr' ? way.reason : null
    case 'DROP_PING':
    case 'PASS_PING':
      return 'an echo request to a VIP, by its services’ ping, or one that is not to be answered'
    case 'DROP_PING_LIMITED':
      return 'the rate limit lets this echo request go unanswered'
    case 'PASS_TUNNEL_ERROR':
      return 'an ICMP error about a tunnel’s packet, of which no client is to be told'
    case 'TX_TUNNEL_ERROR':
      return 'an ICMP error about a tunnel’s packet, told to its client'
    case 'DROP_NO_CONNECTION':
    case 'TX_NO_CONNECTION':
      return 'of no connection that is known here, and none that it could open'
    case 'DROP_EXHAUSTED':
    case 'TX_EXHAUSTED':
      return 'a new connection, and no local port is free for it'
    case 'TX_TIME_EXCEEDED':
      return 'its TTL ends here: its sender is told'
    case 'DROP_TTL_EXPIRED':
    case 'DROP_TTL_LIMITED':
      return 'its TTL ends here, and nobody is to be told, or the rate limit lets nobody be told'
    case 'DROP_UNTRANSLATABLE':
      return 'an ICMP message that the other address family has no counterpart of (RFC 7915)'
    default:
      return null
  }
}
