/** Translated connections outlive changes of backends, daemons and builds. */
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { ECHO_PORT, hold, NAMED_PORT, stream, sumOf } from '../fixtures/held-connections.js'
import { buildAnother } from '../fixtures/other-build.js'
import { skip } from '../fixtures/site.js'
import { EVERY_MS, holdBoth, hostsOf, lifeConfig, modes, openLife } from '../fixtures/translated-life.js'
import { VIP } from '../fixtures/translated-site.js'

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
