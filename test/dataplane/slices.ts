import t from 'tap'
import { inSlices } from '../../src/dataplane/slices.js'
import type { RingSlots } from '../../src/dataplane/slots.js'

const ringOf = (size: number) => ({ name: `${size}`, slots: { size } as RingSlots })
const isAlwaysThere = (): boolean => true

t.test('small rings are done when the call returns', async t => {
  const done: string[] = []
  const all = inSlices([ringOf(251), ringOf(509)], isAlwaysThere, ({ name }, { from, to }) => {
    done.push(`${name}: ${from} to ${to}`)
  })
  t.same(done, ['251: 0 to 251', '509: 0 to 509'])
  await all
})

t.test('large rings are done slice by slice, each slot once, and the event loop turns between', async t => {
  const widths: number[] = []
  const seen = new Map<string, Uint8Array>()
  const all = inSlices([ringOf(655373), ringOf(65537)], isAlwaysThere, ({ name, slots }, { from, to }) => {
    const marks = seen.get(name) ?? new Uint8Array(slots.size)
    seen.set(name, marks)
    widths.push(to - from)
    for (let slot = from; slot < to; slot++) marks[slot]!++
  })
  t.equal(widths.length, 1, 'one slice at once')
  let immediates = 0
  const count = (): void => {
    immediates++
    if (immediates < 1000) setImmediate(count)
  }
  setImmediate(count)
  await all
  t.ok(immediates >= 40, `other work comes in between: ${immediates} times`)
  t.ok(Math.max(...widths) <= 16384)
  t.ok([...seen.values()].every(marks => marks.every(times => times === 1)))
  t.same([...seen.keys()], ['655373', '65537'])
})

t.test('a ring that goes between two slices is left alone', async t => {
  const [gone, stays] = [ringOf(65537), ringOf(251)]
  let isThere = true
  const done: string[] = []
  const all = inSlices(
    [gone, stays],
    ring => ring !== gone || isThere,
    ({ name }) => {
      done.push(name)
    },
  )
  isThere = false
  await all
  t.same(done, ['65537', '251'])
})
