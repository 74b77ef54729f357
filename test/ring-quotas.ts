import fc from 'fast-check'
import t from 'tap'
import { apportion } from '../src/ring/quotas.js'

const sum = (numbers: Iterable<number>) => Array.from(numbers).reduce((total, number) => total + number, 0)
const all = (numbers: readonly number[]) => Int32Array.from(numbers.keys())
const none = (numbers: readonly number[]) => new Int32Array(numbers.length)
const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 50 })

t.test('an empty ring is given out whole, each share rounded up or down', async t => {
  fc.assert(
    fc.property(weights, fc.constantFrom(251, 65537, 655373), (weights, size) => {
      const quotas = apportion(size, size, all(weights), Int32Array.from(weights), none(weights))
      const total = sum(weights)
      return sum(quotas) === size && weights.every((w, i) => Math.abs(quotas[i]! - (size * w) / total) < 1)
    }),
  )
  t.pass()
})

t.test('of equals, the first have the slots that are left over', async t => {
  t.same([...apportion(7, 7, Int32Array.of(2, 0, 1), Int32Array.of(1, 1, 1), none([0, 0, 0]))], [2, 2, 3])
})

t.test('free slots are given out whole, however much each has already', async t => {
  const owned = fc.array(fc.nat(60), { minLength: 50, maxLength: 50 })
  fc.assert(
    fc.property(weights, owned, fc.nat(2000), (weights, owned, free) => {
      const have = Int32Array.from(owned.slice(0, weights.length))
      const quotas = apportion(sum(have) + free, free, all(weights), Int32Array.from(weights), have)
      return sum(quotas) === free && quotas.every(quota => quota >= 0)
    }),
  )
  t.pass()
})

t.test('who has more than its share gets nothing, and those below theirs share the rest', async t => {
  t.same(
    [...apportion(100, 40, Int32Array.of(0, 1, 2), Int32Array.of(1, 1, 1), Int32Array.of(50, 10, 0))],
    [0, 15, 25],
  )
})

t.test('those that take no part get nothing', async t => {
  t.same([...apportion(10, 10, Int32Array.of(1), Int32Array.of(1, 1, 1), none([0, 0, 0]))], [0, 10, 0])
})
