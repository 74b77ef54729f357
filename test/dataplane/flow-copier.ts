import { EventEmitter } from 'node:events'
import type { Worker } from 'node:worker_threads'
import t from 'tap'
import { type CopyMessage, type CopyOrder, createFlowCopier } from '../../src/dataplane/flow-copier.js'
import { ownFormat } from '../../src/dataplane/flow-entry.js'
import { G, K, L, slotWord, U } from '../../src/dataplane/slot.js'
import { holdSlots, restoreSlots, slotsToHold } from '../../src/dataplane/slot-hold.js'
import { slotMemory } from '../../src/dataplane/slots.js'

const DEAD = 4
const SLOTS = [
  slotWord(U, 1, 0),
  slotWord(G, 1, 2),
  slotWord(L, 1, 3),
  slotWord(L, 2, 2),
  slotWord(K, 1, 2),
  slotWord(L, 1, DEAD),
  slotWord(G, 2, 3),
]

const openSlots = () => {
  const memory = new ArrayBuffer(SLOTS.length * 8)
  const slots = slotMemory(memory)
  SLOTS.forEach((word, index) => {
    slots.write(index, word)
  })
  const words = (): number[] => SLOTS.map((_, index) => slots.read(index))
  return { memory, slots, words, held: slotsToHold(memory, id => (id === DEAD ? 2 : 0)) }
}

/** A thread in name only: it holds the slots, and dies. */
const dying = (memory: ArrayBuffer, message: CopyMessage): Worker => {
  const thread = Object.assign(new EventEmitter(), {
    postMessage: ({ kind }: CopyOrder) => {
      if (kind !== 'copy') return
      thread.emit('message', message)
      if ('held' in message) holdSlots(memory, message.held)
      setImmediate(() => {
        thread.emit('error', new Error('out of memory'))
        thread.emit('exit', 1)
      })
    },
    terminate: async () => 0,
  })
  return thread as unknown as Worker
}

t.test('slots whose home lives are given back to it for a while', async t => {
  const { memory, slots, words, held } = openSlots()
  t.same([...held.indexes], [1, 2, 6])
  t.same(words(), SLOTS, 'nothing is written yet')
  holdSlots(memory, held)
  const during = [...SLOTS]
  for (const [index, home] of [
    [1, 2],
    [2, 3],
    [6, 3],
  ] as const)
    during[index] = slotWord(L, home, home)
  t.same(words(), during)
  slots.write(2, slotWord(K, 9, 0))
  restoreSlots(memory, held)
  t.same(words(), SLOTS.with(2, slotWord(K, 9, 0)), 'but for what was written meanwhile')
  restoreSlots(memory, held)
  t.same(words(), SLOTS.with(2, slotWord(K, 9, 0)))
})

t.test('a thread that dies leaves no slot held', async t => {
  const { memory, words, held } = openSlots()
  const copier = createFlowCopier(
    () => dying(memory, { held }),
    async fd => {
      t.equal(fd, 7)
      return memory
    },
  )
  const job = {
    from: { fd: 5, format: ownFormat },
    to: 6,
    tail: 4,
    held: { slots: 7, backends: { fd: 8, stride: 8, offset: 0 } },
    tables: null,
  }
  await t.rejects(copier.copy(job), { code: 'ERR_INTERNAL', message: /out of memory/ })
  t.not(words()[1], SLOTS[1])
  t.equal(await copier.end(false), 0)
  t.same(words(), SLOTS)
})
