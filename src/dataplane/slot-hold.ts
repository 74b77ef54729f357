/**
 * Slots while their flow cache is copied: a flow that is remembered between the copy and the other program's first packet
 * must not be missed. A slot whose `home` lives is given back to it for that time: what is new then goes where a miss
 * goes. A process that dies meanwhile leaves slots that are as safe as before.
 */
import { LOW } from './flow-entry.js'
import { backendFlags, slotLayout } from './layout.js'
import { currentOf, G, homeOf, L, type SlotWord, slotWord } from './slot.js'
import { slotMemory } from './slots.js'

/** Plain data: whoever knows it can give the slots back. */
export interface HeldSlots {
  /** Of all slots. */
  readonly indexes: Uint32Array
  /** Their words beforehand. */
  readonly before: Float64Array
}

const during = (before: SlotWord): SlotWord => slotWord(L, homeOf(before), homeOf(before))

/** The slots that are to be held; nothing is written yet. @param flagsOf BACKEND_* of an id */
export const slotsToHold = (memory: ArrayBuffer, flagsOf: (id: number) => number): HeldSlots => {
  const { words, read } = slotMemory(memory)
  const indexes: number[] = []
  const found: SlotWord[] = []
  const count = memory.byteLength / 8
  for (let index = 0; index < count; index++) {
    const state = (words[2 * index + LOW]! >>> slotLayout.SLOT_STATE_SHIFT) & 3
    if (state !== G && state !== L) continue
    const word = read(index)
    const home = homeOf(word)
    if (home === currentOf(word) || home === 0 || flagsOf(home) & backendFlags.BACKEND_DEAD) continue
    indexes.push(index)
    found.push(word)
  }
  return { indexes: Uint32Array.from(indexes), before: Float64Array.from(found) }
}

/** What somebody has written since stays. */
const exchange = (
  memory: ArrayBuffer,
  { indexes, before }: HeldSlots,
  words: (before: SlotWord) => readonly [expected: SlotWord, next: SlotWord],
): void => {
  const whole = new BigUint64Array(memory)
  for (let i = 0; i < indexes.length; i++) {
    const [expected, next] = words(before[i]!)
    Atomics.compareExchange(whole, indexes[i]!, BigInt(expected), BigInt(next))
  }
}

export const holdSlots = (memory: ArrayBuffer, held: HeldSlots): void =>
  exchange(memory, held, before => [before, during(before)])

/** As they were; it may be done twice. */
export const restoreSlots = (memory: ArrayBuffer, held: HeldSlots): void =>
  exchange(memory, held, before => [during(before), before])
