import t from 'tap'
import type { Judgement } from '../src/health/judge.js'
import type { HealthCheck } from '../src/model.js'
import type { Resolution } from '../src/next-hop.js'
import { standingOf, takers } from '../src/standing.js'

const resolved: Resolution = {
  nextHop: { ifindex: 1, mac: new Uint8Array(6), sourceMac: new Uint8Array(6) },
  neighbour: null,
}
const unresolved: Resolution = { reason: 'neighbour does not answer', neighbour: null }
const judgement = (health: Judgement['health'], reason: string | null = null): Judgement => ({
  health,
  against: 0,
  reason,
})
const checked = (initiallyUp = false) => ({ health: { initiallyUp } as HealthCheck })
const unchecked = { health: null }

t.test('without a check a backend counts as up', async t => {
  t.match(standingOf(unchecked, { weight: 1 }, judgement('unknown'), resolved), {
    takes: true,
    health: 'up',
    reason: null,
  })
})

t.test('a check that has never passed keeps its backend out, unless it is initially up', async t => {
  t.match(standingOf(checked(), { weight: 1 }, judgement('unknown'), resolved), {
    takes: false,
    health: 'unknown',
  })
  t.match(standingOf(checked(true), { weight: 1 }, judgement('unknown'), resolved), {
    takes: true,
    health: 'unknown',
  })
  t.match(standingOf(checked(true), { weight: 1 }, judgement('down', 'refused'), resolved), {
    takes: false,
    reason: 'refused',
  })
})

t.test('weight 0 and a missing next hop are reasons of their own', async t => {
  t.match(standingOf(unchecked, { weight: 0 }, judgement('up'), resolved), {
    takes: false,
    lacksNextHop: false,
    reason: 'weight 0',
  })
  t.match(standingOf(unchecked, { weight: 1 }, judgement('up'), unresolved), {
    takes: false,
    lacksNextHop: true,
    reason: /answer/,
  })
})

t.test('one without a next hop takes slots only when nobody else is left', async t => {
  const good = standingOf(unchecked, { weight: 1 }, judgement('up'), resolved)
  const lost = standingOf(unchecked, { weight: 1 }, judgement('up'), unresolved)
  const down = standingOf(checked(), { weight: 1 }, judgement('down'), unresolved)
  t.same(takers([good, lost, down]), [true, false, false])
  t.same(takers([lost, down]), [true, false])
  t.same(takers([down]), [false])
})
