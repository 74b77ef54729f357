import t from 'tap'
import type { Log } from '../src/log.js'
import { createRefusals } from '../src/refusals.js'

t.test('a size that is refused is said once, and tried again until it is not', async t => {
  const lines: unknown[] = []
  const say =
    (level: string) =>
    (entry: object): void =>
      void lines.push({ level, ...entry })
  const log: Log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
  const timers = new Map<() => void, number>()
  const clock = {
    after: (ms: number, call: () => void) => {
      timers.set(call, ms)
      return () => void timers.delete(call)
    },
  }
  let tries = 0
  const refusals = createRefusals(clock, log, () => {
    tries++
  })
  const refusal = { flows: 1024, reason: 'no room', isNew: true, retryMs: 60_000 }
  refusals.refused(refusal)
  t.match(lines, [{ level: 'warn', event: 'flows.refused', flows: 1024, reason: 'no room' }])
  t.equal(timers.size, 1)
  const [[call, ms] = []] = timers
  t.ok(ms! > 60_000, 'not before it is due')
  call!()
  t.equal(tries, 1)
  refusals.refused({ ...refusal, isNew: false })
  t.match(lines[1], { level: 'debug' })
  t.equal(timers.size, 1, 'one at a time')
  refusals.close()
  t.equal(timers.size, 0)
})
