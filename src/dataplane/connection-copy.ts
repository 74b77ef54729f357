/**
 * Connections go on in another map, under other numbers, or in another index. The data plane goes on meanwhile: first it
 * reads and writes the former maps; then the new ones, and what it wrote in the former ones since is brought along.
 */
import { bucketsOf, indexWord, TUPLE_IS_REPLY, type Tuple, tupleHash } from './connection-hash.js'
import { backendLayout, connectionKind, connectionLayout, flowLayout } from './layout.js'

const { size, fields } = connectionLayout
const WORDS = size / 8
const LIFE = fields.expires.offset / 8
const PORT_BITS = 16
const PORTS = 2 ** PORT_BITS
const { CONNECTION_CLAIMED, CONNECTION_NAT, CONNECTION_KIND_MASK } = connectionKind
const KIND_SHIFT = BigInt(8 * (fields.kind.offset - fields.expires.offset))
const PROTOCOL_SHIFT = BigInt(8 * (fields.protocol.offset - fields.expires.offset))
/** Both ends' sets of enum connection_seen. */
const SEEN_MASK = 0xffffn << BigInt(8 * (fields.clientSeen.offset - fields.expires.offset))
const CLAIMED_KIND = BigInt(CONNECTION_CLAIMED) << KIND_SHIFT
const M32 = 0xffff_ffffn

export interface ConnectionCopy {
  readonly from: ArrayBuffer
  /** The very same memory: only the index is another one. */
  readonly to: ArrayBuffer
  /** The index of the second; null: the first's. */
  readonly index: ArrayBuffer | null
  /** By number of the first: that of the second; -1: none. */
  readonly numbers: Int32Array
  /** config.hash_keys of the second. */
  readonly keys: readonly bigint[]
  /** Reads the backends' records, for NAT by flow. */
  readonly backends: ArrayBuffer
  /** Reading of the connection clock. */
  readonly now: number
}

export interface ConnectionsCopied {
  readonly copied: number
  /** They had no place. */
  readonly lost: number
}

const kindOf = (life: bigint): number => Number(life >> KIND_SHIFT) & CONNECTION_KIND_MASK
const expiresOf = (life: bigint): number => Number(life & M32)

const portWord = new DataView(new ArrayBuffer(8))
/** A port and another, as they lie in memory. */
const portsAt = (first: number, second: number): bigint => {
  portWord.setUint16(0, first, true)
  portWord.setUint16(2, second, true)
  return BigInt(portWord.getUint32(0, true))
}

/** What tells two connections apart: words 0..4 are the addresses and the ports. */
const TUPLE_WORDS = 4
const PORTS_WORD = fields.clientPort.offset / 8

