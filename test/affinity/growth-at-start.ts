/** A restart that needs larger tables: packets go on while the daemon waits for what it does not know yet. */
import t from 'tap'
import { temporaryDirectory } from '../control/fixtures/daemon.js'
import { frame, ipv4 } from '../fixtures/frames.js'
import { skip } from '../fixtures/native.js'
import { seededRandom } from '../fixtures/random.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { tcp } from '../fixtures/transport.js'
import { openBalancedSite } from './fixtures/balanced-site.js'
import { service } from './fixtures/file-service.js'

t.test('tables that grow at the start of a process lose no packet', { skip }, async t => {
  const site = await openBalancedSite({
    services: [service('web', { isChecked: false })],
    backends: 6,
    flows: 1024,
    startMs: 1_000_000,
    // All is known at the start.
    random: { ...seededRandom(1), chance: () => false },
    stateDir: temporaryDirectory(t),
  })
  t.teardown(() => site.close())
  for (let i = 0; i < 100 && !site.isDaemonAlive(); i++) await site.advance(100)
  const bytes = frame(
    { to: BALANCER_MAC, from: CLIENT_MAC },
    ipv4({ from: '198.18.0.1', to: '192.0.2.10' }, tcp({ from: 40_000, to: 80 })),
  )
  const before = site.run(bytes)
  t.ok(before)
  site.kill()
  const [web] = site.services
  for (let i = 0; i < 6; i++) web!.backends.push(site.make(web!))
  site.edit()
  const { grown } = site.seen
  await site.start()
  t.ok(site.seen.grown > grown, 'they have grown')
  t.notOk(site.isDaemonAlive(), 'and the process is not ready yet')
  bytes[47] = 0x10
  t.equal(site.run(bytes), before)
})
