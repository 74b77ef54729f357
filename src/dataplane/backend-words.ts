/**
 * A backend's record in memory that packets are read by: changed word by word, so that no packet meets a half of one
 * tunnel and a half of another.
 */
import { backendFlags, backendLayout, forwardMode } from './layout.js'

type BackendRecord = ReturnType<typeof backendLayout.decode>

const wordOf = (field: keyof typeof backendLayout.fields): number =>
  Math.floor(backendLayout.fields[field].offset / 8)

const WORDS = backendLayout.size / 8
/** Mode, flags, MTU, spread: stored at once, and last where the others are to be valid by then. */
export const FLAGS_WORD = wordOf('flags')
const KEY_WORD = wordOf('key')
const SOURCE_WORDS = [wordOf('source'), wordOf('source') + 1] as const

const isTunnel = ({ mode }: BackendRecord): boolean => mode > forwardMode.FORWARD_DR

const hasKey = ({ mode, flags }: BackendRecord): boolean =>
  mode === forwardMode.FORWARD_GUE ||
  (mode === forwardMode.FORWARD_GRE && (flags & backendFlags.BACKEND_KEYED) !== 0)

/** Whether packets to the backend are made of a word; those of no tunnel always count. */
const uses = (record: BackendRecord, word: number): boolean => {
  if (word === KEY_WORD) return hasKey(record)
  return SOURCE_WORDS.some(source => source === word) ? isTunnel(record) : true
}

const SHIM_FLAGS = backendFlags.BACKEND_KEYED | backendFlags.BACKEND_BARE

const isResolved = ({ flags }: BackendRecord): boolean => (flags & backendFlags.BACKEND_RESOLVED) !== 0

/**
 * Words that a packet may read one old, one new, and that make no sense so: both halves of an address, an address and its
 * spread, a key or port and what it is of, an interface and the MAC addresses on it.
 */
const wouldMix = (before: BackendRecord, after: BackendRecord, changed: ReadonlySet<number>): boolean => {
  if (!isResolved(before)) return false
  if (!isResolved(after)) return changed.size > 0
  const both = (word: number): number =>
    changed.has(word) && uses(before, word) && uses(after, word) ? 1 : 0
  const source = both(SOURCE_WORDS[0]) + both(SOURCE_WORDS[1])
  const isOtherShim = before.mode !== after.mode || ((before.flags ^ after.flags) & SHIM_FLAGS) !== 0
  return (
    before.ifindex !== after.ifindex ||
    source === 2 ||
    (source === 1 && before.spread !== after.spread) ||
    (both(KEY_WORD) === 1 && isOtherShim)
  )
}

/**
 * Words that the old record has no use for come first, then the flags, then those that the new one has no use for. What
 * would mix all the same is unresolved meanwhile: some microseconds.
 *
 * @param at     index of the record's first word
 * @param record as backendLayout encodes it
 */
export const storeRecord = (words: BigUint64Array, at: number, record: Uint8Array): void => {
  const next = new BigUint64Array(record.slice().buffer)
  const present = words.slice(at, at + WORDS)
  const before = backendLayout.decode(new Uint8Array(present.buffer))
  const after = backendLayout.decode(record)
  const changed = new Set([...next.keys()].filter(i => present[i] !== next[i]))
  const store = (isMeant: (word: number) => boolean): void => {
    for (const i of changed) if (i !== FLAGS_WORD && isMeant(i)) Atomics.store(words, at + i, next[i]!)
  }
  store(i => !uses(before, i))
  if (wouldMix(before, after, changed)) {
    const flags = before.flags & ~backendFlags.BACKEND_RESOLVED
    const unresolved = new BigUint64Array(backendLayout.encode({ ...before, flags }).buffer)[FLAGS_WORD]!
    Atomics.store(words, at + FLAGS_WORD, unresolved)
    changed.add(FLAGS_WORD)
  }
  store(i => uses(before, i) && uses(after, i))
  if (changed.has(FLAGS_WORD)) Atomics.store(words, at + FLAGS_WORD, next[FLAGS_WORD]!)
  store(i => uses(before, i) && !uses(after, i))
}
