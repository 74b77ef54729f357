/** FULLNAT's local ports: a pool that is exhausted, one client's ports used again and again, and times that pass. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Host } from '../../src/lab/namespaces.js'
import { PYTHON, pythonProgram } from '../fixtures/capture.js'
import { hold, NAMED_PORT, serveNames, sumOf } from '../fixtures/held-connections.js'
import { countVerdicts, skip } from '../fixtures/site.js'
import {
  openTranslatedSite,
  rows,
  soundly,
  translatedServices,
  VIP,
  VIP6,
} from '../fixtures/translated-site.js'

/** A whole soak of it: LINIMO_REUSE_SECONDS=60. */
const REUSE_SECONDS = Number(process.env.LINIMO_REUSE_SECONDS ?? 8)
const PER_SECOND = 2000
const POOL_PORTS = 100

interface Opened {
  readonly connected: number
  readonly failed: Readonly<Record<string, number>>
  readonly longestMs: number
}

/** Opens connections that stay open until it is ended. */
const open = async (host: Host, vip: string, count: number) => {
  const running = host.start([PYTHON, pythonProgram('tcp-open'), vip, String(NAMED_PORT), String(count)])
  for (let waited = 0; !running.output().stdout.includes('}'); waited += 20) {
    if (waited > 60_000) throw new Error(`tcp-open does not end: ${running.output().stderr}`)
    await sleep(20)
  }
  const opened = JSON.parse(running.output().stdout.replace('ready ', '')) as Opened
  return { opened, end: () => running.stop() }
}

t.test('a pool of 100 ports', { skip }, async t => {
  const { lab, daemon } = await openTranslatedSite(
    t,
    ({ routed }) => ({
      interfaces: ['eth0', 'eth1'],
      'local-addresses': ['10.2.8.1'],
      'local-ports': `40000-${40000 + POOL_PORTS - 1}`,
      services: {
        named: {
          vip: VIP,
          port: NAMED_PORT,
          forward: 'fullnat',
          'ring-size': 251,
          'no-backend': 'reject',
          timeouts: {
            'fin-wait': '2s',
            'close-wait': '2s',
            'last-ack': '2s',
            'time-wait': '2s',
            close: '2s',
          },
          backends: rows(routed, 4, NAMED_PORT),
        },
      },
    }),
    { inside: 0, routed: 2 },
  )
  await serveNames(lab.routed)
  const HELD = 60
  const old = await hold(lab.clients.far1, VIP, NAMED_PORT, HELD, 500)
  const more = await open(lab.clients.far2, VIP, POOL_PORTS)
  t.equal(more.opened.connected, POOL_PORTS - HELD, 'every port is used')
  t.same(more.opened.failed, { ECONNREFUSED: HELD }, 'whoever comes then is refused')
  t.ok(more.opened.longestMs < 1000, `at once: ${more.opened.longestMs} ms`)
  const verdicts = await countVerdicts(daemon)
  t.ok((verdicts.TX_EXHAUSTED ?? 0) >= HELD, `TX_EXHAUSTED: ${verdicts.TX_EXHAUSTED}`)

  // Under load: a client that tries all the time.
  const pushing = open(lab.clients.near, VIP, 2000)
  const during = await old.report()
  const pushed = await pushing
  t.same(pushed.opened.failed, { ECONNREFUSED: 2000 })
  await sleep(1200)
  const after = await old.report()
  for (const report of [during, after]) t.match(report, { broken: {}, moved: 0 })
  t.equal(sumOf(after.held), HELD, 'those that were there are as they were')
  await pushed.end()

  await more.end()
  await sleep(4500)
  const again = await open(lab.clients.near, VIP, POOL_PORTS)
  t.equal(again.opened.connected, POOL_PORTS - HELD, 'ports that are free again are used again')
  await again.end()
  await old.end()
  await sleep(4500)
  const all = await open(lab.clients.far1, VIP, POOL_PORTS + 5)
  t.same([all.opened.connected, all.opened.failed], [POOL_PORTS, { ECONNREFUSED: 5 }], 'all of them')
  await all.end()
})

