/**
 * A backend's record in memory that packets are read by: changed word by word, so that no packet meets a half of one
 * tunnel and a half of another.
 */
import { backendFlags, backendLayout, forwardMode } from './layout.js'

const { fields } = backendLayout
const wordOf = (field: keyof typeof fields): number => Math.floor(fields[field].offset / 8)

const WORDS = backendLayout.size / 8
/** Mode, flags, MTU, spread: stored at once, and last where the others are to be valid by then. */
export const FLAGS_WORD = wordOf('flags')
const KEY_WORD = wordOf('key')
const SOURCE_WORD = wordOf('source')
/** Of the flags in their word; the first byte is its lowest. */
const FLAGS_SHIFT = BigInt(8 * (fields.flags.offset % 8))
const SHIM_FLAGS = backendFlags.BACKEND_KEYED | backendFlags.BACKEND_BARE

const hasSource: ReadonlySet<number> = new Set([
  forwardMode.FORWARD_IPIP,
  forwardMode.FORWARD_GRE,
  forwardMode.FORWARD_GUE,
])

const isResolved = (record: Uint8Array): boolean =>
  (record[fields.flags.offset]! & backendFlags.BACKEND_RESOLVED) !== 0

const hasKey = (record: Uint8Array): boolean => {
  const mode = record[fields.mode.offset]!
  return (
    mode === forwardMode.FORWARD_GUE ||
    mode === forwardMode.FORWARD_NAT ||
    (mode === forwardMode.FORWARD_GRE && (record[fields.flags.offset]! & backendFlags.BACKEND_KEYED) !== 0)
  )
}

/** Whether packets to the backend are made of a word; those of no tunnel always count. */
const uses = (record: Uint8Array, word: number): boolean => {
  if (word === KEY_WORD) return hasKey(record)
  return word < SOURCE_WORD || hasSource.has(record[fields.mode.offset]!)
}

const differ = (
  a: Uint8Array,
  b: Uint8Array,
  { offset, width }: { offset: number; width: number },
): boolean => {
  for (let i = offset; i < offset + width; i++) if (a[i] !== b[i]) return true
  return false
}

/**
 * Words that a packet may read one old, one new, and that make no sense so: both halves of an address, an address and its
 * spread, a key or port and what it is of, an interface and the MAC addresses on it.
 *
 * @param shared those that change, and that packets are made of before and after
 */
const wouldMix = (before: Uint8Array, after: Uint8Array, shared: readonly number[]): boolean => {
  if (differ(before, after, fields.ifindex)) return true
  const flags = fields.flags.offset
  const isOtherShim =
    differ(before, after, fields.mode) || ((before[flags]! ^ after[flags]!) & SHIM_FLAGS) !== 0
  if (isOtherShim && shared.includes(KEY_WORD)) return true
  const source = shared.filter(word => word >= SOURCE_WORD).length
  return source === 2 || (source === 1 && differ(before, after, fields.spread))
}

/**
 * Words that the old record has no use for come first, then the flags, then those that the new one has no use for. What
 * would mix all the same is unresolved meanwhile: some microseconds.
 *
 * @param at     index of the record's first word
 * @param record as backendLayout encodes it
 */
export const storeRecord = (words: BigUint64Array, at: number, record: Uint8Array): void => {
  const next = new BigUint64Array(record.buffer, record.byteOffset, WORDS)
  const before = new Uint8Array(words.buffer, words.byteOffset + 8 * at, backendLayout.size).slice()
  const [fresh, shared, former]: [number[], number[], number[]] = [[], [], []]
  for (let i = 0; i < WORDS; i++) {
    if (i === FLAGS_WORD || words[at + i] === next[i]) continue
    const list = uses(before, i) ? (uses(record, i) ? shared : former) : fresh
    list.push(i)
  }
  const store = (these: readonly number[]): void => {
    for (const i of these) Atomics.store(words, at + i, next[i]!)
  }
  store(fresh)
  const flagsAt = at + FLAGS_WORD
  if (isResolved(before) && (!isResolved(record) || wouldMix(before, record, shared)))
    Atomics.store(words, flagsAt, words[flagsAt]! & ~(BigInt(backendFlags.BACKEND_RESOLVED) << FLAGS_SHIFT))
  store(shared)
  if (words[flagsAt] !== next[FLAGS_WORD]) Atomics.store(words, flagsAt, next[FLAGS_WORD]!)
  store(former)
}
