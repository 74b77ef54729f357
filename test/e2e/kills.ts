import { mkdirSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { brokenOf, EVERY_MS, echoConfig, hold, PORT } from '../fixtures/echo-site.js'
import { buildAnother } from '../fixtures/other-build.js'
import { openPinnedSite, pinnedConfig } from '../fixtures/pinned-site.js'
import { seededRandom } from '../fixtures/random.js'
import { serve, skip } from '../fixtures/site.js'

const KILLS = 20
/** Longer than a start takes. */
const LATEST_MS = 3000
const seed = Number(process.env.LINIMO_SEED ?? Date.now() % 1_000_000)

t.test(
  `kill -9 at any moment of a start: packets flow on, and the next start succeeds (${seed})`,
  { skip },
  async t => {
    const random = seededRandom(seed)
    const site = await openPinnedSite(t)
    const { lab } = site
    await Promise.all(lab.backends.map(backend => serve(backend, 'tcp-named', backend.name, PORT)))
    const directory = `${lab.directory}/other`
    mkdirSync(directory)
    const cli = buildAnother(directory, {
      'shared.h': source =>
        source
          .replace('	__u16 idle;	 /* its service', '	__u64 pad9[8];\n$&')
          .replace('	FLOW_SECONDS_PER_UNIT = 4,', '	FLOW_OLDER = 1,\n$&'),
    })
    const { services } = pinnedConfig(lab) as { services: object }
    const { echo } = echoConfig(lab, undefined, { 'idle-time': '15m' }).services
    const config = (flows: number) =>
      pinnedConfig(lab, { limits: { flows }, services: { ...services, echo } })

    const first = site.start(config(65536))
    await first.ready()
    const stream = await site.stream()
    const holders = [await hold({ lab, daemon: first }, 60)]
    await first.json('backend', 'drain', 'echo/b2', '--deadline', '10m')
    holders.push(await hold({ lab, daemon: first }, 60))
    await first.stop('SIGKILL')

    const moments: string[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      const [isOther, flows, afterMs] = [
        random.chance(0.5),
        random.pick([16384, 65536, 262144]),
        random.between(100, LATEST_MS),
      ]
      const daemon = site.start(config(flows), isOther ? { cli } : {})
      const ended = await Promise.race([daemon.running.exited, sleep(afterMs, null)])
      if (ended !== null) t.fail(`a start failed with ${ended.code}: ${ended.stderr}`)
      await daemon.stop('SIGKILL')
      moments.push(`${isOther ? 'other' : 'this'} build, ${flows} flows, ${afterMs} ms`)
    }
    t.comment(moments.join('; '))
    const last = site.start(config(65536))
    await last.ready()
    await sleep(2 * EVERY_MS)
    for (const one of holders) {
      const report = await one.report()
      t.same([brokenOf(report), report.moved], [0, 0], JSON.stringify(report.held))
    }
    const { sent, lost, torn } = await stream.end()
    t.same({ lost, torn }, { lost: 0, torn: 0 }, `${sent} packets`)
    t.equal(
      readdirSync(site.pinDir).filter(name => /^\d+$/.test(name)).length,
      1,
      'nothing half-written is left',
    )
  },
)
