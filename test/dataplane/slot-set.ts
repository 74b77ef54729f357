import fc from 'fast-check'
import t from 'tap'
import { createSlotSet } from '../../src/dataplane/slot-set.js'

t.test('it holds what was added, once and ascending', async t => {
  const slots = fc.array(fc.oneof(fc.nat(200), fc.nat(2 ** 22)), { maxLength: 60 })
  fc.assert(
    fc.property(slots, slots, (some, others) => {
      const set = createSlotSet(some.slice(0, 3))
      for (const slot of some) set.add(slot)
      const expected = [...new Set(some)].sort((a, b) => a - b)
      return (
        set.toArray().join() === expected.join() &&
        [...set].join() === expected.join() &&
        [...some, ...others].every(slot => set.has(slot) === some.includes(slot))
      )
    }),
  )
  t.pass()
})