t.test(`one client, ${PER_SECOND} connections a second, its ports again and again`, { skip }, async t => {
  const { lab, daemon } = await openTranslatedSite(
    t,
    ({ routed, balancer }) => ({
      interfaces: ['eth0', 'eth1'],
      'local-addresses': [
        balancer.pools[0].replace('.0/28', '.1'),
        balancer.pools[1].replace('::/124', '::1'),
      ],
      services: translatedServices(routed, { forward: 'fullnat' }),
    }),
    { inside: 0, routed: 2 },
  )
  const { far1 } = lab.clients
  for (const [vip, seconds] of [
    [VIP, REUSE_SECONDS],
    [VIP6, REUSE_SECONDS / 2],
  ] as const)
    await t.test(vip, t =>
      soundly(t, lab, async () => {
        const command = [
          pythonProgram('who-load'),
          vip,
          '80',
          String(PER_SECOND),
          String(seconds),
          '6',
          '40000',
          '43999',
        ]
        const text = await far1.run([PYTHON, ...command], { timeoutMs: 30_000 + seconds * 2000 })
        const load = JSON.parse(text) as Record<
          'tried' | 'answered' | 'wrong' | 'slow' | 'again' | 'ports',
          number
        > & {
          errors: Readonly<Record<string, number>>
        }
        t.comment(text)
        t.match(load, { wrong: 0, slow: 0, errors: {} }, 'each is answered, and to its own question')
        t.equal(load.answered, load.tried)
        t.ok(load.again > 0.5 * load.tried, `${load.again} of ${load.tried} by ports used before`)
      }),
    )
  t.equal((await countVerdicts(daemon)).TX_EXHAUSTED, undefined)
  t.equal((await countVerdicts(daemon)).TX_NO_CONNECTION, undefined)
})

t.test('connections that are silent, within the time and beyond it', { skip }, async t => {
  const HELD = 20
  const { lab, daemon } = await openTranslatedSite(
    t,
    ({ routed }) => ({
      interfaces: ['eth0', 'eth1'],
      'local-addresses': ['10.2.8.1'],
      'local-ports': `40000-${40000 + 2 * HELD - 1}`,
      services: {
        named: {
          vip: VIP,
          port: NAMED_PORT,
          forward: 'fullnat',
          'ring-size': 251,
          'idle-time': '5s',
          backends: rows(routed, 4, NAMED_PORT),
        },
      },
    }),
    { inside: 0, routed: 2 },
  )
  await serveNames(lab.routed)
  const within = await hold(lab.clients.far1, VIP, NAMED_PORT, HELD, 3000)
  const beyond = await hold(lab.clients.far2, VIP, NAMED_PORT, HELD, 15_000)
  const early = await open(lab.clients.near, VIP, 5)
  t.same(early.opened.failed, { ECONNREFUSED: 5 }, 'every port is used')
  await sleep(7500)
  const others = await open(lab.clients.near, VIP, HELD + 5)
  t.same(
    [others.opened.connected, others.opened.failed],
    [HELD, { ECONNREFUSED: 5 }],
    "the ports of those that have been silent for too long, and nobody else's",
  )
  const [kept, cut] = [await within.report(), await beyond.report()]
  t.match(kept, { broken: {}, moved: 0 })
  t.equal(sumOf(kept.held), HELD, 'whoever speaks in time is kept')
  await sleep(9000)
  const late = await beyond.report()
  t.same([sumOf(cut.broken), sumOf(late.broken), late.moved], [0, HELD, 0], 'whoever is late is reset')
  t.match(await within.report(), { broken: {}, moved: 0 })
  t.ok(((await countVerdicts(daemon)).TX_NO_CONNECTION ?? 0) >= HELD, 'TX_NO_CONNECTION')
  for (const one of [within, beyond, others, early]) await one.end()
})
