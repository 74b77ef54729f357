/**
 * One slot, a cache without bounds, and every order of events: a flow either has an entry, or belongs to the one backend
 * that a miss yields. The bounds are the data plane's (recall-*.ts), and both together are in model.ts.
 */
import fc from 'fast-check'
import t from 'tap'
import {
  currentOf,
  G,
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

const BACKENDS = [1, 2, 3, 4] as const
const IDLE_MS = 60_000

const event = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('owner' as const), id: fc.constantFrom(...BACKENDS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('drain' as const), id: fc.constantFrom(...BACKENDS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('gone' as const), id: fc.constantFrom(...BACKENDS) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('open' as const), id: fc.constant(0) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('packet' as const), id: fc.nat(30) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('time' as const),
      id: fc.constantFrom(300, 2000, 4000, 25_000, 59_000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('sweep' as const), id: fc.constant(0) }) },
)

interface Flow {
  backend: number
  seen: number
  isOver: boolean
}

/** @returns what went wrong, or null */
const play = (
  tracking: OwnerRules['tracking'],
  events: readonly { readonly kind: string; readonly id: number }[],
): string | null => {
  let word = slotWord(U, 1, 0)
  let now = 0
  let since = 0
  let keptSince = 0
  const flows: Flow[] = []
  const entries = new Map<Flow, { readonly id: number; seen: number }>()
  const [draining, gone] = [new Set<number>(), new Set<number>()]
  const rules: OwnerRules = {
    tracking,
    takesNew: id => !draining.has(id) && !gone.has(id),
    isGone: id => gone.has(id),
  }

  const store = (next: number): void => {
    const wasResting = stateOf(word) === U || stateOf(word) === K || homeOf(word) === currentOf(word)
    if (wasResting && homeOf(next) !== currentOf(next) && (stateOf(next) === G || stateOf(next) === L))
      since = now
    if (stateOf(next) === K && stateOf(word) !== K) keptSince = now
    word = next
  }
  const pass = (flow: Flow, isSyn: boolean): number => {
    const [state, current, home] = [stateOf(word), currentOf(word), homeOf(word)]
    const entry = entries.get(flow)
    if (state === U) return current
    if (entry) {
      entry.seen = now
      return entry.id
    }
    if (state === K) return current
    const id = isSyn && !(state === G && rules.takesNew(home)) ? current : home
    entries.set(flow, { id, seen: now })
    return id
  }

  for (const { kind, id } of events) {
    if (kind === 'owner' && !gone.has(id)) store(withOwner(word, id, rules))
    if (kind === 'drain' && !draining.delete(id)) draining.add(id)
    if (kind === 'gone' && gone.size < BACKENDS.length - 1) {
      gone.add(id)
      for (const flow of flows) if (flow.backend === id) flow.isOver = true
      const owner = currentOf(word) === id ? BACKENDS.find(other => !gone.has(other))! : currentOf(word)
      store(withOwner(word, owner, rules))
      for (const [flow, entry] of entries) if (entry.id === id) entries.delete(flow)
      if (currentOf(word) === id || homeOf(word) === id) return `${id} is gone and still in the slot`
    }
    if (kind === 'open') {
      const flow: Flow = { backend: 0, seen: now, isOver: false }
      flow.backend = pass(flow, true)
      flows.push(flow)
    }
    if (kind === 'packet' && flows.length > 0) {
      const flow = flows[id % flows.length]!
      if (flow.isOver) continue
      if (now - flow.seen >= IDLE_MS) {
        flow.isOver = true
        continue
      }
      const to = pass(flow, false)
      if (to !== flow.backend) return `a flow of ${flow.backend} went to ${to} at ${now}`
      flow.seen = now
    }
    if (kind === 'time') {
      now += id
      store(withTime(word, now - since, IDLE_MS, false, tracking))
    }
    if (kind === 'sweep') {
      for (const [flow, entry] of entries)
        if (
          now - entry.seen > IDLE_MS ||
          stateOf(word) === U ||
          (stateOf(word) === K && entry.id === currentOf(word))
        )
          entries.delete(flow)
      const isClean = keptSince <= now && ![...entries.values()].some(entry => entry.id !== currentOf(word))
      store(withTime(word, now - since, IDLE_MS, isClean, tracking))
    }
  }
  return null
}

for (const tracking of ['on-change', 'always'] as const)
  t.test(`no order of events takes a flow from its backend: tracking ${tracking}`, async t => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 80 }), events => {
        const problem = play(tracking, events)
        if (problem) throw new Error(problem)
      }),
      { numRuns: 5000 },
    )
    t.pass()
  })

t.test('without tracking the same events do', async t => {
  const result = fc.check(
    fc.property(fc.array(event, { minLength: 5, maxLength: 80 }), events => play('never', events) === null),
    { numRuns: 5000 },
  )
  t.ok(result.failed, 'the property can fail')
})
