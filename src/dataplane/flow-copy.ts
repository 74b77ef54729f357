/**
 * Copies a flow cache into another one, of another size or another build's, while the program that uses the first goes
 * on; and, when the other program runs, what the first has learnt since. A larger one holds every entry. In a smaller one
 * entries that say no more than their slot does give way; those that say more are never dropped: `lost` counts them.
 */
import { type Entry, type EntryFormat, entryWord, LOW, movedTo, ownFormat, readEntry } from './flow-entry.js'

export interface CopiedCache {
  readonly memory: ArrayBuffer
  readonly format: EntryFormat
}

export interface CopyOptions {
  readonly from: CopiedCache
  /** Of this build. */
  readonly to: ArrayBuffer
  /** Bits of the hash that both know beyond those of the slot. */
  readonly tail: number
  /** Whether an entry says more than its slot does: without it its flow would go elsewhere. */
  readonly isException: (entry: Entry, bucket: number, bits: number) => boolean
}

export interface Copied {
  readonly copied: number
  /** Exceptions that found no place: the copy is not to be used. */
  readonly lost: number
  /** What was read. */
  readonly shadow: Uint32Array
}

const bitsFor = (memory: ArrayBuffer, { stride }: EntryFormat): number =>
  Math.log2(memory.byteLength / 8 / stride)

export const copyFlows = ({ from, to, tail, isException }: CopyOptions): Copied => {
  const { format } = from
  const shadow = new Uint32Array(from.memory.slice(0))
  const out = new BigUint64Array(to)
  const [bits, wanted] = [bitsFor(from.memory, format), bitsFor(to, ownFormat)]
  const used = new Uint8Array(2 ** wanted)
  let copied = 0
  let lost = 0

  const put = (bucket: number, word: bigint): boolean => {
    if (used[bucket]! >= ownFormat.perBucket) return false
    out[bucket * ownFormat.stride + used[bucket]!++] = word
    copied++
    return true
  }
  /** Entries that say nothing of their own: they take what places are left in their bucket. */
  let rest: { readonly bucket: number; readonly word: bigint }[] = []
  const sources = 2 ** bits
  const perTarget = Math.max(1, 2 ** (bits - wanted))
  const isTight = sources * format.perBucket > out.length
  for (let bucket = 0; bucket < sources; bucket++) {
    for (let i = 0; i < format.perBucket; i++) {
      const place = 2 * (bucket * format.stride + i)
      const [low, high] = [shadow[place + LOW]!, shadow[place + 1 - LOW]!]
      if (low === 0 && high === 0) continue
      const entry = readEntry(low, high, format)
      const moved = movedTo(bucket, entry.print, bits, wanted, tail)
      const word = entryWord({ ...entry, print: moved.print })
      if (isTight && !isException(entry, bucket, bits)) rest.push({ bucket: moved.bucket, word })
      else if (!put(moved.bucket, word)) lost++
    }
    if ((bucket + 1) % perTarget !== 0) continue
    for (const one of rest) put(one.bucket, one.word)
    rest = []
  }
  return { copied, lost, shadow }
}

/** After the other program has begun: what the first one has changed since `copyFlows` read it. */
export const mergeFlows = ({ from, to, tail }: CopyOptions, shadow: Uint32Array): number => {
  const { format } = from
  const now = new Uint32Array(from.memory)
  const out = new BigUint64Array(to)
  const [bits, wanted] = [bitsFor(from.memory, format), bitsFor(to, ownFormat)]
  let merged = 0

  /** The place of a flow's entry, of an empty one, or -1. */
  const find = (bucket: number, print: number): number => {
    let empty = -1
    for (let i = 0; i < ownFormat.perBucket; i++) {
      const at = bucket * ownFormat.stride + i
      const word = Atomics.load(out, at)
      if (word === 0n) empty = empty < 0 ? at : empty
      else if (Number(word >> BigInt(ownFormat.printShift)) === print) return at
    }
    return empty
  }
  const wordAt = (words: Uint32Array, place: number, bucket: number) => {
    const [low, high] = [words[2 * place + LOW]!, words[2 * place + 1 - LOW]!]
    if (low === 0 && high === 0) return null
    const entry = readEntry(low, high, format)
    const moved = movedTo(bucket, entry.print, bits, wanted, tail)
    return { ...entry, ...moved, word: entryWord({ ...entry, print: moved.print }) }
  }

  for (let bucket = 0; bucket < 2 ** bits; bucket++)
    for (let i = 0; i < format.perBucket; i++) {
      const place = bucket * format.stride + i
      if (now[2 * place] === shadow[2 * place] && now[2 * place + 1] === shadow[2 * place + 1]) continue
      const was = wordAt(shadow, place, bucket)
      const is = wordAt(now, place, bucket)
      // The other program may have written since: then its word stands.
      const stale = was ? find(was.bucket, was.print) : -1
      if (was && is && was.print === is.print && was.bucket === is.bucket) {
        if (stale >= 0) Atomics.compareExchange(out, stale, was.word, is.word)
        continue
      }
      if (was && stale >= 0) Atomics.compareExchange(out, stale, was.word, 0n)
      if (!is) continue
      const at = find(is.bucket, is.print)
      if (at >= 0 && Atomics.compareExchange(out, at, 0n, is.word) === 0n) merged++
    }
  return merged
}
