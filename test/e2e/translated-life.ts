/** Translated connections outlive changes of backends, daemons and builds, and one of two balancers. */
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { ECHO_PORT, hold, NAMED_PORT, stream, sumOf } from '../fixtures/held-connections.js'
import { buildAnother } from '../fixtures/other-build.js'
import { skip } from '../fixtures/site.js'
import { type LifeSite, lifeConfig, type Mode, openLife } from '../fixtures/translated-life.js'
import { VIP, VIP6 } from '../fixtures/translated-site.js'

const EVERY_MS = 1000
const CONNECTIONS = 500
const modes: readonly Mode[] = ['nat', 'fullnat']
/** NAT's backends have the balancer as their gateway. */
const hostsOf = (mode: Mode) => (mode === 'nat' ? { inside: 4, routed: 0 } : { inside: 1, routed: 3 })

/** Connections to both VIPs, and what became of them: none broke, none was answered by another backend. */
const holdBoth = async ({ lab }: LifeSite) => {
  const held = await Promise.all([
    hold(lab.clients.far1, VIP, NAMED_PORT, CONNECTIONS, EVERY_MS),
    hold(lab.clients.far2, VIP6, NAMED_PORT, CONNECTIONS, EVERY_MS),
  ])
  return {
    reports: () => Promise.all(held.map(one => one.report())),
    end: () => Promise.all(held.map(one => one.end())),
  }
}

for (const mode of modes)
  t.test(
    `${mode}: 1,000 connections through changes of backends, restarts and another build`,
    { skip },
    async t => {
      const site = await openLife(t, hostsOf(mode))
      const { lab, backends } = site
      const config = lifeConfig(lab.balancer, backends, mode)
      mkdirSync(`${lab.directory}/other`)
      const cli = buildAnother(`${lab.directory}/other`)
      let daemon = await site.start(lab.balancer, config)
      const names = backends.map(({ name }) => name)
      const held = await holdBoth(site)
      const datagrams = await stream(lab.clients.far1, VIP, ECHO_PORT, 40, 200)
      const before = await held.reports()
      const check = async (what: string) => {
        await sleep(1.3 * EVERY_MS)
        const reports = await held.reports()
        t.same(
          reports.map(({ held, broken, moved }) => ({ held, broken, moved })),
          before.map(({ held }) => ({ held, broken: {}, moved: 0 })),
          what,
        )
      }
      t.same(Object.keys(before[0]!.held).sort(), names, 'each backend has connections')

      const services = ['named4', 'named6', 'echo4']
      const each = async (...command: readonly string[]) => {
        for (const service of services)
          await daemon.json('backend', command[0]!, `${service}/${command[1]}`, ...command.slice(2))
      }
      await each('set', names[0]!, '--weight', '5')
      await check('a weight of 5')
      await each('drain', names[1]!, '--deadline', '10m')
      await check('a backend drains')
      await daemon.stop('SIGKILL')
      await check('the daemon is dead')
      daemon = await site.start(lab.balancer, config)
      await check('it is back')
      await each('undrain', names[1]!)
      await each('remove', names[2]!)
      await check('a backend leaves')
      await daemon.stop('SIGTERM')
      daemon = await site.start(lab.balancer, config, { cli })
      await check('another build')
      await daemon.stop('SIGKILL')
      daemon = await site.start(lab.balancer, config)
      await check('and back')

      const { sent, lost } = await datagrams.end()
      t.equal(lost, 0, `of ${sent} datagrams`)
      const young = await hold(lab.clients.far1, VIP, NAMED_PORT, 50, EVERY_MS)
      const report = await young.report()
      t.equal(sumOf(report.held), 50, 'new connections are made all the same')
      const rows = await daemon.json<BackendRow[]>('backend', 'list', 'named4')
      t.ok(rows.every(({ health }) => health === 'up'))
      await young.end()
      await held.end()
    },
  )

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
