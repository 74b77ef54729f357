/** What is told of tracked flows, of real connections. */
import t from 'tap'
import type { FlowCount, FlowRow } from '../../src/control/protocol.js'
import { hold, openEchoSite } from '../fixtures/echo-site.js'
import { skip } from '../fixtures/site.js'

t.test('tracked flows are listed by backend, counted, and never dropped', { skip }, async t => {
  const site = await openEchoSite(t, { tracking: 'always', 'idle-time': '60s' })
  const { daemon } = site
  const held = await hold(site, 40)
  const { held: byBackend } = await held.report()
  const rows = await daemon.json<FlowRow[]>('flow', 'list', 'echo', '--state', 'open')
  const listed: Record<string, number> = {}
  for (const { backend } of rows) listed[backend!] = (listed[backend!] ?? 0) + 1
  t.same(listed, byBackend, 'as many of each backend as it holds connections')
  for (const row of rows)
    t.match(row, {
      kind: 'tracked',
      service: 'echo',
      protocol: 'tcp',
      id: null,
      client: null,
      server: null,
      local: null,
      state: 'open',
    })
  t.ok(
    rows.every(({ idle, expires }) => idle < 60 && idle + expires === 60),
    'seconds that add up to the idle time',
  )

  const counted = await daemon.json<FlowCount>('flow', 'count', 'echo')
  t.equal(counted.states.open, 40)
  t.equal(counted.kinds.tracked, counted.total)
  t.same(await daemon.json('flow', 'list', '--client', '0.0.0.0/0'), [], 'no client is known')
  t.equal((await daemon.json<FlowRow[]>('flow', 'list', '--limit', '7')).length, 7)

  const { code, stderr } = await daemon.linimo('flow', 'drop', 'echo')
  t.equal(code, 7)
  t.match(stderr, /tracked/)
  t.equal((await daemon.linimo('flow', 'drop', 'ehco')).code, 6)
  const after = await held.report()
  t.same([after.held, after.broken], [byBackend, {}], 'nothing happened to them')
  await held.end()
})
