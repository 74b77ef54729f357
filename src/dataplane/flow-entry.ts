/** An entry of the flow cache, in this build's words or another's; and where it lies in a cache of another size. Pure. */
import { flowClass, flowLayout, slotLayout } from './layout.js'
import type { MapLayout } from './map-layout.js'

const { FLOW_FINGERPRINT_BITS, FLOW_SEEN_BITS, FLOWS_PER_BUCKET } = flowLayout
const SPARE_BITS = 32 - FLOW_FINGERPRINT_BITS
const ID_BITS = slotLayout.SLOT_CURRENT_BITS
/** Which half of a u64 is the lower one, as 32-bit words. */
export const LOW = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1

export interface Entry {
  readonly id: number
  readonly seen: number
  readonly kind: number
  readonly print: number
}

/** Which bits are what, and how many entries a bucket has. */
export interface EntryFormat {
  readonly perBucket: number
  /** u64 from one bucket to the next. */
  readonly stride: number
  readonly seenShift: number
  readonly kindShift: number
  readonly printShift: number
}

export const ownFormat: EntryFormat = {
  perBucket: FLOWS_PER_BUCKET,
  stride: FLOWS_PER_BUCKET,
  seenShift: flowLayout.FLOW_SEEN_SHIFT,
  kindShift: flowLayout.FLOW_CLASS_SHIFT,
  printShift: flowLayout.FLOW_FINGERPRINT_SHIFT,
}

/** What must mean the same. */
const common = {
  ...flowClass,
  FLOW_FINGERPRINT_BITS,
  FLOW_SEEN_BITS,
  FLOW_SECONDS_PER_UNIT: flowLayout.FLOW_SECONDS_PER_UNIT,
}

/** How to read another build's cache; a string says why that cannot be. */
export const formatOf = ({ size, fields, values }: MapLayout): EntryFormat | string => {
  const entries = fields.get('entries')
  const [seenShift, kindShift, printShift] = ['SEEN', 'CLASS', 'FINGERPRINT'].map(name =>
    values.get(`FLOW_${name}_SHIFT`),
  )
  const other = Object.entries(common).filter(([name, value]) => values.get(name) !== value)
  if (other.length > 0) return `${other.map(([name]) => name).join(', ')} is another`
  if (entries?.offset !== 0 || size % 8 !== 0) return 'its buckets are built otherwise'
  if (seenShift === undefined || kindShift === undefined || printShift === undefined)
    return 'it does not say which bits are what'
  return { perBucket: entries.width / 8, stride: size / 8, seenShift, kindShift, printShift }
}

/** `width` bits of a u64 from `shift` on, from its halves. */
const bitsOf = (low: number, high: number, shift: number, width: number): number => {
  const mask = 2 ** width - 1
  if (shift >= 32) return ((high >>> (shift - 32)) & mask) >>> 0
  if (shift + width <= 32) return ((low >>> shift) & mask) >>> 0
  return (((low >>> shift) | (high << (32 - shift))) & mask) >>> 0
}

export const readEntry = (low: number, high: number, format: EntryFormat): Entry => ({
  id: bitsOf(low, high, 0, ID_BITS),
  seen: bitsOf(low, high, format.seenShift, FLOW_SEEN_BITS),
  kind: bitsOf(low, high, format.kindShift, 2),
  print: bitsOf(low, high, format.printShift, FLOW_FINGERPRINT_BITS),
})

/** In this build's words. */
export const entryWord = ({ id, seen, kind, print }: Entry): bigint =>
  (BigInt(print) << BigInt(ownFormat.printShift)) |
  (BigInt(kind) << BigInt(ownFormat.kindShift)) |
  (BigInt(seen) << BigInt(ownFormat.seenShift)) |
  BigInt(id)

/** The hash bits that an entry tells of: those that gave the slot, multiplied (recall() of bpf/recall.h), and the tail. */
export const spreadOf = (bucket: number, print: number, bits: number): number =>
  ((bucket << (32 - bits)) | (print >>> (bits - SPARE_BITS))) >>> 0

/** A flow's place in a cache of another size. @param tail bits of the hash that both know */
export const movedTo = (
  bucket: number,
  print: number,
  from: number,
  to: number,
  tail: number,
): { readonly bucket: number; readonly print: number } => {
  const spread = spreadOf(bucket, print, from)
  return {
    bucket: spread >>> (32 - to),
    print: (((spread << to) >>> SPARE_BITS) | (print & (2 ** tail - 1))) >>> 0,
  }
}
