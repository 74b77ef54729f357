/** Where the connection index has a tuple: tuple_hash() and what follows of bpf/connection.h, by the same rule. Pure. */
import { indexLayout } from './layout.js'

const M64 = 0xffff_ffff_ffff_ffffn
const M32 = 0xffff_ffffn

/** What one end sends. Halves of addresses as they lie in memory. */
export interface Tuple {
  readonly srcHi: bigint
  readonly srcLo: bigint
  readonly dstHi: bigint
  readonly dstLo: bigint
  /** Ports as they lie in memory, then the protocol; and TUPLE_IS_REPLY. */
  readonly rest: bigint
}

/** Of NAT by flow: from the backend to the client. */
export const TUPLE_IS_REPLY = 1n << 40n

/** @param keys config.hash_keys */
export const tupleHash = ({ srcHi, srcLo, dstHi, dstLo, rest }: Tuple, keys: readonly bigint[]): bigint => {
  const [k0 = 0n, k1 = 0n, k2 = 0n, k3 = 0n] = keys
  let x =
    (srcLo * k0 +
      dstLo * k1 +
      rest * k2 +
      srcHi * (k3 ^ 0x9e3779b97f4a7c14n) +
      dstHi * (k3 ^ 0xc2b2ae3d27d4eb4en)) &
    M64
  x ^= x >> 32n
  x = (x * k3) & M64
  return x ^ (x >> 29n)
}

/** A tuple's two buckets, of 2^bits. */
export const bucketsOf = (hash: bigint, bits: number): readonly [number, number] => {
  const first = Number(hash >> BigInt(64 - bits))
  return [first, first ^ ((Math.imul(Number(hash & M32), 2654435769 | 0) >>> (32 - bits)) | 1)]
}

/** The index's word for a tuple whose connection lies at `index`. */
export const indexWord = (hash: bigint, index: number): bigint =>
  (1n << BigInt(indexLayout.INDEX_USED_SHIFT)) |
  (((hash >> 14n) << BigInt(indexLayout.INDEX_TAG_SHIFT)) & M64) |
  BigInt(index)
