import fc from 'fast-check'
import t from 'tap'
import {
  currentOf,
  G,
  GRACE_MS,
  homeOf,
  K,
  L,
  type OwnerRules,
  slotWord,
  stateOf,
  U,
  withOwner,
  withTime,
} from '../../src/dataplane/slot.js'

const [A, B, C] = [11, 12, 13]
const HIGHEST = 2 ** 20 - 1

interface Situation {
  readonly tracking?: OwnerRules['tracking']
  readonly gone?: readonly number[]
  /** Alive, but given no new flows; who is dead takes none either. */
  readonly closed?: readonly number[]
}

const rules = ({ tracking = 'on-change', gone = [], closed = [] }: Situation = {}): OwnerRules => ({
  tracking,
  takesNew: id => !closed.includes(id) && !gone.includes(id),
  isGone: id => gone.includes(id),
})

const text = (word: number): string => `${'UGLK'[stateOf(word)]}${currentOf(word)}/${homeOf(word)}`
const slot = (state: number, current: number, home = 0): number => slotWord(state, current, home)

t.test('a slot is one word: what goes in comes out', async t => {
  const id = fc.oneof(fc.nat(HIGHEST), fc.constantFrom(0, 1, HIGHEST))
  fc.assert(
    fc.property(fc.constantFrom(U, G, L, K), id, id, (state, current, home) => {
      const word = slotWord(state, current, home)
      const expected = BigInt(current) | (BigInt(state) << 20n) | (BigInt(home) << 32n)
      return (
        BigInt(word) === expected &&
        stateOf(word) === state &&
        currentOf(word) === current &&
        homeOf(word) === home
      )
    }),
  )
  t.pass()
})

t.test('a slot at rest gets another owner: the old one becomes home', async t => {
  for (const state of [U, K]) {
    t.equal(text(withOwner(slot(state, A), B, rules())), `G${B}/${A}`, 'which takes new flows: grace')
    t.equal(text(withOwner(slot(state, A), B, rules({ closed: [A] }))), `L${B}/${A}`, 'which takes none')
    t.equal(text(withOwner(slot(state, A), 0, rules({ closed: [A] }))), `L0/${A}`, 'nobody follows it')
    t.equal(withOwner(slot(state, A), A, rules()), slot(state, A), 'the same owner changes nothing')
  }
})

t.test('a slot at rest whose owner is gone, or was nobody, stays in its state', async t => {
  for (const state of [U, K]) {
    t.equal(text(withOwner(slot(state, A), B, rules({ gone: [A] }))), text(slot(state, B)))
    t.equal(text(withOwner(slot(state, 0), B, rules())), text(slot(state, B)))
  }
})

t.test('a slot in transition whose home is its owner again keeps its exceptions', async t => {
  for (const state of [G, L]) {
    t.equal(text(withOwner(slot(state, B, A), A, rules())), `K${A}/0`)
    t.equal(text(withOwner(slot(state, B, A), A, rules({ closed: [A] }))), `K${A}/0`, 'as a last resort')
  }
})

t.test('a slot in transition gets a third owner: the oldest stays home, the state stays', async t => {
  for (const state of [G, L]) {
    t.equal(text(withOwner(slot(state, B, A), C, rules())), text(slot(state, C, A)))
    t.equal(text(withOwner(slot(state, B, A), C, rules({ closed: [A, B] }))), text(slot(state, C, A)))
    t.equal(text(withOwner(slot(state, B, A), C, rules({ gone: [B] }))), text(slot(state, C, A)))
    t.equal(text(withOwner(slot(state, B, A), 0, rules())), text(slot(state, 0, A)))
  }
})

t.test('a slot in transition whose home is gone keeps what it remembers', async t => {
  for (const state of [G, L]) {
    t.equal(text(withOwner(slot(state, B, A), B, rules({ gone: [A] }))), `K${B}/0`, 'and its owner')
    t.equal(text(withOwner(slot(state, B, A), C, rules({ gone: [A] }))), `K${C}/0`, 'and gets another')
    t.equal(text(withOwner(slot(state, B, A), C, rules({ gone: [A, B] }))), `K${C}/0`)
  }
})

t.test('a slot in transition whose owner and home stay is left alone', async t => {
  for (const state of [G, L])
    for (const closed of [[], [A], [B]])
      t.equal(withOwner(slot(state, B, A), B, rules({ closed })), slot(state, B, A))
})

