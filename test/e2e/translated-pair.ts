/** Two balancers side by side: what becomes of translated connections when one dies. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { sumOf } from '../fixtures/held-connections.js'
import { skip } from '../fixtures/site.js'
import {
  CONNECTIONS,
  EVERY_MS,
  holdBoth,
  hostsOf,
  lifeConfig,
  modes,
  openLife,
} from '../fixtures/translated-life.js'

for (const mode of modes)
  t.test(`${mode}: two balancers side by side, and one dies`, { skip }, async t => {
    const site = await openLife(t, { ...hostsOf(mode), balancers: 2 })
    const { lab, backends } = site
    const [one, two] = lab.balancers
    const first = await site.start(one!, lifeConfig(one!, backends, mode))
    await site.start(two!, lifeConfig(two!, backends, mode))
    const held = await holdBoth(site)
    const before = await held.reports()
    const newFlows = async (daemon: typeof first) =>
      (await daemon.json<BackendRow[]>('backend', 'list'))
        .filter(({ service }) => service.startsWith('named'))
        .reduce((sum, row) => sum + Number(row.newFlows), 0)
    const own = await newFlows(first)
    t.ok(own > CONNECTIONS / 2 && own < 1.5 * CONNECTIONS, `the first has ${own} of ${2 * CONNECTIONS}`)

    await lab.routeBy(two!)
    await one!.ip('link set eth0 down', 'link set eth1 down')
    await first.stop('SIGKILL')
    await sleep(3 * EVERY_MS)
    const after = await held.reports()
    t.equal(sumOf(after[0]!.broken) + sumOf(after[1]!.broken), mode === 'nat' ? 0 : own, 'broken')
    t.same(
      after.map(({ moved }) => moved),
      [0, 0],
      'nobody is answered by another',
    )
    t.equal(
      sumOf(after[0]!.held) + sumOf(after[1]!.held),
      sumOf(before[0]!.held) + sumOf(before[1]!.held) - (mode === 'nat' ? 0 : own),
    )
    await held.end()
  })
