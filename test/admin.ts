import t from 'tap'
import {
  adminOf,
  notBegun,
  type Order,
  type Progress,
  progressed,
  remainingMs,
  type Sight,
} from '../src/admin.js'

const drain: Order = { state: 'draining', sinceMs: 1000, deadlineMs: null }
const leaving: Order = { state: 'leaving', sinceMs: 1000 }

/** A backend over time: each step is what is seen of it at a moment. */
const after = (order: Order, deadlineMs: number | null, ...sights: readonly Sight[]): Progress =>
  sights.reduce((before, sight) => progressed(order, before, sight, deadlineMs), notBegun)

const at = (nowMs: number, more: Partial<Sight> = {}): Sight => ({
  nowMs,
  ownsSlots: false,
  flows: { live: 0, isExact: true, sweepBeganMs: 0 },
  ...more,
})
const flows = (live: number, isExact: boolean, sweepBeganMs: number) => ({
  flows: { live, isExact, sweepBeganMs },
})

t.test('a drain is not done while some slot may hold flows without entries, whatever the count', async t => {
  t.equal(
    after(drain, null, at(2000, flows(0, false, 5000)), at(900_000, flows(0, false, 890_000))).out,
    null,
  )
})

t.test('nor by a sweep that began before every flow had an entry', async t => {
  const known = at(10_000, flows(0, true, 9000))
  t.equal(after(drain, null, known).out, null)
  t.equal(after(drain, null, known, at(11_000, flows(0, true, 10_000))).out, null, 'begun at that moment')
  t.equal(after(drain, null, known, at(21_000, flows(0, true, 19_000))).out, 'flows-gone')
})

t.test('nor while one flow lives', async t => {
  const known = at(10_000, flows(3, true, 9000))
  const less = at(21_000, flows(1, true, 19_000))
  t.equal(after(drain, null, known, less).out, null)
  t.equal(after(drain, null, known, less, at(31_000, flows(0, true, 29_000))).out, 'flows-gone')
})

t.test('a slot that begins to learn again makes the count a least one again', async t => {
  const known = at(10_000, flows(0, true, 9000))
  const again = at(11_000, flows(0, false, 10_500))
  const exact = at(12_000, flows(0, true, 10_500))
  t.equal(after(drain, null, known, again, exact).out, null)
  t.equal(after(drain, null, known, again, exact, at(23_000, flows(0, true, 20_000))).out, 'flows-gone')
})

t.test('at its deadline it is out, flows or not', async t => {
  const busy = flows(7, false, 0)
  t.equal(after(drain, 60_000, at(1500, busy), at(60_999, busy)).out, null)
  t.equal(after(drain, 60_000, at(1500, busy), at(61_000, busy)).out, 'deadline')
  t.equal(after(leaving, 60_000, at(1500, busy), at(61_000, busy)).out, 'deadline')
  t.equal(after(drain, 0, at(1500, busy)).out, 'deadline')
})

t.test('what is out stays out', async t => {
  const out = after(drain, 1000, at(5000))
  t.same(progressed(drain, out, at(6000, flows(5, true, 5500)), 1000), out)
})

t.test('where nothing is tracked it is over after a grace for handshakes', async t => {
  const untracked = { flows: null }
  t.equal(after(drain, null, at(1000, untracked), at(4999, untracked)).out, null)
  t.equal(after(drain, null, at(1000, untracked), at(5000, untracked)).out, 'flows-gone')
})

t.test('while it owns slots nothing ends; afterwards the drain begins anew', async t => {
  const owning = at(500_000, { ownsSlots: true })
  const serving = after(drain, 60_000, at(2000, flows(0, false, 0)), owning)
  t.match(serving, { out: null, quietSinceMs: null, exactSinceMs: null })
  const back = progressed(drain, serving, at(600_000, flows(9, false, 0)), 60_000)
  t.equal(back.out, null)
  t.equal(progressed(drain, back, at(659_999, flows(9, false, 0)), 60_000).out, null)
  t.equal(progressed(drain, back, at(660_000, flows(9, false, 0)), 60_000).out, 'deadline')
})

t.test('also one that was out', async t => {
  const out = after(drain, 1000, at(5000))
  const serving = progressed(drain, out, at(6000, { ownsSlots: true }), 1000)
  t.equal(serving.out, null)
  t.equal(progressed(drain, serving, at(7000, flows(4, false, 0)), 1000).out, null)
})

t.test('the deadline of one that leaves counts from its removal, whatever its slots do', async t => {
  const owning = after(leaving, 60_000, at(1500, { ownsSlots: true }))
  t.equal(progressed(leaving, owning, at(61_000, flows(1, false, 0)), 60_000).out, 'deadline')
})

t.test('a disabled backend makes no progress', async t => {
  const disabled: Order = { state: 'disabled', sinceMs: 0 }
  t.equal(after(disabled, null, at(5000), at(50_000)), notBegun)
  t.equal(remainingMs(disabled, notBegun, 5000, 1000), null)
})

t.test('what remains until the deadline counts down to nothing', async t => {
  const begun = after(drain, 60_000, at(2000, flows(1, false, 0)))
  t.equal(remainingMs(drain, begun, 2000, 60_000), 59_000)
  t.equal(remainingMs(drain, begun, 62_000, 60_000), 0)
  t.equal(remainingMs(drain, notBegun, 2000, 60_000), 59_000, 'before anything was seen of it too')
  const owning = after(drain, 60_000, at(2000, { ownsSlots: true }))
  t.equal(remainingMs(drain, owning, 2000, 60_000), 60_000, 'as the last resort it has all of its time')
  t.equal(remainingMs(drain, begun, 2000, null), null)
  t.equal(remainingMs(drain, { ...begun, out: 'flows-gone' }, 2000, 60_000), null)
})

t.test('an order and its progress make an admin state', async t => {
  t.same(adminOf(undefined, undefined), { state: 'enabled', isOut: false })
  t.same(adminOf(drain, undefined), { state: 'draining', isOut: false })
  t.same(adminOf(drain, { ...notBegun, out: 'deadline' }), { state: 'draining', isOut: true })
  t.same(adminOf(leaving, notBegun), { state: 'leaving', isOut: false })
})
