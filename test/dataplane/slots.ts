import fc from 'fast-check'
import t from 'tap'
import { currentOf, homeOf, K, L, type OwnerRules, stateOf, U } from '../../src/dataplane/slot.js'
import { createRingSlots, slotMemory } from '../../src/dataplane/slots.js'

const SIZE = 251
const BASE = 40
const IDLE_MS = 60_000
const IDS = [7, 2000, 9]
const whole = { from: 0, to: SIZE }
const notPressed = (): boolean => false
const none = new Set<number>()

const rules = (changes: Partial<OwnerRules> = {}): OwnerRules => ({
  tracking: 'on-change',
  takesNew: () => true,
  isGone: id => !IDS.includes(id),
  ...changes,
})
/** Every slot of one backend, but the first few of another. */
const owners = (all: number, first = 0, other = all) => new Int32Array(SIZE).fill(all).fill(other, 0, first)

const makeRing = () => {
  let nowMs = 1000
  const memory = slotMemory(new ArrayBuffer((BASE + SIZE) * 8))
  const ring = createRingSlots(memory, BASE, SIZE, () => nowMs)
  return {
    ring,
    word: (slot: number) => memory.read(BASE + slot),
    pass: (ms: number) => {
      nowMs += ms
    },
    now: () => nowMs,
    tick: () => ring.tick(whole, IDLE_MS, 'on-change', notPressed),
  }
}

t.test('a slot is looked at when its time comes, and not before', async t => {
  const { ring, word, pass, now, tick } = makeRing()
  t.equal(ring.setOwners(owners(0), IDS, rules()), SIZE)
  t.notOk(ring.isDue(IDLE_MS), 'nothing is tracked')
  t.equal(ring.setOwners(owners(0, 10, 1), IDS, rules()), 10)
  t.same(ring.counts(), { grace: 10, learning: 0, keeping: 0 })
  t.ok(ring.isDue(IDLE_MS), 'after a change')
  t.equal(tick(), 0)
  t.notOk(ring.isDue(IDLE_MS))
  t.ok(ring.isDue(IDLE_MS - 1), 'another idle time is looked at')
  pass(3999)
  t.notOk(ring.isDue(IDLE_MS))
  pass(1)
  t.ok(ring.isDue(IDLE_MS))
  t.equal(tick(), 10)
  t.equal(stateOf(word(0)), L)
  t.equal(tick(), 0)
  pass(IDLE_MS - 4001)
  t.notOk(ring.isDue(IDLE_MS), 'the idle time counts from the change')
  pass(1)
  t.ok(ring.isDue(IDLE_MS))
  t.equal(tick(), 10)
  t.equal(stateOf(word(0)), K)
  t.notOk(ring.isDue(IDLE_MS), 'what is kept waits for a sweep')
  const beganMs = now() + 1
  pass(10)
  t.equal(ring.swept(whole, beganMs, new Set([BASE + 3]), notPressed, 'on-change'), 9)
  t.equal(stateOf(word(3)), K)
  t.equal(stateOf(word(4)), U)
})

t.test('a change between makes all of it due anew', async t => {
  const { ring, pass, tick } = makeRing()
  ring.setOwners(owners(0), IDS, rules())
  ring.setOwners(owners(0, 10, 1), IDS, rules())
  tick()
  pass(2000)
  ring.setOwners(owners(0, 20, 1), IDS, rules())
  t.ok(ring.isDue(IDLE_MS))
  tick()
  pass(2000)
  t.ok(ring.isDue(IDLE_MS), 'the older ones')
  t.equal(tick(), 10)
  t.equal(tick(), 0)
  pass(2000)
  t.ok(ring.isDue(IDLE_MS), 'the younger ones')
  t.equal(tick(), 10)
})

t.test('a flow that found no place puts its slot off by another idle time', async t => {
  const { ring, word, pass, tick } = makeRing()
  ring.setOwners(owners(0), IDS, rules())
  ring.setOwners(owners(0, 1, 1), IDS, rules({ takesNew: () => false }))
  t.equal(stateOf(word(0)), L)
  pass(IDLE_MS)
  t.equal(
    ring.tick(whole, IDLE_MS, 'on-change', index => index === BASE),
    0,
  )
  t.notOk(ring.isDue(IDLE_MS))
  pass(IDLE_MS)
  t.ok(ring.isDue(IDLE_MS))
  t.equal(tick(), 1)
})

t.test('a slot at rest that is always tracked is not due again', async t => {
  const { ring, pass } = makeRing()
  const always = rules({ tracking: 'always' })
  ring.setOwners(owners(0), IDS, always)
  t.equal(ring.counts().learning, SIZE)
  pass(IDLE_MS)
  t.equal(ring.tick(whole, IDLE_MS, 'always', notPressed), 0)
  pass(100 * IDLE_MS)
  t.notOk(ring.isDue(IDLE_MS))
  ring.setOwners(owners(0), IDS, rules())
  t.ok(ring.isDue(IDLE_MS), 'until it is tracked on change alone')
  t.equal(ring.tick(whole, IDLE_MS, 'on-change', notPressed), SIZE)
})

t.test('a slot whose home is gone for good keeps its owner, and its home no more', async t => {
  const { ring, word } = makeRing()
  ring.setOwners(owners(0), IDS, rules())
  ring.setOwners(owners(0, 5, 1), IDS, rules())
  t.ok(ring.isHome(IDS[0]!))
  t.equal(homeOf(word(2)), IDS[0])
  const listed = [IDS[1]!, IDS[2]!]
  ring.setOwners(owners(1, 5, 0), listed, rules({ isGone: id => !listed.includes(id) }))
  t.equal(currentOf(word(2)), IDS[1])
  t.equal(stateOf(word(2)), K)
  t.notOk(ring.isHome(IDS[0]!))
})

t.test('who is home is what the slots say, after any history and in slices of any width', async t => {
  const change = fc.record({
    all: fc.nat(2),
    first: fc.nat(SIZE),
    other: fc.nat(2),
    ms: fc.nat(5000),
    isDraining: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), fc.integer({ min: 1, max: SIZE }), (changes, width) => {
      const [one, other] = [makeRing(), makeRing()]
      for (const { all, first, other: second, ms, isDraining } of changes) {
        for (const { ring, pass } of [one, other]) {
          ring.setOwners(owners(all, first, second), IDS, rules({ takesNew: () => !isDraining }))
          pass(ms)
        }
        one.ring.tick(whole, 8000, 'on-change', notPressed)
        for (let from = 0; from < SIZE; from += width)
          other.ring.tick({ from, to: Math.min(SIZE, from + width) }, 8000, 'on-change', notPressed)
        one.ring.swept(whole, one.now() + 1, none, notPressed, 'on-change')
        other.ring.swept(whole, other.now() + 1, none, notPressed, 'on-change')
        if (one.ring.isDue(8000) !== other.ring.isDue(8000)) return false
      }
      const slots = Array.from({ length: SIZE }, (_, slot) => one.word(slot))
      const homes = new Set(
        slots.flatMap(word => {
          const isOpen = stateOf(word) !== U && stateOf(word) !== K
          return isOpen && homeOf(word) !== currentOf(word) ? [homeOf(word)] : []
        }),
      )
      return (
        slots.every((word, slot) => word === other.word(slot)) &&
        IDS.every(id => one.ring.isHome(id) === homes.has(id)) &&
        JSON.stringify(one.ring.counts()) === JSON.stringify(other.ring.counts())
      )
    }),
    { numRuns: 200 },
  )
  t.pass()
})
