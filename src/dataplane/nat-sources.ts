/**
 * What all NAT backends' addresses have in common, by family (bpf/replies.h): a packet from elsewhere is no reply, and is
 * not looked up. Bits outside the mask may be anything, so a mask of 0 lets everything through.
 */
import { prefixLayout } from './layout.js'

const WORDS = prefixLayout.size / 8
const MAPPED = '00000000000000000000ffff'

const isIpv4 = (addr: Uint8Array): boolean => Buffer.from(addr).toString('hex').startsWith(MAPPED)

/** The bits in which no two of them differ. */
export const commonMask = (addresses: readonly Uint8Array[]): Uint8Array => {
  const [first, ...others] = addresses
  if (first === undefined) return new Uint8Array(16)
  const mask = new Uint8Array(16).fill(0xff)
  for (const addr of others) for (let i = 0; i < 16; i++) mask[i]! &= ~(addr[i]! ^ first[i]!)
  return mask
}

/** @param addresses of the NAT backends, IPv4 as ::ffff:a.b.c.d */
export const writeNatSources = (memory: ArrayBuffer, addresses: readonly Uint8Array[]): void => {
  const words = new BigUint64Array(memory)
  for (const family of [4, 6] as const) {
    const own = addresses.filter(addr => isIpv4(addr) === (family === 4))
    const record = prefixLayout.encode({ net: own[0] ?? new Uint8Array(16), mask: commonMask(own) })
    const next = new BigUint64Array(record.buffer, record.byteOffset, WORDS)
    const at = family === 4 ? 0 : WORDS
    if (next.every((word, i) => words[at + i] === word)) continue
    // While it changes everything is looked up: the masks go first, and come back last.
    for (const i of [2, 3]) Atomics.store(words, at + i, 0n)
    for (const i of [0, 1, 2, 3]) Atomics.store(words, at + i, next[i]!)
  }
}
