import t from 'tap'
import { type Judgement, judge, unjudged } from '../../src/health/judge.js'
import type { HealthCheck } from '../../src/model.js'

const check = (initiallyUp = false): HealthCheck => ({
  type: 'tcp',
  port: null,
  intervalMs: 1000,
  timeoutMs: 500,
  rise: 2,
  fall: 3,
  initiallyUp,
  path: '/',
  host: null,
  expect: [],
})
const run = (results: string, initiallyUp = false): Judgement[] => {
  let now = unjudged
  return [...results].map(result => {
    now = judge(check(initiallyUp), now, result === '+' ? { ok: true } : { ok: false, reason: 'refused' })
    return now
  })
}
const healths = (results: string, initiallyUp = false): string =>
  run(results, initiallyUp)
    .map(({ health }) => (health === 'up' ? 'U' : health === 'down' ? 'D' : '?'))
    .join('')

t.test('the first result decides at once', async t => {
  t.equal(healths('+'), 'U')
  t.equal(healths('-'), 'D')
})
t.test('fall failures in a row make down; a success between them starts the count again', async t => {
  t.equal(healths('+---'), 'UUUD')
  t.equal(healths('+--+--'), 'UUUUUU')
})
t.test('rise successes in a row make up again', async t => {
  t.equal(healths('-++'), 'DDU')
  t.equal(healths('-+-+'), 'DDDD')
})
t.test('initially up takes fall failures from the start', async t => {
  t.equal(healths('---', true), 'UUD')
  t.equal(healths('+', true), 'U')
})
t.test('the reason is that of the last failure, and goes with success', async t => {
  const [first, second] = run('-+')
  t.equal(first!.reason, 'refused')
  t.equal(second!.reason, null)
})
