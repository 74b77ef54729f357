import fc from 'fast-check'
import t from 'tap'
import { createIds, createRegions } from '../../src/dataplane/allocator.js'

t.test('an id freed is taken again last, and only after the grace period', async t => {
  let now = 0
  const ids = createIds(1, 4, 100, () => now)
  t.same([ids.take(), ids.take()], [1, 2])
  ids.free(1)
  t.equal(ids.take(), 3)
  t.notOk(ids.hasRoom(1))
  t.throws(() => ids.take(), { code: 'ERR_LIMIT' })
  now = 100
  t.ok(ids.hasRoom(1))
  t.equal(ids.take(), 1)
  t.equal(ids.bound(), 4, 'the first that was never taken')
  ids.grow(5)
  t.equal(ids.take(), 4)
  t.equal(ids.bound(), 5)
})

t.test('a million ids can be found in use', async t => {
  const ids = createIds(
    1,
    2 ** 20,
    100,
    () => 0,
    new Set(Array.from({ length: 2 ** 20 - 2 }, (_, id) => id + 1)),
  )
  t.equal(ids.bound(), 2 ** 20 - 1)
  t.equal(ids.take(), 2 ** 20 - 1)
})

t.test('two regions never overlap, and what is freed can be had again', async t => {
  const step = fc.record({ size: fc.integer({ min: 1, max: 40 }), free: fc.nat(10), wait: fc.nat(80) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let now = 0
      const regions = createRegions(200, 100, () => now)
      let held: { base: number; size: number }[] = []
      const resting: { base: number; size: number; at: number }[] = []
      for (const { size, free, wait } of steps) {
        now += wait
        const gone = held[free]
        if (gone) {
          regions.free(gone.base, gone.size)
          held = held.filter(one => one !== gone)
          resting.push({ ...gone, at: now })
        }
        const base = regions.take(size)
        if (base === null) continue
        if (base + size > 200) throw new Error('beyond the end')
        const blocked = [...held, ...resting.filter(({ at }) => now - at < 100)]
        if (blocked.some(one => base < one.base + one.size && one.base < base + size))
          throw new Error('overlap')
        held.push({ base, size })
      }
    }),
  )
  const now = { ms: 0 }
  const regions = createRegions(10, 100, () => now.ms)
  t.equal(regions.take(10), 0)
  t.equal(regions.take(1), null)
  regions.free(0, 10)
  t.equal(regions.take(1), null)
  now.ms = 100
  t.equal(regions.take(10), 0)
})
