import t from 'tap'
import type { Clock } from '../../src/health/clock.js'
import { type Checked, createMonitor } from '../../src/health/monitor.js'
import type { ProbeResult, ProbeTarget } from '../../src/health/probe.js'
import type { HealthCheck } from '../../src/model.js'

const check: HealthCheck = {
  type: 'tcp',
  port: null,
  intervalMs: 1000,
  timeoutMs: 500,
  rise: 2,
  fall: 2,
  initiallyUp: false,
  path: '/',
  host: null,
  expect: [],
}
const checked = (key: string, changes: Partial<HealthCheck> = {}): Checked => ({
  key,
  check: { ...check, ...changes },
  target: { address: key, port: 80, vip: '192.0.2.10' },
})

/** Time that stands until it is moved; timers fire in order. */
const fakeClock = (random = 0.5) => {
  let now = 0
  let timers: { at: number; call: () => void }[] = []
  const clock: Clock = {
    now: () => now,
    after: (ms, call) => {
      const timer = { at: now + ms, call }
      timers.push(timer)
      return () => {
        timers = timers.filter(one => one !== timer)
      }
    },
    random: () => random,
  }
  const pass = async (ms: number): Promise<void> => {
    const end = now + ms
    for (;;) {
      const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      timers = timers.filter(one => one !== next)
      now = next.at
      next.call()
      for (let i = 0; i < 5; i++) await Promise.resolve()
    }
    now = end
  }
  return { clock, pass }
}

const setUp = (random?: number) => {
  const { clock, pass } = fakeClock(random)
  const probed: { at: number; address: string }[] = []
  const changes: string[] = []
  let answer: (address: string) => boolean = () => true
  const probe = async (_: HealthCheck, { address }: ProbeTarget): Promise<ProbeResult> => {
    probed.push({ at: clock.now(), address })
    return answer(address) ? { ok: true } : { ok: false, reason: 'refused' }
  }
  const monitor = createMonitor(probe, clock, (key, now) => changes.push(`${key} ${now.health}`))
  return {
    monitor,
    pass,
    probed,
    changes,
    answers: (with_: typeof answer) => {
      answer = with_
    },
  }
}

t.test('each backend is asked once an interval, give or take the jitter', async t => {
  const { monitor, pass, probed } = setUp()
  monitor.watch([checked('a'), checked('b')])
  await pass(10_050)
  t.equal(probed.filter(({ address }) => address === 'a').length, 11)
  t.equal(probed.filter(({ address }) => address === 'b').length, 11)
  for (const random of [0, 0.999]) {
    const other = setUp(random)
    other.monitor.watch([checked('a')])
    await other.pass(10_000)
    const gaps = other.probed.slice(1).map(({ at }, i) => at - other.probed[i]!.at)
    t.ok(
      gaps.every(gap => gap >= 900 && gap <= 1100),
      `${gaps}`,
    )
    other.monitor.close()
  }
  monitor.close()
})

t.test('a change of health is told, at once the first time, then after fall and rise', async t => {
  const { monitor, pass, changes, answers } = setUp()
  monitor.watch([checked('a')])
  t.notOk(monitor.isComplete())
  await pass(100)
  t.ok(monitor.isComplete())
  t.same(changes, ['a up'])
  answers(() => false)
  await pass(1000)
  t.equal(monitor.judgement('a').health, 'up')
  await pass(1000)
  t.equal(monitor.judgement('a').health, 'down')
  answers(() => true)
  await pass(1000)
  t.equal(monitor.judgement('a').health, 'down')
  await pass(1000)
  t.equal(monitor.judgement('a').health, 'up')
  monitor.close()
})

t.test('a check that stays goes on undisturbed, one that is asked otherwise keeps its answer', async t => {
  const { monitor, pass, probed } = setUp()
  monitor.watch([checked('a')])
  await pass(100)
  monitor.watch([checked('a'), checked('b')])
  t.equal(monitor.judgement('a').health, 'up')
  t.equal(monitor.judgement('b').health, 'unknown')
  monitor.watch([checked('a', { intervalMs: 5000 })])
  t.equal(monitor.judgement('a').health, 'up')
  const before = probed.length
  await pass(20_000)
  t.ok(probed.length - before <= 5, 'by the new interval')
  t.ok(
    probed.slice(before).every(({ address }) => address === 'a'),
    'b is asked no more',
  )
  monitor.close()
  const after = probed.length
  await pass(20_000)
  t.equal(probed.length, after, 'nobody is asked after close')
})

t.test(
  "what an earlier process found holds until the check's first result, and a lost probe is asked after",
  async t => {
    const { clock, pass } = fakeClock()
    const answers = new Map([
      ['a', true],
      ['b', false],
      ['c', true],
    ])
    const probe = async (_: HealthCheck, { address }: ProbeTarget): Promise<ProbeResult> =>
      answers.get(address) ? { ok: true } : { ok: false, reason: 'refused' }
    const was = (health: 'up' | 'down') => ({
      judgement: { health, against: 0, reason: health === 'up' ? null : 'silent' },
      ageMs: 5000,
    })
    const restored = new Map([
      ['a', was('up')],
      ['b', was('up')],
      ['c', was('down')],
    ])
    const changes: string[] = []
    const monitor = createMonitor(probe, clock, (key, now) => changes.push(`${key} ${now.health}`), restored)
    const all = [checked('a'), checked('b', { initiallyUp: true }), checked('c')]
    monitor.watch(all)
    t.same(
      all.map(({ key }) => monitor.judgement(key).health),
      ['up', 'up', 'down'],
    )
    t.ok(monitor.hasResult('a'), 'it is known')
    t.notOk(monitor.isComplete(), 'but not checked yet')
    t.equal(monitor.known().get('c')?.ageMs, 5000)
    await pass(100)
    t.same(
      all.map(({ key }) => monitor.judgement(key).health),
      ['up', 'up', 'up'],
      'one lost probe is no reason to cut connections',
    )
    t.ok(monitor.isComplete())
    t.equal(monitor.known().get('a')?.ageMs, 50)
    await pass(200)
    t.equal(monitor.judgement('b').health, 'down', 'but the next are asked at once')
    t.same(changes, ['a up', 'b up', 'c up', 'b down'])

    monitor.watch([checked('b')])
    monitor.watch(all)
    t.equal(monitor.judgement('a').health, 'unknown', 'a check that comes again is a new one')
    monitor.close()
    monitor.watch(all)
    await pass(10_000)
    t.equal(changes.length, 4, 'nobody is asked after close')
  },
)
