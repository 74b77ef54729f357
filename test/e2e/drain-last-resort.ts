import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { brokenOf, EVERY_MS, echoConfig, hold, openEchoSite, PORT } from '../fixtures/echo-site.js'
import { serve, skip } from '../fixtures/site.js'

t.test('a drained backend is the last resort, unless told otherwise', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon, servers, lab } = site
  await daemon.json('backend', 'drain', 'echo/b2')
  for (const i of [0, 2]) await servers[i]!.stop('SIGKILL')
  await daemon.until('echo', 'b2', ({ slots }) => slots === 65537)
  const held = await hold(site, 10)
  t.same((await held.report()).held, { b2: 10 })
  t.match(await daemon.json('backend', 'show', 'echo/b2'), {
    state: 'draining',
    reason: /nobody else is left/,
  })

  await serve(lab.backends[0]!, 'tcp-named', 'b1', PORT)
  await daemon.until('echo', 'b1', ({ slots }) => slots === 65537)
  await sleep(4 * EVERY_MS)
  t.match(await held.report(), { held: { b2: 10 }, broken: {} }, 'what it has taken it keeps')

  daemon.writeConfig(JSON.stringify(echoConfig(lab, undefined, { 'last-resort': 'none' })))
  t.equal((await daemon.linimo('apply')).code, 0)
  await daemon.json('backend', 'drain', 'echo/b1')
  await daemon.json('backend', 'disable', 'echo/b2')
  t.match(await daemon.json('backend', 'show', 'echo/b1'), { slots: 0 })
})

t.test('diff says what would move; what breaks connections is refused without --force', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon, lab } = site
  const held = await hold(site, 30)
  await sleep(11_000) // two samples of the counters
  daemon.writeConfig(JSON.stringify(echoConfig(lab, ['b1', 'b3'])))
  const diff = await daemon.linimo('diff', '--json')
  t.equal(diff.code, 10)
  const { impact, breaks } = JSON.parse(diff.stdout)
  t.match(impact, [{ service: 'echo', slots: 65537, breaks: false, flows: 'unknown' }])
  t.ok(impact[0].slotsMoved > 20_000 && impact[0].packetShare > 0.05 && impact[0].packetShare < 0.8)
  t.equal(breaks, false)

  daemon.writeConfig(JSON.stringify(echoConfig(lab, undefined, { 'ring-size': 4099 })))
  t.match((await daemon.linimo('diff')).stdout, /BREAKS connections: ring-size 65537 -> 4099/)
  const refused = await daemon.linimo('apply')
  t.equal(refused.code, 7)
  t.match(refused.stderr, /ring-size 65537 -> 4099.*\n.*--force/)
  process.kill(daemon.running.pid, 'SIGHUP')
  await sleep(500)
  t.match(await daemon.json('status'), { config: { error: /connections would break/ } })
  t.match(await daemon.json('service', 'show', 'echo'), { ringSize: 65537 })
  t.equal(brokenOf(await held.report()), 0)
  t.equal((await daemon.linimo('apply', '--force')).code, 0)
  t.match(await daemon.json('service', 'show', 'echo'), { ringSize: 4099 })
})
