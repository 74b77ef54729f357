import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ServiceRow } from '../../src/control/protocol.js'
import type { Daemon } from '../../src/lab/daemon.js'
import { brokenOf, EVERY_MS, echoConfig, hold, PORT } from '../fixtures/echo-site.js'
import { logged } from '../fixtures/logged.js'
import { buildAnother, type Edits } from '../fixtures/other-build.js'
import { openPinnedSite, type PinnedSite, pinnedConfig } from '../fixtures/pinned-site.js'
import { type ConfigFile, serve, skip } from '../fixtures/site.js'

/** The tables: fields in another order, records of another size. */
const otherTables: Edits = {
  'shared.h': source =>
    source
      .replace('\t__u16 idle;    /* its service', '\t__u64 pad9[8];\n$&')
      .replace(/(\t__u64 hash_seed;.*\n)(\t__u64 hash_mask;.*\n)/, '$2$1')
      .replace(/(\t__u64 tx_packets;.*\n)(\t__u64 tx_bytes;.*\n)/, '$2$1'),
}
/** The flow cache, of which another build has more to say. */
const otherCache: Edits = {
  'shared.h': source => source.replace('\tFLOW_SECONDS_PER_UNIT = 4,', '\tFLOW_OLDER = 1,\n$&'),
}

const openSite = async (t: Test): Promise<PinnedSite & { readonly config: ConfigFile }> => {
  const site = await openPinnedSite(t)
  const { lab } = site
  await Promise.all(lab.backends.map(backend => serve(backend, 'tcp-named', backend.name, PORT)))
  const { services } = pinnedConfig(lab) as { services: object }
  const { echo } = echoConfig(lab, undefined, { 'idle-time': '15m' }).services
  return { ...site, config: pinnedConfig(lab, { services: { ...services, echo } }) }
}

const trackedOf = async (daemon: Daemon): Promise<number[]> =>
  (await daemon.json<ServiceRow[]>('service', 'list')).map(({ trackedSlots }) => trackedSlots)

const packetsOf = async (daemon: Daemon): Promise<number> =>
  (await daemon.json<ServiceRow[]>('service', 'list')).reduce((sum, { packets }) => sum + Number(packets), 0)

for (const [what, edits] of [
  ['tables', otherTables],
  ['a flow cache', otherCache],
] as const)
  t.test(
    `${what} of another layout: nothing is lost, and every flow keeps its backend`,
    { skip },
    async t => {
      const site = await openSite(t)
      const { lab, config } = site
      const directory = `${lab.directory}/other`
      mkdirSync(directory)
      const cli = buildAnother(directory, edits)

      let daemon = site.start(config, { cli })
      await daemon.ready()
      const stream = await site.stream()
      const old = await hold({ lab, daemon }, 60)
      const { held } = await old.report()
      await daemon.json('backend', 'drain', 'echo/b2', '--deadline', '10m')
      await daemon.json('backend', 'set', 'echo4/b1', '--weight', '5')
      const young = await hold({ lab, daemon }, 60)
      const holders = [old, young]
      await sleep(2 * EVERY_MS)

      for (const build of [{}, { cli }, {}]) {
        const [tracked, packets] = [await trackedOf(daemon), await packetsOf(daemon)]
        t.ok(
          tracked.filter(slots => slots > 1000).length >= 2,
          `of the services' slots are tracked: ${tracked.join(', ')}`,
        )
        await daemon.stop('SIGKILL')
        daemon = site.start(config, build)
        holders.push(await hold({ lab, daemon }, 60)) // while one program takes over from the other
        await daemon.ready()
        t.match(logged(daemon, 'pins.converted').concat(logged(daemon, 'pins.adopted')), [
          what === 'tables'
            ? { reason: /its map backends is laid out otherwise/ }
            : { fresh: ['flow_cache'] },
        ])
        t.same(logged(daemon, 'pins.unusable'), [])
        t.same(logged(daemon, 'flows.lost'), [])
        const after = await trackedOf(daemon)
        t.ok(
          after.every((slots, i) => slots >= 0.9 * tracked[i]!),
          `they stay tracked: ${after.join(', ')}`,
        )
        t.ok((await packetsOf(daemon)) >= packets, 'counters go on')
        await sleep(2 * EVERY_MS)
      }
      for (const one of holders) {
        const report = await one.report()
        t.same([brokenOf(report), report.moved], [0, 0], JSON.stringify(report.held))
      }
      t.same((await old.report()).held, held)
      t.equal((await young.report()).held.b2, undefined)
      const { sent, lost, torn } = await stream.end()
      t.same({ lost, torn }, { lost: 0, torn: 0 }, `${sent} packets`)
    },
  )
