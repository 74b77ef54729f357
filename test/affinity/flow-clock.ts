import fc from 'fast-check'
import t from 'tap'
import {
  ageOf,
  clockScale,
  createFlowClock,
  SECONDS_PER_UNIT,
  unitsOf,
} from '../../src/dataplane/flow-clock.js'

const UNITS = 2 ** 14
/** HZ of 100, 250, 300 and 1000, as nanoseconds of a jiffy. */
const TICKS = [10_000_000, 4_000_000, 3_333_333, 1_000_000]

/** flow_clock() of bpf/flow_cache.h: 64-bit arithmetic. */
const dataPlaneClock = (jiffies: bigint, tickNs: number): number =>
  Number((BigInt.asUintN(64, jiffies * clockScale(tickNs)) >> 32n) & BigInt(UNITS - 1))

t.test('a unit is four seconds, whatever the length of a jiffy', async t => {
  t.equal(SECONDS_PER_UNIT, 4)
  for (const tickNs of TICKS) {
    const jiffiesOf = (seconds: number): bigint => BigInt(Math.ceil((seconds * 1e9) / tickNs))
    for (const units of [1, 10, 225, 7200])
      t.equal(dataPlaneClock(jiffiesOf(4 * units + 0.1), tickNs), units, `${units} units of ${tickNs} ns`)
  }
})

t.test('both clocks read the same, however long the host is up', async t => {
  const uptimes = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 36n }),
    fc.constantFrom(2n ** 32n - 75_000n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 33n + 5n),
  )
  fc.assert(
    fc.property(uptimes, fc.constantFrom(...TICKS), fc.nat(10 ** 7), (jiffies, tickNs, passed) => {
      let now = 1234.5
      const clock = createFlowClock(jiffies, now, tickNs, () => now)
      if (clock() !== dataPlaneClock(jiffies, tickNs)) return false
      now += (passed * tickNs) / 1e6
      return clock() === dataPlaneClock(jiffies + BigInt(passed), tickNs)
    }),
  )
  t.pass()
})

t.test('the clock never goes back but where it wraps, after 18.2 hours', async t => {
  let now = 0
  const clock = createFlowClock(0n, 0, 4_000_000, () => now)
  let before = clock()
  let wraps = 0
  for (let i = 0; i < 40_000; i++) {
    now += 3500
    const step = (clock() - before + UNITS) % UNITS
    if (step > 1) t.fail(`from ${before} to ${clock()}`)
    if (clock() < before) wraps++
    before = clock()
  }
  t.equal(wraps, 2)
})

t.test('a time takes as many units as it may touch, and at least one', async t => {
  t.same([1, 3999, 4000, 4001, 60_000, 900_000, 8 * 3_600_000].map(unitsOf), [1, 1, 1, 2, 15, 225, 7200])
})

t.test('an age is counted in units, across the wrap too', async t => {
  fc.assert(
    fc.property(
      fc.nat(UNITS - 1),
      fc.nat(UNITS - 65),
      (seen, age) => ageOf(seen, (seen + age) % UNITS) === age,
    ),
  )
  t.pass()
})

t.test(
  'a stamp from the near future is of now: it comes from another CPU, or from after the sweep began',
  async t => {
    fc.assert(
      fc.property(
        fc.nat(UNITS - 1),
        fc.integer({ min: 1, max: 64 }),
        (now, ahead) => ageOf((now + ahead) % UNITS, now) === 0,
      ),
    )
    t.equal(ageOf(65, 0), UNITS - 65, 'what lies further ahead is of long ago')
  },
)
