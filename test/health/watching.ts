/** What the monitor is told when the configuration changes while connections are there. */
import t from 'tap'
import { createWatching } from '../../src/checks.js'
import { parseConfig } from '../../src/config.js'
import { createMonitor } from '../../src/health/monitor.js'
import { wantedBy } from '../../src/wanted.js'

const KEYS = ['10.0.0.1', '10.0.0.2'].map(address => `192.0.2.10:80/tcp ${address}:80`)

const wanted = (backends: readonly string[], health: object | null) =>
  wantedBy(
    parseConfig(
      JSON.stringify({
        interfaces: ['lo'],
        services: {
          web: {
            vip: '192.0.2.10',
            port: 80,
            ...(health ? { health } : {}),
            backends: backends.map(address => ({ address })),
          },
        },
      }),
    ).config,
  )

const setUp = () => {
  const timers: (() => void)[] = []
  const clock = {
    now: () => 0,
    after: (_: number, call: () => void) => {
      timers.push(call)
      return () => undefined
    },
    random: () => 0.5,
  }
  let isAlive = false
  const monitor = createMonitor(
    async () => (isAlive ? { ok: true } : { ok: false, reason: 'refused' }),
    clock,
    () => undefined,
  )
  const probeAll = async (): Promise<void> => {
    for (const call of timers.splice(0)) call()
    for (let i = 0; i < 5; i++) await Promise.resolve()
  }
  const healths = () => KEYS.map(key => monitor.judgement(key).health)
  return { watch: createWatching(monitor), healths, probeAll, revive: () => (isAlive = true) }
}

t.test('a check that is added to a running service takes nobody out before it has failed', async t => {
  const { watch, healths, probeAll } = setUp()
  watch(wanted(['10.0.0.1'], null))
  watch(wanted(['10.0.0.1', '10.0.0.2'], { type: 'tcp', fall: 3 }))
  t.same(healths(), ['up', 'unknown'], 'only the backend that has come with it is new')
  await probeAll()
  t.same(healths(), ['up', 'down'])
  await probeAll()
  t.same(healths(), ['up', 'down'])
  await probeAll()
  t.same(healths(), ['down', 'down'], 'after `fall` failures')
})

t.test('from the start on a check has to succeed first', async t => {
  const { watch, healths, probeAll, revive } = setUp()
  watch(wanted(['10.0.0.1', '10.0.0.2'], { type: 'tcp' }))
  t.same(healths(), ['unknown', 'unknown'])
  revive()
  await probeAll()
  t.same(healths(), ['up', 'up'])
})
