import fc from 'fast-check'
import t from 'tap'
import { differing } from '../src/differing.js'

const objects = Array.from({ length: 8 }, (_, name) => ({ name }))
const lists = fc.subarray(objects, { minLength: 0 }).chain(some => fc.shuffledSubarray(some))

t.test('one that is replaced, added or taken out among many is all that differs', async t => {
  const [a, b, c, d, e] = objects
  t.same(differing([a, b, c], [a, d, c]), { before: [b], after: [d] })
  t.same(differing([a, b], [a, b, c]), { before: [], after: [c] })
  t.same(differing([a, b, c], [a, c]), { before: [b], after: [] })
  t.same(differing([a, b, c, d], [e, b, c, a]), { before: [a, d], after: [e, a] })
  t.same(differing([a, b], [a, b]), { before: [], after: [] })
  t.same(differing([a, a], [a]), { before: [a], after: [] })
})

t.test('whatever only one of two lists has differs, and the rest is left out of both alike', async t => {
  fc.assert(
    fc.property(lists, lists, (one, other) => {
      const { before, after } = differing(one, other)
      const keepsOnly = one.every(item => other.includes(item) || before.includes(item))
      const keepsOther = other.every(item => one.includes(item) || after.includes(item))
      const left = one.filter(item => !before.includes(item))
      const right = other.filter(item => !after.includes(item))
      return (
        keepsOnly && keepsOther && left.length === right.length && left.every((item, i) => item === right[i])
      )
    }),
    { numRuns: 500 },
  )
  t.pass()
})
