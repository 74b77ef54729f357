/**
 * ICMP and ICMPv6: echo requests to a VIP, and errors about a flow. An error quotes either what a backend has sent to
 * its client (the flow's other direction), or a tunnel's packet, in which the client's own lies.
 */
import { concat, readU16, readU32, sameBytes } from '../fixtures/bytes.js'
import { onesComplementSum } from '../fixtures/checksum.js'
import { pseudoHeader } from '../fixtures/transport.js'
import type { IpPacket } from './packet.js'

/** A flow in the direction that the balancer sees: from the client to the VIP. */
export interface Flow {
  readonly version: 4 | 6
  readonly protocol: 'tcp' | 'udp'
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly ports: Uint8Array
}

export interface TunnelError {
  readonly kind: 'tunnel'
  readonly flow: Flow
  /** The outer packet's destination. */
  readonly end: Uint8Array
  /** As much of the client's packet as the error quotes. */
  readonly quote: Uint8Array
  /** What the path takes of the client's packet; null: the error is not about its size. */
  readonly mtu: number | null
}

/** A quoted packet of TCP or UDP, where it lies, and whose packet it is; its end is the error's. */
export interface QuotedFlow {
  readonly version: 4 | 6
  readonly carries: number
  readonly ipAt: number
  readonly transportAt: number
  readonly end: number
  /** As the quoted packet has it. */
  readonly flow: Flow
}

/** Errors about a flow: of what a backend has sent to its client, or of what was sent on to a backend, translated. */
export interface FlowError {
  readonly kind: 'flow' | 'inside'
  /** In the direction of the client's packets; inside: as they are behind the balancer. */
  readonly flow: Flow
  readonly quoted: QuotedFlow
}

export type Message = { readonly kind: 'echo' } | FlowError | TunnelError

/** What an error has said of the path to a tunnel's end. */
export interface PathMtu {
  readonly end: Uint8Array
  readonly mtu: number
}

export interface Reading {
  /** Or the verdict that ends its journey here. */
  readonly message: Message | string
  readonly pathMtu: PathMtu | null
}

/** How far into the frame quoted headers may begin. */
const REACH = 1023

/** A packet that an error quotes. Offsets in the frame. */
interface Quoted {
  readonly version: 4 | 6
  readonly carries: number
  readonly source: Uint8Array
  readonly destination: Uint8Array
  /** What the IP header carries. */
  readonly bodyAt: number
}

/** The quoted fragment must be a flow's first. */
const readQuoted = (frame: Uint8Array, at: number): Quoted | null => {
  const bytes = frame.subarray(at)
  if (at > REACH || bytes.length === 0) return null
  if (bytes[0]! >> 4 === 6) {
    if (bytes.length < 40) return null
    let carries = bytes[6]!
    let body = 40
    for (let followed = 0; followed < 4 && [0, 43, 60].includes(carries); followed++) {
      if (body + 8 > bytes.length) return null
      carries = bytes[body]!
      body += (bytes[body + 1]! + 1) * 8
    }
    const [source, destination] = [bytes.subarray(8, 24), bytes.subarray(24, 40)]
    return { version: 6, carries, source, destination, bodyAt: at + body }
  }
  const headerBytes = (bytes[0]! & 15) * 4
  if (bytes.length < 20 || bytes[0]! >> 4 !== 4 || headerBytes < 20) return null
  if ((readU16(bytes, 6) & 0x1fff) !== 0) return null
  return {
    version: 4,
    carries: bytes[9]!,
    source: bytes.subarray(12, 16),
    destination: bytes.subarray(16, 20),
    bodyAt: at + headerBytes,
  }
}

/** Null: no TCP or UDP, or cut before its ports. */
const flowOf = (frame: Uint8Array, quoted: Quoted): Flow | null => {
  const { version, carries, source, destination, bodyAt } = quoted
  if ((carries !== 6 && carries !== 17) || bodyAt > REACH || bodyAt + 4 > frame.length) return null
  const protocol = carries === 6 ? 'tcp' : 'udp'
  return { version, protocol, source, destination, ports: frame.subarray(bodyAt, bodyAt + 4) }
}

const reversed = (flow: Flow): Flow => ({
  ...flow,
  source: flow.destination,
  destination: flow.source,
  ports: concat(flow.ports.subarray(2, 4), flow.ports.subarray(0, 2)),
})

/** Where the packet begins that a tunnel's packet carries; null: it is none of the balancer's. */
const innerAt = (frame: Uint8Array, { carries, bodyAt }: Quoted): number | null => {
  const body = frame.subarray(bodyAt)
  if (bodyAt > REACH) return null
  if (carries === 4 || carries === 41) return bodyAt
  if (carries === 47) {
    if (body.length < 4) return null
    const flags = readU16(body, 0)
    if (flags !== 0 && flags !== 0x2000) return null
    if (readU16(body, 2) !== 0x0800 && readU16(body, 2) !== 0x86dd) return null
    return bodyAt + (flags === 0 ? 4 : 8)
  }
  if (carries === 17) {
    if (body.length < 8 || readU16(body, 0) < 0xc000) return null
    return bodyAt + (body.length >= 12 && body[8] === 0 ? 12 : 8)
  }
  return null
}

