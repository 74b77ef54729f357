import t from 'tap'
import type { Admin } from '../src/admin.js'
import type { Judgement } from '../src/health/judge.js'
import type { HealthCheck } from '../src/model.js'
import type { Resolution } from '../src/next-hop.js'
import { standingOf, takers } from '../src/standing.js'

const resolved: Resolution = {
  nextHop: { ifindex: 1, mac: new Uint8Array(6), sourceMac: new Uint8Array(6), mtu: 1500, source: null },
  neighbour: null,
}
const unresolved: Resolution = { reason: 'neighbour does not answer', neighbour: null }
const judgement = (health: Judgement['health'], reason: string | null = null): Judgement => ({
  health,
  against: 0,
  reason,
})
const lastResort = 'drained' as const
const checked = (initiallyUp = false) => ({ health: { initiallyUp } as HealthCheck, lastResort })
const unchecked = { health: null, lastResort }

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

const enabledOne = standingOf(unchecked, { weight: 1 }, judgement('up'), resolved)
const downOne = standingOf(checked(), { weight: 1 }, judgement('down', 'refused'), resolved)
const draining = { state: 'draining', isOut: false } as const
const drained = { state: 'draining', isOut: true } as const

t.test('what drains takes nothing new, and is dead only when it is out', async t => {
  const standing = (admin: Admin, weight = 1) =>
    standingOf(unchecked, { weight }, judgement('up'), resolved, admin)
  t.match(standing(draining), { takes: false, isDraining: true, isDead: false, reason: 'draining' })
  t.match(standing(drained), { takes: false, isDraining: true, isDead: true, reason: 'drained' })
  t.match(standing({ state: 'leaving', isOut: false }), { takes: false, isDraining: true, isDead: false })
  t.match(standing({ state: 'enabled', isOut: false }, 0), { isDraining: true, isDead: false })
  t.match(standing({ state: 'disabled', isOut: false }), { takes: false, isDead: true, reason: 'disabled' })
})

t.test('what drains and cannot be reached is dead, for the reason that it has', async t => {
  const down = standingOf(checked(), { weight: 1 }, judgement('down', 'refused'), resolved, draining)
  t.match(down, { isDead: true, isLastResort: false, reason: 'refused' })
  const lost = standingOf(unchecked, { weight: 1 }, judgement('up'), unresolved, draining)
  t.match(lost, { isDead: true, isLastResort: false, lacksNextHop: false, reason: /answer/ })
})

t.test('a drained backend is the last resort, if the service says so', async t => {
  const on = (service: typeof unchecked | { health: null; lastResort: 'none' }, admin: Admin, weight = 1) =>
    standingOf(service, { weight }, judgement('up'), resolved, admin)
  const none = { health: null, lastResort: 'none' } as const
  t.same(takers([downOne, on(unchecked, draining)]), [false, true])
  t.same(takers([downOne, on(unchecked, drained)]), [false, true])
  t.same(takers([downOne, on(unchecked, { state: 'enabled', isOut: false }, 0)]), [false, true])
  t.same(takers([enabledOne, on(unchecked, draining)]), [true, false])
  t.same(takers([downOne, on(none, draining)]), [false, false])
  t.same(takers([downOne, on(unchecked, { state: 'leaving', isOut: false })]), [false, false])
  t.same(takers([downOne, on(unchecked, { state: 'disabled', isOut: false })]), [false, false])
})

t.test('the last resort is asked before one without a next hop', async t => {
  const lost = standingOf(unchecked, { weight: 1 }, judgement('up'), unresolved)
  const drains = standingOf(unchecked, { weight: 1 }, judgement('up'), resolved, draining)
  t.same(takers([lost, drains]), [false, true])
})
