/** A set of slots, by their indexes among all slots: a bit each, in as many words as the greatest of them needs. */
export interface SlotSet extends Iterable<number> {
  add(slot: number): void
  has(slot: number): boolean
  /** Ascending. */
  toArray(): Uint32Array
}

export const createSlotSet = (slots: Iterable<number> = []): SlotSet => {
  let words = new Int32Array(0)
  let count = 0

  const grow = (length: number): void => {
    const more = new Int32Array(Math.max(length, 2 * words.length))
    more.set(words)
    words = more
  }
  const add = (slot: number): void => {
    const at = slot >>> 5
    if (at >= words.length) grow(at + 1)
    const bit = 1 << (slot & 31)
    if ((words[at]! & bit) !== 0) return
    words[at]! |= bit
    count++
  }
  const toArray = (): Uint32Array => {
    const all = new Uint32Array(count)
    let found = 0
    for (let at = 0; found < count; at++)
      for (let bits = words[at]!; bits !== 0; bits &= bits - 1)
        all[found++] = (at << 5) + 31 - Math.clz32(bits & -bits)
    return all
  }
  for (const slot of slots) add(slot)

  return {
    add,
    has: slot => slot >>> 5 < words.length && (words[slot >>> 5]! & (1 << (slot & 31))) !== 0,
    toArray,
    [Symbol.iterator]: () => toArray().values(),
  }
}
