/** What moves when backends go, against simulations of the same algorithm with other hashes and with plain Maglev. */
import t, { type Test } from 'tap'
import { buildRing, refillRing } from '../src/ring.js'
import { movedPercent, someClaims } from './fixtures/ring.js'

const SIZE = 65537

const mean = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length

/** `k` of `count` backends, spread evenly: with the addresses of each run they are as good as chosen at random. */
const isGone = (count: number, k: number) => (index: number) =>
  Math.floor(((index + 1) * k) / count) > Math.floor((index * k) / count)

/** Means over runs with other addresses each. */
const meansOf = (runs: number, run: (seed: number) => { changed: number; survivors: number }) => {
  const results = Array.from({ length: runs }, (_, seed) => run(seed))
  return { changed: mean(results.map(r => r.changed)), survivors: mean(results.map(r => r.survivors)) }
}

const removeFromConfig = (count: number, k: number, runs: number, size = SIZE) =>
  meansOf(runs, seed => {
    const claims = someClaims(count, seed)
    const gone = isGone(count, k)
    const left = claims.filter((_, index) => !gone(index))
    return movedPercent(buildRing(claims, size), buildRing(left, size))
  })

const fail = (count: number, k: number, runs: number) =>
  meansOf(runs, seed => {
    const full = buildRing(someClaims(count, seed), SIZE)
    const gone = isGone(count, k)
    const owners = refillRing(full, (_, index) => gone(index))
    const moved = movedPercent(full, { claims: full.claims, owners })
    let left = 0
    full.owners.forEach((owner, slot) => {
      if (!gone(owner) && owners[slot] !== owner) left++
    })
    return { changed: moved.changed, survivors: left }
  })

const close = (t: Test, what: string, actual: number, expected: number, tolerance: number) =>
  t.ok(Math.abs(actual - expected) < tolerance, `${what}: ${actual.toFixed(3)}, expected ${expected}`)

t.test(
  'removed from the configuration: what moves at 1000 backends is what Figure 12 of the paper has',
  async t => {
    for (const [k, changed, survivors] of [
      [1, 0.672, 0.572],
      [5, 2.309, 1.809],
      [10, 3.335, 2.334],
      [50, 8.254, 3.254],
      [100, 13.549, 3.549],
      [200, 23.494, 3.493],
    ] as const) {
      const moved = removeFromConfig(1000, k, 50)
      close(t, `${k} removed, changed`, moved.changed, changed, 0.1)
      close(t, `${k} removed, of it from backends that stay`, moved.survivors, survivors, 0.1)
    }
  },
)

t.test('removed from the configuration: one of N', async t => {
  for (const [count, changed, runs] of [
    [3, 33.36, 40],
    [10, 10.24, 40],
    [50, 2.45, 40],
    [100, 1.56, 40],
    [200, 1.24, 40],
    [500, 1.1, 40],
    [1000, 0.68, 40],
  ] as const)
    close(t, `one of ${count}, changed`, removeFromConfig(count, 1, runs).changed, changed, 0.1)
})

t.test('removed from the configuration: a ring ten times larger is disturbed less', async t => {
  const moved = removeFromConfig(1000, 10, 4, 655373)
  close(t, '10 of 1000, changed', moved.changed, 1.577, 0.1)
  close(t, '10 of 1000, of it from backends that stay', moved.survivors, 0.577, 0.1)
})

t.test('down, but configured: what moves is what the dead had, and nothing else', async t => {
  for (const [count, k, changed] of [
    [10, 1, 10],
    [100, 1, 1],
    [100, 10, 10],
    [1000, 1, 0.1],
    [1000, 100, 10],
  ] as const) {
    const moved = fail(count, k, 10)
    close(t, `${k} of ${count} down, changed`, moved.changed, changed, 0.1)
    t.equal(moved.survivors, 0, `${k} of ${count} down, moved from survivors`)
  }
})
