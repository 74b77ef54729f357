/**
 * Slots while their flow cache is copied: a flow that is remembered between the copy and the other program's first packet
 * must not be missed. A slot whose `home` lives is given back to it for that time: what is new then goes where a miss
 * goes. A process that dies meanwhile leaves slots that are as safe as before.
 */
import { LOW } from './flow-entry.js'
import { backendFlags, slotLayout } from './layout.js'
import { currentOf, G, homeOf, L, slotWord } from './slot.js'
import { slotMemory } from './slots.js'

export interface Hold {
  /** As they were, unless somebody has written them since. */
  restore(): void
}

/** @param flagsOf BACKEND_* of an id */
export const holdSlots = (memory: ArrayBuffer, flagsOf: (id: number) => number): Hold => {
  const slots = slotMemory(memory)
  const words = new Uint32Array(memory)
  const held: { readonly index: number; readonly before: number; readonly during: number }[] = []
  const count = memory.byteLength / 8
  for (let index = 0; index < count; index++) {
    const state = (words[2 * index + LOW]! >>> slotLayout.SLOT_STATE_SHIFT) & 3
    if (state !== G && state !== L) continue
    const before = slots.read(index)
    const home = homeOf(before)
    if (home === currentOf(before) || home === 0 || flagsOf(home) & backendFlags.BACKEND_DEAD) continue
    const during = slotWord(L, home, home)
    slots.write(index, during)
    held.push({ index, before, during })
  }
  return {
    restore: () => {
      for (const { index, before, during } of held.splice(0))
        if (slots.read(index) === during) slots.write(index, before)
    },
  }
}
