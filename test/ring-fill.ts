import fc from 'fast-check'
import t from 'tap'
import { emptyFill, fillFreeSlots } from '../src/ring/fill.js'
import { permutation } from '../src/ring/permutation.js'
import { apportion } from '../src/ring/quotas.js'
import { takeTurns } from '../src/ring/turns.js'
import { type Preference, plainFill, someClaims } from './fixtures/ring.js'

const fill = (preferences: readonly Preference[], size: number): number[] => {
  const column = (key: keyof Preference) => Int32Array.from(preferences, preference => preference[key])
  const filled = emptyFill(column('offset'), column('skip'), column('weight'), size)
  const takers = Int32Array.from(preferences.keys())
  fillFreeSlots(filled, takers, apportion(size, size, takers, filled.weights, new Int32Array(takers.length)))
  return [...filled.owners]
}

const PAPER = [
  { offset: 3, skip: 4, weight: 1 },
  { offset: 0, skip: 2, weight: 1 },
  { offset: 3, skip: 1, weight: 1 },
] as const

t.test("the paper's example comes out: Table 1 of Maglev, NSDI 2016", async t => {
  t.same(fill(PAPER, 7), [1, 0, 1, 0, 2, 2, 0])
})

t.test("the paper's example comes out without its second backend", async t => {
  t.same(fill([PAPER[0], PAPER[2]], 7), [0, 0, 0, 0, 1, 1, 1])
})

t.test('every fill is that of Pseudocode 1, whatever the weights', async t => {
  const weights = fc.oneof(
    fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 40 }),
    fc.array(fc.constantFrom(1, 2, 3), { minLength: 1, maxLength: 60 }),
    fc.array(fc.constantFrom(1, 1, 1, 1, 7, 1000), { minLength: 1, maxLength: 60 }),
  )
  const sizes = fc.constantFrom(7, 61, 251, 257, 1009, 4093, 16381)
  fc.assert(
    fc.property(weights, sizes, fc.nat(255), (weights, size, seed) => {
      const preferences = someClaims(weights.length, seed).map(({ identity }, index) => ({
        ...permutation(identity, size),
        weight: weights[index]!,
      }))
      const expected = plainFill(preferences, size)
      return fill(preferences, size).every((owner, slot) => owner === expected[slot])
    }),
    { numRuns: 150 },
  )
  t.pass()
})

t.test('turns follow credit: in any stretch a weight of half has half the turns', async t => {
  const { batch, next } = takeTurns(Int32Array.of(0, 1, 2), Int32Array.of(4, 2, 1))
  t.ok(next() >= 7)
  t.same([...batch.slice(0, 14)], [0, 0, 1, 0, 0, 1, 2, 0, 0, 1, 0, 0, 1, 2])
})