t.test('grace ends after four seconds, however long the idle time', async t => {
  t.equal(GRACE_MS, 4000)
  t.equal(withTime(slot(G, B, A), 3999, 900_000, false, 'on-change'), slot(G, B, A))
  t.equal(withTime(slot(G, B, A), 4000, 900_000, false, 'on-change'), slot(L, B, A))
  t.equal(withTime(slot(G, B, A), 4000, 1000, true, 'on-change'), slot(L, B, A))
})

t.test('learning ends after the idle time: the slot keeps what it has learnt', async t => {
  t.equal(withTime(slot(L, B, A), 899_999, 900_000, true, 'on-change'), slot(L, B, A))
  t.equal(text(withTime(slot(L, B, A), 900_000, 900_000, false, 'on-change')), `K${B}/0`)
})

t.test('keeping ends with a clean sweep and not before', async t => {
  t.equal(withTime(slot(K, B), 10 ** 9, 900_000, false, 'on-change'), slot(K, B))
  t.equal(text(withTime(slot(K, B), 0, 900_000, true, 'on-change')), `U${B}/0`)
})

t.test('an untracked slot has no clock', async t => {
  for (const isClean of [false, true])
    for (const tracking of ['on-change', 'always', 'never'] as const)
      t.equal(withTime(slot(U, B), 10 ** 9, 1000, isClean, tracking), slot(U, B))
})

t.test('tracking never: a slot changes its owner and nothing else', async t => {
  const never = rules({ tracking: 'never' })
  t.equal(text(withOwner(slot(U, A), B, never)), `U${B}/0`)
  t.equal(text(withOwner(slot(U, A), 0, never)), 'U0/0')
  t.equal(text(withOwner(slot(K, A), B, never)), `K${B}/0`, 'what was tracked before comes to its end')
  t.equal(text(withOwner(slot(L, B, A), C, never)), `L${C}/${A}`)
  t.equal(text(withTime(slot(L, C, A), 900_000, 900_000, false, 'never')), `K${C}/0`)
  t.equal(text(withTime(slot(K, C), 0, 900_000, true, 'never')), `U${C}/0`)
})

t.test('tracking always: every flow is remembered, also where nothing changes', async t => {
  const always = rules({ tracking: 'always' })
  t.equal(text(withOwner(slot(U, A), A, always)), `L${A}/${A}`, 'from the first ring on')
  t.equal(text(withOwner(slot(U, 0), A, always)), `L${A}/${A}`)
  t.equal(withOwner(slot(L, A, A), A, always), slot(L, A, A))
  t.equal(withTime(slot(L, A, A), 10 ** 9, 900_000, true, 'always'), slot(L, A, A))
})

t.test('tracking always: a change is as any other, and ends in remembering again', async t => {
  const always = rules({ tracking: 'always' })
  t.match(text(withOwner(slot(L, A, A), B, always)), `G${B}/${A}`)
  t.match(text(withOwner(slot(L, A, A), B, rules({ tracking: 'always', closed: [A] }))), `L${B}/${A}`)
  t.equal(text(withOwner(slot(L, A, A), B, rules({ tracking: 'always', gone: [A] }))), `L${B}/${B}`)
  t.equal(text(withOwner(slot(L, B, A), C, always)), `L${C}/${A}`)
  t.equal(text(withOwner(slot(L, B, A), A, always)), `L${A}/${A}`, 'rolled back')
  t.equal(text(withOwner(slot(L, B, A), B, rules({ tracking: 'always', gone: [A] }))), `L${B}/${B}`)
  t.equal(text(withTime(slot(L, B, A), 900_000, 900_000, false, 'always')), `L${B}/${B}`)
})

t.test('tracking always, then on-change: remembering ends after the idle time', async t => {
  t.equal(text(withTime(slot(L, A, A), 900_000, 900_000, false, 'on-change')), `K${A}/0`)
  t.equal(text(withOwner(slot(L, A, A), B, rules())), `G${B}/${A}`)
})

t.test('tracking always, then another: what is remembered outlives a removed owner', async t => {
  const gone = [A]
  t.equal(text(withOwner(slot(L, A, A), B, rules({ gone }))), `K${B}/0`)
  t.equal(text(withOwner(slot(L, A, A), B, rules({ tracking: 'never', gone }))), `K${B}/0`)
  t.equal(text(withOwner(slot(L, A, A), B, rules({ tracking: 'never' }))), `K${B}/0`)
  t.equal(text(withTime(slot(K, A), 0, 900_000, true, 'always')), `L${A}/${A}`, 'and back')
})
