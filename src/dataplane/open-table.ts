/**
 * A table by address, port and protocol as the control process keeps it: open addressing over the data plane's own
 * memory. An entry is written whole before the word that makes it valid; a removed one stays as SERVICE_GONE, so that
 * probing goes on past it, and is not used again before every packet under way has left.
 */
import type { Struct } from './codec.js'
import { type serviceLayout, serviceState } from './layout.js'

/** SERVICE_PROBES of bpf/service.h. */
export const SERVICE_PROBES = 4

/** Kept under an eighth full, for mispredicted probes cost more than memory. */
const BUCKETS_PER_ENTRY = 8

const MASK_64 = 0xffff_ffff_ffff_ffffn

export interface TableKey {
  /** 16 bytes, IPv4 mapped. */
  readonly addr: Uint8Array
  readonly port: number
  /** IPPROTO_*. */
  readonly protocol: number
}

/** The records that lie in such a table all begin so: the state's aligned word makes them valid. */
type TableFields = Pick<typeof serviceLayout.fields, 'addr' | 'port' | 'protocol' | 'state'>

/** How a table's records are read and written. */
export interface TableFormat<E extends TableKey> {
  readonly layout: Pick<Struct<TableFields>, 'size' | 'fields'>
  encode(entry: E): Uint8Array
  decode(record: Uint8Array): E
}

/** Buckets for so many entries: a power of two. */
export const bucketsForEntries = (entries: number): number =>
  2 ** Math.ceil(Math.log2(Math.max(entries, 2) * BUCKETS_PER_ENTRY))

const keyText = ({ addr, port, protocol }: TableKey): string =>
  `${Buffer.from(addr).toString('hex')}:${port}/${protocol}`

/** table_hash() of bpf/service.h. */
export const serviceBucket = (key: TableKey, seed: number, mask: number): number => {
  const addr = Buffer.from(key.addr)
  const portOnTheWire = ((key.port & 0xff) << 8) | (key.port >> 8)
  const selector =
    (BigInt(serviceState.SERVICE_USED) << 24n) | (BigInt(key.protocol) << 16n) | BigInt(portOnTheWire)
  const hi = addr.readBigUInt64LE(0)
  let x = addr.readBigUInt64LE(8) ^ (((hi ^ (hi >> 32n)) * 0x9e3779b97f4a7c15n) & MASK_64) ^ selector
  x ^= x >> 32n
  x = ((x ^ BigInt(seed)) * 0xff51afd7ed558ccdn) & MASK_64
  x ^= x >> 23n
  return Number((x >> 32n) & BigInt(mask))
}

export interface OpenTable<E extends TableKey> {
  readonly buckets: number
  /** Writes an entry, or replaces what changes of it. False: no room within the probes; the table must be reseeded. */
  put(entry: E): boolean
  remove(key: TableKey): void
  /** What the memory held at first, and has got since. */
  entries(): readonly E[]
}

/**
 * @param memory  the map's mapping, all zero or as this function left it
 * @param seed    config.service_seed of the program that reads it
 * @param graceMs how long a removed entry's bucket is left alone
 * @param now     milliseconds
 */
export const createOpenTable = <E extends TableKey>(
  { layout, encode, decode }: TableFormat<E>,
  memory: ArrayBuffer,
  seed: number,
  graceMs: number,
  now: () => number,
): OpenTable<E> => {
  const buckets = memory.byteLength / layout.size
  const words = new BigUint64Array(memory)
  const wordsPerEntry = layout.size / 8
  const stateAt = layout.fields.state.offset
  const validWord = Math.floor(stateAt / 8)
  const GONE = BigInt(serviceState.SERVICE_GONE) << BigInt(8 * (stateAt % 8))
  const placed = new Map<string, number>()
  const owner = new Map<number, string>()
  const goneSince = new Map<number, number>()

  const isFree = (bucket: number): boolean => {
    const since = goneSince.get(bucket)
    return !owner.has(bucket) && (since === undefined || now() - since >= graceMs)
  }

  const write = (bucket: number, entry: E): void => {
    const next = new BigUint64Array(encode(entry).buffer)
    const at = bucket * wordsPerEntry
    for (let i = 0; i < wordsPerEntry; i++)
      if (i !== validWord && Atomics.load(words, at + i) !== next[i]!) Atomics.store(words, at + i, next[i]!)
    Atomics.store(words, at + validWord, next[validWord]!)
  }

  const state = (bucket: number): number => new Uint8Array(memory)[bucket * layout.size + stateAt]!

  /**
   * Gone entries that nothing lies behind are empty again, once their grace is over: before, an insert would pass them
   * by, and probing would end at them.
   */
  const tidy = (): void => {
    for (let found = true; found; ) {
      found = false
      for (const [bucket, since] of goneSince) {
        if (now() - since < graceMs || state((bucket + 1) % buckets) !== serviceState.SERVICE_EMPTY) continue
        Atomics.store(words, bucket * wordsPerEntry + validWord, 0n)
        goneSince.delete(bucket)
        found = true
      }
    }
  }

  const entryAt = (bucket: number): E => decode(new Uint8Array(memory, bucket * layout.size, layout.size))

  for (let bucket = 0; bucket < buckets; bucket++) {
    if (state(bucket) === serviceState.SERVICE_GONE) goneSince.set(bucket, now())
    if (state(bucket) !== serviceState.SERVICE_USED) continue
    const text = keyText(entryAt(bucket))
    placed.set(text, bucket)
    owner.set(bucket, text)
  }

  return {
    buckets,
    entries: () => [...owner.keys()].map(entryAt),
    put: entry => {
      const text = keyText(entry)
      let bucket = placed.get(text)
      if (bucket === undefined) {
        const home = serviceBucket(entry, seed, buckets - 1)
        for (let probe = 0; probe < SERVICE_PROBES && bucket === undefined; probe++) {
          const candidate = (home + probe) % buckets
          if (isFree(candidate)) bucket = candidate
        }
        if (bucket === undefined) return false
        placed.set(text, bucket)
        owner.set(bucket, text)
        goneSince.delete(bucket)
      }
      write(bucket, entry)
      return true
    },
    remove: key => {
      const text = keyText(key)
      const bucket = placed.get(text)
      if (bucket === undefined) return
      Atomics.store(words, bucket * wordsPerEntry + validWord, GONE)
      placed.delete(text)
      owner.delete(bucket)
      goneSince.set(bucket, now())
      tidy()
    },
  }
}
