/** The flow hash and the slot it chooses, in exact integers. */
import type { ServiceEntry, Tables } from './tables.js'

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value)

const littleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)

export interface FlowBytes {
  /** 4 or 16 bytes. */
  readonly source: Uint8Array
  /** The first 4 bytes of the L4 header. */
  readonly ports: Uint8Array
}

export const flowHash = (
  tables: Pick<Tables, 'hashKeys'>,
  service: Pick<ServiceEntry, 'hash' | 'hashSeed'>,
  { source, ports }: FlowBytes,
): bigint => {
  const [key0, key1, key2, key3] = tables.hashKeys
  const has = (part: ServiceEntry['hash'][number]): boolean => service.hash.includes(part)
  const portWord =
    (has('source-port') ? littleEndian(ports.subarray(0, 2)) : 0n) |
    (has('destination-port') ? littleEndian(ports.subarray(2, 4)) << 16n : 0n)
  let word = portWord << 32n
  if (source.length === 4) {
    if (has('source')) word |= littleEndian(source)
  } else {
    const upper = has('source') ? littleEndian(source.subarray(0, 8)) : 0n
    const lower = has('source') ? littleEndian(source.subarray(8)) : 0n
    const folded = wrap(upper * key2 + lower * key3)
    word ^= folded ^ (folded >> 32n)
  }
  let hash = wrap((word ^ service.hashSeed) * key0)
  hash = wrap((hash ^ (hash >> 32n)) * key1)
  return hash ^ (hash >> 29n)
}

export const slotOf = (hash: bigint, ringSize: number): number =>
  Number(((hash >> 32n) * BigInt(ringSize)) >> 32n)
