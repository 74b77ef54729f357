import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow, ServiceRow, Status } from '../../src/control/protocol.js'
import { type Lab, VIP } from '../../src/lab/lab.js'
import { echoConfig, hold, openEchoSite } from '../fixtures/echo-site.js'
import { fetchNames, openLab, openSite, siteConfig, skip, startOn } from '../fixtures/site.js'

const LISTEN = '127.0.0.1:9464'
const http = { listen: LISTEN }

/** Series -> value, as a scrape in the balancer's namespace gives them. */
const scrape = async ({ balancer }: Lab, listen = LISTEN): Promise<ReadonlyMap<string, number>> => {
  const text = await balancer.run(['curl', '-sS', '--fail-with-body', '-m', '10', `http://${listen}/metrics`])
  const samples = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map(line => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

t.test('a scrape says what status says, and counts what was sent', { skip }, async t => {
  const { lab, daemon } = await openSite(t, { config: { http } })
  const before = await scrape(lab)
  const names = await fetchNames(lab.client, VIP, 30)
  const after = await scrape(lab)
  const grown = (series: string): number => after.get(series)! - before.get(series)!

  for (const { name } of lab.backends) {
    const served = names.filter(one => one === name).length
    t.ok(grown(`linimo_backend_syns_total{service="web4",backend="${name}"}`) >= served)
    t.equal(after.get(`linimo_backend_up{service="web4",backend="${name}"}`), 1)
    t.equal(after.get(`linimo_backend_state{service="web4",backend="${name}",state="enabled"}`), 1)
  }
  const packets = lab.backends
    .map(({ name }) => grown(`linimo_backend_packets_total{service="web4",backend="${name}"}`))
    .reduce((sum, one) => sum + one, 0)
  t.ok(packets >= 30 * 4, `${packets} packets`)
  t.equal(grown('linimo_service_packets_total{service="web4"}'), packets)
  t.ok(grown('linimo_verdict_packets_total{verdict="TX_DR"}') >= packets)

  const status = await daemon.json<Status>('status')
  const web4 = status.services.find(({ service }) => service === 'web4')!
  t.same(status.http, { listen: LISTEN, error: null })
  t.equal(after.get('linimo_ready'), 1)
  t.equal(after.get('linimo_service_slots{service="web4",state="untracked"}'), web4.slotStates.untracked)
  t.equal(after.get('linimo_service_slots_written_total{service="web4"}'), web4.slotsWrittenInAll)
  t.equal(after.get('linimo_flow_cache_entries'), status.flowCache?.entries)
  t.ok(after.get('linimo_change_slots_count')! >= 4, 'each service has been filled')
  const { stdout } = await daemon.linimo('status')
  t.match(stdout, `metrics     http://${LISTEN}/metrics`)
})

t.test('a change shows in the slots: how many were written, and how many are tracked', { skip }, async t => {
  const site = await openEchoSite(t)
  const { lab, daemon } = site
  daemon.writeConfig(JSON.stringify({ ...echoConfig(lab), http }))
  t.match(await daemon.json('apply'), { changes: [{ name: 'http', detail: `listen none -> ${LISTEN}` }] })
  const old = await hold(site, 60)
  const before = await scrape(lab)
  const row = await daemon.json<BackendRow>('backend', 'show', 'echo/b2')
  await daemon.json('backend', 'drain', 'echo/b2')
  const after = await scrape(lab)
  t.equal(after.get('linimo_service_last_change_slots{service="echo"}'), row.slots)
  t.equal(
    after.get('linimo_service_slots_written_total{service="echo"}')! -
      before.get('linimo_service_slots_written_total{service="echo"}')!,
    row.slots,
  )
  t.equal(after.get('linimo_change_slots_count')! - before.get('linimo_change_slots_count')!, 1)
  t.equal(after.get('linimo_change_slots_sum')! - before.get('linimo_change_slots_sum')!, row.slots)
  t.equal(after.get('linimo_backend_state{service="echo",backend="b2",state="draining"}'), 1)

  const echo = await daemon.json<ServiceRow>('service', 'show', 'echo')
  t.equal(echo.trackedSlots, row.slots)
  t.equal(after.get('linimo_service_tracked_ratio{service="echo"}'), echo.trackedShare)
  t.match((await daemon.linimo('service', 'show', 'echo')).stdout, `last change wrote ${row.slots}`)

  // A change that leaves the ring as it is writes nothing, and is not counted.
  await daemon.json('backend', 'set', 'echo/b1', '--weight', '1')
  const unchanged = await scrape(lab)
  for (const series of ['linimo_change_slots_count', 'linimo_service_last_change_slots{service="echo"}'])
    t.equal(unchanged.get(series), after.get(series), series)

  // The connections that go on sending are entered, and a sweep counts them.
  const end = Date.now() + 40_000
  let seen = after
  while ((seen.get('linimo_backend_flows{service="echo",backend="b2"}') ?? 0) === 0 && Date.now() < end) {
    await sleep(1000)
    seen = await scrape(lab)
  }
  const { held } = await old.report()
  t.equal(seen.get('linimo_backend_flows{service="echo",backend="b2"}'), held.b2)
  t.ok(seen.get('linimo_flow_cache_inserted_total')! >= held.b2!)
  t.ok(seen.get('linimo_flow_cache_sweep_duration_seconds_count')! > 0)
  t.match(await daemon.json<Status>('status'), { flowCache: { lastSweep: { duration: Number } } })
  await old.end()
})

t.test('what a service gets and nobody takes is counted for it', { skip }, async t => {
  const { lab, daemon } = await openSite(t, { config: { http } })
  for (const { name } of lab.backends) await daemon.json('backend', 'disable', `web4/${name}`)
  const refused = await lab.client.capture(['curl', '-sS', '-m', '5', `http://${VIP}/`])
  t.not(refused.code, 0)
  const series = await scrape(lab)
  const unforwarded = series.get('linimo_service_unforwarded_packets_total{service="web4"}')!
  t.ok(unforwarded > 0, `${unforwarded} packets`)
  t.equal(series.get('linimo_service_unforwarded_packets_total{service="echo4"}'), 0)
  t.match(await daemon.json('service', 'show', 'web4'), { unforwarded: { packets: /^[1-9]/ } })
  t.match((await daemon.linimo('service', 'show', 'web4')).stdout, /\d+ packets \(\d+ bytes\) not forwarded/)
})

t.test('a taken port is a conflict at the start, and only a warning at run time', { skip }, async t => {
  const lab = await openLab(t)
  const occupant = lab.balancer.start([
    process.execPath,
    '-e',
    "require('net').createServer().listen(9464, '127.0.0.1', () => console.log('ready'))",
  ])
  t.teardown(() => occupant.stop())
  while (!occupant.output().stdout.includes('ready')) await sleep(20)

  const refused = await startOn(lab, siteConfig(lab, { http }), 'refused').running.exited
  t.equal(refused.code, 7)
  t.match(refused.stderr, `metrics: ${LISTEN} cannot be listened on: the port is taken`)

  const daemon = startOn(lab, siteConfig(lab))
  await daemon.ready()
  t.equal((await daemon.json<Status>('status')).http, null, 'without http nothing listens')
  daemon.writeConfig(JSON.stringify(siteConfig(lab, { http })))
  const applied = await daemon.json<{ warnings: readonly string[] }>('apply')
  t.match(applied.warnings, [`metrics: ${LISTEN} cannot be listened on: the port is taken`])
  t.match(await daemon.json('status'), { ready: true, http: { listen: LISTEN, error: /the port is taken/ } })
  t.match((await daemon.linimo('status')).stdout, 'the port is taken')

  const other = '127.0.0.1:9465'
  daemon.writeConfig(JSON.stringify(siteConfig(lab, { http: { listen: other } })))
  const diff = await daemon.linimo('diff', '--json')
  t.equal(diff.code, 10)
  t.match(JSON.parse(diff.stdout), {
    changes: [{ kind: 'setting', name: 'http', detail: `listen ${LISTEN} -> ${other}` }],
  })
  process.kill(daemon.running.pid, 'SIGHUP')
  const end = Date.now() + 10_000
  while ((await daemon.json<Status>('status')).http?.listen !== other && Date.now() < end) await sleep(50)
  t.equal((await scrape(lab, other)).get('linimo_ready'), 1, 'SIGHUP moves it')
  t.ok(new Set(await fetchNames(lab.client, VIP, 20)).size > 1, 'and packets flow')
})
