import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { brokenOf, EVERY_MS, hold, openEchoSite } from '../fixtures/echo-site.js'
import { skip } from '../fixtures/site.js'

t.test('a drain keeps the connections that are there and gives no new one', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon } = site
  const old = await hold(site, 60)
  const { held } = await old.report()
  t.ok(held.b2! > 0 && held.b1! > 0, `b2 has ${held.b2} of 60`)

  const row = await daemon.json<BackendRow>('backend', 'drain', 'echo/b2', '--deadline', '10m')
  t.match(row, { state: 'draining', slots: 0, flowsAtLeast: true, reason: 'draining' })
  t.ok(row.drain!.remaining! > 590 && row.drain!.remaining! <= 600)
  const young = await hold(site, 60)
  t.equal((await young.report()).held.b2, undefined, 'no new connection')

  await sleep(2 * EVERY_MS)
  const { code, stderr } = await daemon.linimo('backend', 'drain', 'echo/b2', '--wait', '2s')
  t.equal(code, 8, '--wait has an end of its own')
  t.match(stderr, /echo\/b2 is not out within 2 s: (at least )?\d+ flows live/)
  const known = await daemon.until(
    'echo',
    'b2',
    ({ flows, flowsAtLeast }) => flows === held.b2 && !flowsAtLeast,
    40_000,
  )
  t.equal(known.drain?.isOut, false, 'its flows are counted exactly, and it is not out')
  const [now, later] = [await old.report(), await young.report()]
  t.same([brokenOf(now), now.moved, now.held], [0, 0, held], 'none of the old connections broke or moved')
  t.same([brokenOf(later), later.moved], [0, 0], 'nor of the new ones')

  await old.end()
  t.equal((await daemon.linimo('backend', 'drain', 'echo/b2', '--wait', '60s')).code, 0, 'out without them')
  t.match(await daemon.json('backend', 'show', 'echo/b2'), { state: 'draining', flows: 0, reason: 'drained' })
  t.same([brokenOf(await young.report())], [0])

  t.match(await daemon.json('backend', 'undrain', 'echo/b2'), { state: 'enabled', drain: null })
  await sleep(5000) // until then a repeated SYN goes where the first one went
  const back = await hold(site, 60)
  t.ok((await back.report()).held.b2! > 0, 'undrained it takes new connections')
  t.equal(brokenOf(await young.report()), 0)
})

t.test('at its deadline it is out, and only its own connections end', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon } = site
  const old = await hold(site, 60)
  const { held } = await old.report()
  t.equal((await daemon.linimo('backend', 'drain', 'echo/b2', '--deadline', '2s', '--wait', '20s')).code, 0)
  await sleep(4 * EVERY_MS)
  const after = await old.report()
  t.same(after.broken, { b2: held.b2 })
  t.same([after.held.b1, after.held.b3], [held.b1, held.b3])
})
