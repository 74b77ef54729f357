import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { ServiceRow } from '../../src/control/protocol.js'
import { VIP } from '../../src/lab/lab.js'
import { type Outcome, startLoad } from '../../src/lab/load.js'
import { makeFile } from '../../src/lab/transfer.js'
import { hex } from '../fixtures/bytes.js'
import { frame, ipv4 } from '../fixtures/frames.js'
import { type ConfigFile, openSite, type Site, siteConfig, skip } from '../fixtures/site.js'
import { tcp } from '../fixtures/transport.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const SLOW = 60

/** Short requests at a steady rate, and slow ones that are under way throughout. */
const startBoth = ({ lab }: Site) => {
  makeFile(lab, 'slow', 160 * 1024) // 5 s at 32 kB/s
  const host = VIP
  const short = startLoad(lab.client, { host, path: '/', requests: 10_000, concurrency: 32, perSecond: 200 })
  const slow = startLoad(lab.client, {
    host,
    path: '/slow/slow',
    requests: SLOW,
    concurrency: SLOW,
    timeoutMs: 20_000,
  })
  return {
    /** Lets the slow ones end, then stops the others. */
    end: async (): Promise<readonly Outcome[]> => {
      const outcomes = await slow.outcomes
      short.stop()
      return [...outcomes, ...(await short.outcomes)]
    },
  }
}

const failuresOf = (outcomes: readonly Outcome[]) => outcomes.filter(outcome => outcome.error !== null)

/** The backend of each flow by its source port, as the data plane itself picks it under a configuration. */
const backendsByPort = async ({ lab, daemon }: Site, config: ConfigFile, ports: readonly number[]) => {
  const [file, packets] = [`${lab.directory}/explained.yaml`, `${lab.directory}/packets`]
  const syn = (port: number) =>
    frame(
      { to: '02:00:00:00:00:02', from: '02:00:00:00:00:01' },
      ipv4({ from: '10.0.0.1', to: VIP }, tcp({ from: port, to: 80 })),
    )
  writeFileSync(file, JSON.stringify(config))
  writeFileSync(packets, ports.map(port => `${hex(syn(port))}\n`).join(''))
  const { code, stdout, stderr } = await daemon.linimo('explain', '--config', file, '--packets', packets)
  if (code !== 0) throw new Error(`linimo explain failed with ${code}: ${stderr}`)
  const answers = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { backend: string | null })
  return new Map(ports.map((port, i) => [port, answers[i]?.backend]))
}

const webOnly = (site: Site, count: number, changes: ConfigFile = {}): ConfigFile => {
  const { services } = siteConfig(site.lab, {}, count) as {
    services: Record<string, Record<string, unknown>>
  }
  const { health: _, ...web } = services.web4!
  return { interfaces: ['eth0'], seed: SEED, services: { web4: web }, ...changes }
}

/** Waits until every slot that moved gives new connections to its new owner. */
const untilGraceIsOver = async ({ daemon }: Site): Promise<void> => {
  for (let asked = 0; asked < 300; asked++) {
    const { slotStates } = await daemon.json<ServiceRow>('service', 'show', 'web4')
    if (slotStates.learning > 0 && slotStates.grace === 0) return
    await sleep(100)
  }
  throw new Error('the moved slots do not leave their grace')
}

t.test('a reload that leaves the ring as it is fails no request', { skip }, async t => {
  const site = await openSite(t)
  const { lab, daemon } = site
  const { digest } = await daemon.ring('web4')
  const load = startBoth(site)
  await sleep(1000)

  const config = siteConfig(lab) as { services: Record<string, { backends: unknown[] }> }
  const { web4, ...others } = config.services
  const another = { vip: VIP, port: 8080, protocol: 'tcp', backends: web4!.backends }
  const changed = { ...web4, backends: web4!.backends.toReversed(), 'no-backend': 'drop' }
  daemon.writeConfig(JSON.stringify({ ...config, services: { ...others, another, web4: changed } }))
  t.equal((await daemon.linimo('apply')).code, 0, 'the daemon takes the file')
  t.match(await daemon.json('service', 'show', 'web4'), { noBackend: 'drop', digest })

  daemon.writeConfig(JSON.stringify(config))
  process.kill(daemon.running.pid, 'SIGHUP')
  for (let waited = 0; (await daemon.json<unknown[]>('service', 'list')).length !== 4; waited += 50) {
    if (waited > 5000) throw new Error('SIGHUP had no effect')
    await sleep(50)
  }
  const outcomes = await load.end()
  t.same(failuresOf(outcomes), [], `none of ${outcomes.length} requests failed`)
})

t.test('a reload that adds a backend fails no request, on moved slots neither', { skip }, async t => {
  const site = await openSite(t, { config: { seed: SEED } })
  const { lab, daemon } = site
  const before = webOnly(site, 3)
  daemon.writeConfig(JSON.stringify(before))
  t.equal((await daemon.linimo('apply', '--config', daemon.configFile)).code, 0)
  await daemon.ready()
  await lab.addBackend()
  const after = webOnly(site, 4)
  const load = startBoth(site)
  await sleep(1500)

  const began = performance.timeOrigin + performance.now()
  daemon.writeConfig(JSON.stringify(after))
  t.equal((await daemon.linimo('apply')).code, 0)
  await daemon.until('web4', 'b4', row => row.slots > 0 && row.nextHop !== null)
  const ended = performance.timeOrigin + performance.now()
  // Handshakes that may be under way come first: for some seconds a moved slot's SYNs go where they went.
  await untilGraceIsOver(site)
  // The load has a clock of its own, which a host that sets its time may put some way off this one.
  await sleep(1000)
  const settled = performance.timeOrigin + performance.now()
  await sleep(1500)
  const outcomes = await load.end()

  const ports = [...new Set(outcomes.map(outcome => outcome.clientPort))].filter(port => port !== 0)
  const [from, to] = [await backendsByPort(site, before, ports), await backendsByPort(site, after, ports)]
  const isMoved = ({ clientPort }: Outcome) => from.get(clientPort) !== to.get(clientPort)
  const isInFlight = (outcome: Outcome) => outcome.began <= ended && outcome.ended >= began
  const moved = outcomes.filter(outcome => isInFlight(outcome) && isMoved(outcome))
  t.comment(`${outcomes.length} requests, ${moved.length} in flight on moved slots`)
  t.ok(moved.length > 0, 'some were in flight on moved slots')
  t.same(failuresOf(outcomes), [], `none of ${outcomes.length} requests failed`)

  const servedBy = (isWhen: (outcome: Outcome) => boolean) =>
    outcomes.filter(outcome => outcome.error === null && isWhen(outcome))
  const old = servedBy(outcome => outcome.began < began)
  const isAsBefore = ({ backend, clientPort }: Outcome) => backend === from.get(clientPort)
  t.same(
    old.filter(outcome => !isAsBefore(outcome)),
    [],
    `${old.length} requests that began before were served by the backend that they began with`,
  )
  const meanwhile = servedBy(outcome => outcome.began >= began && outcome.began <= settled)
  t.same(
    meanwhile.filter(outcome => !isAsBefore(outcome) && outcome.backend !== to.get(outcome.clientPort)),
    [],
    'in the grace after the change by that one or the new one',
  )
  const later = servedBy(outcome => outcome.began > settled)
  t.same(
    later.filter(({ backend, clientPort }) => backend !== to.get(clientPort)),
    [],
    'every later request was served by the backend that explain names',
  )
  t.ok(
    later.some(({ backend }) => backend === 'b4'),
    'the new backend serves',
  )
})