export const createConnectionCopy = (options: ConnectionCopy) => {
  const { from, to, index, numbers, keys, now } = options
  const isSameMap = from === to
  const [source, target] = [new BigUint64Array(from), new BigUint64Array(to)]
  const entries = Math.min(source.length / WORDS, numbers.length * PORTS)
  const words = index ? new BigUint64Array(index) : null
  const bits = words ? Math.log2(words.length / flowLayout.FLOWS_PER_BUCKET) : 0
  const backends = new Uint8Array(options.backends)
  /** By entry of the first: what its life was when it was copied. */
  const shadow = new BigUint64Array(entries)

  const isLive = (life: bigint): boolean => kindOf(life) > CONNECTION_CLAIMED && expiresOf(life) >= now
  const placeOf = (i: number): number => {
    const number = numbers[i >> PORT_BITS]!
    return number < 0 ? -1 : number * PORTS + (i & (PORTS - 1))
  }

  const clientTuple = (memory: BigUint64Array, at: number, life: bigint): Tuple => ({
    srcHi: memory[at]!,
    srcLo: memory[at + 1]!,
    dstHi: memory[at + 2]!,
    dstLo: memory[at + 3]!,
    rest: (memory[at + PORTS_WORD]! & M32) | (((life >> PROTOCOL_SHIFT) & 0xffn) << 32n),
  })
  /** What the backend of a connection of NAT by flow sends. */
  const replyTuple = (client: Tuple, backend: number): Tuple | null => {
    const at = backend * backendLayout.size
    if (at + backendLayout.size > backends.length) return null
    const { addr, port } = backendLayout.fields
    const halves = new BigUint64Array(backends.slice(at + addr.offset, at + addr.offset + 16).buffer)
    const view = new DataView(backends.buffer, backends.byteOffset + at)
    const ports = Number(client.rest & M32)
    const own = view.getUint16(port.offset, true) || ports >>> 16
    return {
      srcHi: halves[0]!,
      srcLo: halves[1]!,
      dstHi: client.srcHi,
      dstLo: client.srcLo,
      rest: TUPLE_IS_REPLY | (client.rest & 0xff_0000_0000n) | portsAt(own, ports & 0xffff),
    }
  }
  const wordsOf = (memory: BigUint64Array, at: number, life: bigint, place: number) => {
    const client = clientTuple(memory, at, life)
    const reply =
      kindOf(life) === CONNECTION_NAT ? replyTuple(client, Number(memory[at + PORTS_WORD]! >> 32n)) : null
    return [client, ...(reply ? [reply] : [])].map(tuple => {
      const hash = tupleHash(tuple, keys)
      return { buckets: bucketsOf(hash, bits), word: indexWord(hash, place) }
    })
  }
  type IndexEntry = ReturnType<typeof wordsOf>[number]

  const slotsOf = (bucket: number): number => bucket * flowLayout.FLOWS_PER_BUCKET
  const findWord = ({ buckets, word }: IndexEntry): number | null => {
    for (const bucket of buckets)
      for (let i = slotsOf(bucket); i < slotsOf(bucket + 1); i++) if (words![i] === word) return i
    return null
  }
  const insert = (entry: IndexEntry): boolean => {
    if (findWord(entry) !== null) return true
    for (const bucket of entry.buckets)
      for (let i = slotsOf(bucket); i < slotsOf(bucket + 1); i++)
        if (words![i] === 0n && Atomics.compareExchange(words!, i, 0n, entry.word) === 0n) return true
    return false
  }
  /** False: one of its tuples has no place. */
  const putIntoIndex = (memory: BigUint64Array, at: number, life: bigint, place: number): boolean =>
    words === null || wordsOf(memory, at, life, place).every(insert)
  const takeFromIndex = (memory: BigUint64Array, at: number, life: bigint, place: number): void => {
    if (words === null) return
    for (const entry of wordsOf(memory, at, life, place)) {
      const i = findWord(entry)
      if (i !== null) Atomics.compareExchange(words, i, entry.word, 0n)
    }
  }

  /** All but its life, as long as that stays what it was read as. */
  const copyEntry = (at: number, life: bigint, place: number): boolean => {
    const out = place * WORDS
    for (let word = 0; word < WORDS; word++) if (word !== LIFE) target[out + word] = source[at + word]!
    return Atomics.load(source, at + LIFE) === life
  }

  const copy = (): ConnectionsCopied => {
    let copied = 0
    let lost = 0
    for (let i = 0; i < entries; i++) {
      const at = i * WORDS
      const life = source[at + LIFE]!
      if (!isLive(life)) continue
      const place = placeOf(i)
      if (place < 0) {
        lost++
        continue
      }
      if (!isSameMap) {
        if (!copyEntry(at, life, place)) continue // it is written just now: afterwards
        target[place * WORDS + LIFE] = life
      }
      shadow[i] = life
      copied++
      if (!putIntoIndex(isSameMap ? source : target, place * WORDS, life, place)) lost++
    }
    return { copied, lost }
  }

  const isSameTuple = (at: number, out: number): boolean => {
    for (let word = 0; word < TUPLE_WORDS; word++) if (source[at + word] !== target[out + word]) return false
    return ((source[at + PORTS_WORD]! ^ target[out + PORTS_WORD]!) & M32) === 0n
  }

  /** Its life is what it was; it may be another one's all the same. */
  const isAsCopied = (i: number, at: number): boolean => {
    const place = isSameMap ? -1 : placeOf(i)
    return place < 0 || isSameTuple(at, place * WORDS)
  }

  /** Both ends were heard by either program: the longer life counts, and all that was said. */
  const joined = (a: bigint, b: bigint): bigint =>
    (b & ~M32) | (a & SEEN_MASK) | BigInt(Math.max(expiresOf(a), expiresOf(b)))

  /** @returns whether what the first program wrote is in the second's map; null: there is nothing to do */
  const mergeEntry = (i: number, at: number, life: bigint): boolean | null => {
    const place = placeOf(i)
    if (place < 0) return false
    const out = place * WORDS
    const there = Atomics.load(target, out + LIFE)
    const isThere = kindOf(there) > CONNECTION_CLAIMED && isSameTuple(at, out)
    if (isThere) {
      const next = there === shadow[i] ? life : joined(life, there)
      return next === there || Atomics.compareExchange(target, out + LIFE, there, next) === there
        ? null
        : false
    }
    if (kindOf(there) === CONNECTION_CLAIMED || (isLive(there) && there !== shadow[i])) return false
    if (Atomics.compareExchange(target, out + LIFE, there, CLAIMED_KIND | BigInt(now)) !== there) return false
    if (kindOf(there) > CONNECTION_CLAIMED) takeFromIndex(target, out, there, place)
    const isWhole = copyEntry(at, life, place)
    const isIn = isWhole && putIntoIndex(target, out, life, place)
    Atomics.store(target, out + LIFE, isIn ? life : 0n)
    return isIn
  }

  return {
    /** Before the second program runs. */
    copy,
    /** When the first one runs no more: what it has written since. */
    merge: (): ConnectionsCopied => {
      let copied = 0
      let lost = 0
      for (let i = 0; i < entries; i++) {
        const at = i * WORDS
        const life = Atomics.load(source, at + LIFE)
        if (!isLive(life) || (life === shadow[i] && isAsCopied(i, at))) continue
        const done = isSameMap ? putIntoIndex(source, at, life, i) : mergeEntry(i, at, life)
        if (done === true) copied++
        if (done === false) lost++
      }
      return { copied, lost }
    },
  }
}