const isError = (version: 4 | 6, type: number): boolean =>
  (version === 4 ? [3, 11, 12] : [1, 2, 3, 4]).includes(type)

/** The MTU of a packet too big; null: the error is another. */
const toldMtu = (version: 4 | 6, bytes: Uint8Array): number | null => {
  if (version === 6) return bytes[0] === 2 ? Math.min(readU32(bytes, 4), 0xffff) : null
  return bytes[0] === 3 && bytes[1] === 4 ? readU16(bytes, 6) : null
}

/** How many bytes of the packet are quoted: the extensions of RFC 4884 may come after them. */
const quotedLength = (version: 4 | 6, bytes: Uint8Array): number => {
  const isExtended = version === 4 || bytes[0] === 1 || bytes[0] === 3
  const said = version === 4 ? bytes[5]! * 4 : bytes[4]! * 8
  return isExtended && said > 0 ? Math.min(said, bytes.length - 8) : bytes.length - 8
}

/** The least MTU of IPv4, RFC 791: what leaves less for the client's packet is made up. */
const LEAST_MTU = 68

/** Whether the message is whole and its checksum right. */
const isIntact = (frame: Uint8Array, packet: IpPacket): boolean => {
  const bytes = frame.subarray(packet.transportAt, packet.end)
  const addresses = { from: packet.source, to: packet.destination }
  const before = packet.version === 4 ? new Uint8Array(0) : pseudoHeader(addresses, 58, bytes.length)
  return packet.ipAt + packet.length <= frame.length && onesComplementSum(concat(before, bytes)) === 0xffff
}

const readTunnelError = (
  frame: Uint8Array,
  packet: IpPacket,
  bytes: Uint8Array,
  at: number,
  outer: Quoted,
): Reading => {
  const version = outer.version
  const quoteAt = innerAt(frame, outer)
  if (quoteAt === null) return { message: 'PASS_NOT_A_SERVICE', pathMtu: null }
  if (!isIntact(frame, packet)) return { message: 'PASS_TUNNEL_ERROR', pathMtu: null }
  const told = toldMtu(version, bytes)
  const pathMtu = told === null || told === 0 ? null : { end: outer.destination, mtu: told }
  const inner = readQuoted(frame, quoteAt)
  const flow = inner === null ? null : flowOf(frame, inner)
  const quoteEnd = at + quotedLength(version, bytes)
  const mtu = told === null ? null : told - (quoteAt - at)
  if (inner === null || flow === null || quoteEnd < inner.bodyAt + 4 || (mtu !== null && mtu < LEAST_MTU))
    return { message: 'PASS_TUNNEL_ERROR', pathMtu }
  const quote = frame.subarray(quoteAt, quoteEnd)
  return { message: { kind: 'tunnel', flow, end: outer.destination, quote, mtu }, pathMtu }
}

/**
 * `isServed`: whether some service has the flow's destination; `isTranslated`: whether a packet of these addresses and
 * ports goes to a backend after its translation.
 */
export const readMessage = (
  frame: Uint8Array,
  packet: IpPacket,
  isServed: (flow: Flow) => boolean,
  isTranslated: (flow: Flow) => boolean,
): Reading => {
  const is = (message: Message | string): Reading => ({ message, pathMtu: null })
  const { version } = packet
  const bytes = frame.subarray(packet.transportAt, packet.end)
  if (packet.transportAt > 255 || bytes.length < 8) return is('PASS_NOT_A_SERVICE')
  if (bytes[0] === (version === 4 ? 8 : 128) && bytes[1] === 0) return is({ kind: 'echo' })
  if (!isError(version, bytes[0]!)) return is('PASS_NOT_A_SERVICE')

  const at = packet.transportAt + 8
  const quoted = readQuoted(frame, at)
  if (quoted === null || quoted.version !== version || !sameBytes(quoted.source, packet.destination))
    return is('PASS_NOT_A_SERVICE')
  const sent = flowOf(frame, quoted)
  if (sent !== null) {
    const { carries, bodyAt } = quoted
    const place = { version, carries, ipAt: at, transportAt: bodyAt, end: packet.end, flow: sent }
    if (isServed(reversed(sent))) return is({ kind: 'flow', flow: reversed(sent), quoted: place })
    if (isTranslated(sent)) return is({ kind: 'inside', flow: sent, quoted: place })
  }
  return readTunnelError(frame, packet, bytes, at, quoted)
}
