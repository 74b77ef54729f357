/**
 * What a change of addresses and ports adds to a one's-complement sum (RFC 1071, RFC 1624 eqn. 3 without the outer
 * complements), of 16-bit words as they lie in memory. Pure.
 */

/** The address of one end, and its port. */
export interface End {
  /** 16 bytes, IPv4 mapped. */
  readonly addr: Uint8Array
  /** 0: the packet's own, which stays. */
  readonly port: number
}

/** 2^16 - 1: what such sums are modulo. */
const MODULUS = 0xffff

const sumOf = (bytes: Uint8Array): number => {
  const words = new Uint16Array(bytes.slice().buffer)
  return words.reduce((sum, word) => sum + word, 0)
}

const delta = (before: number, after: number): number => (((after - before) % MODULUS) + MODULUS) % MODULUS

const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 0xff)

/** Of the L4 checksum, whose pseudo-header has the addresses: 0..0xfffe. */
export const l4Delta = (from: End, to: End): number => {
  const arePorts = from.port !== 0 && to.port !== 0
  const sum = ({ addr, port }: End): number => sumOf(addr) + (arePorts ? sumOf(portBytes(port)) : 0)
  return delta(sum(from), sum(to))
}

/** Of the IPv4 header's; an IPv6 header has none, and nobody reads this then. */
export const l3Delta = (from: End, to: End): number => delta(sumOf(from.addr), sumOf(to.addr))

/** backend.key of NAT: both, in the order and the words of memory. */
export const keyOfDeltas = (l4: number, l3: number): number =>
  new DataView(Uint16Array.of(l4, l3).buffer).getUint32(0)
