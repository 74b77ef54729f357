import t from 'tap'
import type { BackendRow, Status } from '../../src/control/protocol.js'
import { createExposition } from '../../src/metrics/exposition.js'
import { families } from '../../src/metrics/families.js'
import { fakeHandlers, PEER } from '../control/fixtures/daemon.js'

const status = (): Promise<Status> => fakeHandlers().status({}, PEER)

const tunnelled: Partial<BackendRow> = {
  forward: 'ipip',
  tunnel: { source: '10.0.0.2', key: null, port: null, variant: null, overhead: 20, learntMtu: 1400 },
  mtu: 1380,
}

/** With all that a daemon may leave out. */
const fullStatus = async (): Promise<Status> => {
  const present = await status()
  const [web] = present.services
  const backends = web!.backends.map(
    (row): BackendRow =>
      row.backend === 'b1'
        ? { ...row, ...tunnelled, state: 'draining', flows: 12, replies: { packets: '9', bytes: '900' } }
        : { ...row, mtu: null },
  )
  return {
    ...present,
    flowCache: {
      entries: 1048576,
      live: 42,
      inserted: '1000',
      deferred: '3',
      refused: '2',
      unremembered: '1',
      lastSweep: null,
    },
    journal: { entries: 3, error: 'disk full' },
    pools: [
      {
        pool: '10.1.0.100',
        addresses: ['10.1.0.100', '10.1.0.101'],
        ports: 129024,
        used: 17,
        opened: '1000',
        reopened: '3',
        refused: '4',
      },
    ],
    services: [
      {
        ...web!,
        trackedShare: 0.25,
        slotStates: { untracked: 150, grace: 1, learning: 50, keeping: 50 },
        slotsWritten: 51,
        slotsWrittenInAll: 302,
        unforwarded: { packets: '7', bytes: '420' },
        backends,
      },
    ],
  }
}

/** Series -> value; the text's own rules are checked on the way. */
const seriesOf = (text: string): ReadonlyMap<string, string> => {
  const series = new Map<string, string>()
  let family = ''
  const seen = new Set<string>()
  if (!text.endsWith('\n')) throw new Error('no newline at the end')
  for (const line of text.slice(0, -1).split('\n')) {
    const head = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line)
    if (head?.[1] === 'HELP') {
      family = head[2]!
      if (seen.has(family)) throw new Error(`${family} is there twice`)
      seen.add(family)
    }
    if (head) {
      if (head[2] !== family) throw new Error(`${line} comes below ${family}`)
      continue
    }
    const [, name, labels = '', value] = /^(\w+)(\{(?:\w+="[^"\n]*",?)+\})? (\S+)$/.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error(`not a sample: ${line}`)
    if (name !== family && !/_(bucket|sum|count)$/.test(name))
      throw new Error(`${line} comes below ${family}`)
    if (series.has(name + labels)) throw new Error(`${line} is there twice`)
    series.set(name + labels, value)
  }
  return series
}

t.test('every family is in the text, and names say their unit and kind', async t => {
  const text = await createExposition().render(await fullStatus())
  for (const { name, kind } of families) {
    t.match(text, `# TYPE ${name} ${kind}\n`)
    t.equal(name.endsWith('_total'), kind === 'counter', `${name} is a ${kind}`)
    t.match(name, /^linimo_[a-z_]+$/)
    t.notMatch(name, /_(ms|kb|mb|percent)(_|$)/, 'base units')
  }
  t.match(text, '# TYPE linimo_change_slots histogram\n')
})

t.test('what status says is there under its labels', async t => {
  const series = seriesOf(await createExposition().render(await fullStatus()))
  const expected: Readonly<Record<string, string>> = {
    'linimo_build_info{version="0.1.0",program="0123456789abcdef",daemon="main"}': '1',
    linimo_ready: '1',
    linimo_start_time_seconds: '1714557600',
    linimo_config_refused: '0',
    'linimo_interface_attached{interface="eth1",mode="native"}': '0',
    'linimo_interface_attached{interface="eth1",mode="generic"}': '1',
    linimo_journal_entries: '3',
    linimo_journal_failed: '1',
    'linimo_verdict_packets_total{verdict="TX_DR"}': '20',
    'linimo_verdict_bytes_total{verdict="TX_DR"}': '2000',
    'linimo_verdict_packets_total{verdict="DROP_NO_BACKEND"}': '0',
    'linimo_service_bytes_total{service="web"}': '2000',
    'linimo_service_unforwarded_packets_total{service="web"}': '7',
    'linimo_service_unforwarded_bytes_total{service="web"}': '420',
    'linimo_service_slots{service="web",state="untracked"}': '150',
    'linimo_service_slots{service="web",state="grace"}': '1',
    'linimo_service_slots{service="web",state="learning"}': '50',
    'linimo_service_slots{service="web",state="keeping"}': '50',
    'linimo_service_tracked_ratio{service="web"}': '0.25',
    'linimo_service_slots_written_total{service="web"}': '302',
    'linimo_service_last_change_slots{service="web"}': '51',
    'linimo_backend_packets_total{service="web",backend="b1"}': '10',
    'linimo_backend_bytes_total{service="web",backend="b1"}': '1000',
    'linimo_backend_syns_total{service="web",backend="b1"}': '2',
    'linimo_backend_up{service="web",backend="b1"}': '1',
    'linimo_backend_up{service="web",backend="b2"}': '0',
    'linimo_backend_state{service="web",backend="b1",state="draining"}': '1',
    'linimo_backend_state{service="web",backend="b1",state="enabled"}': '0',
    'linimo_backend_slots{service="web",backend="b2"}': '125',
    'linimo_backend_flows{service="web",backend="b1"}': '12',
    'linimo_backend_forward{service="web",backend="b1",mode="ipip"}': '1',
    'linimo_backend_forward{service="web",backend="b1",mode="dr"}': '0',
    'linimo_backend_forward{service="web",backend="b2",mode="dr"}': '1',
    'linimo_backend_mtu_bytes{service="web",backend="b1"}': '1380',
    'linimo_backend_learnt_mtu_bytes{service="web",backend="b1"}': '1400',
    'linimo_backend_reply_packets_total{service="web",backend="b1"}': '9',
    'linimo_backend_reply_bytes_total{service="web",backend="b1"}': '900',
    'linimo_pool_ports{pool="10.1.0.100"}': '129024',
    'linimo_pool_used_ports{pool="10.1.0.100"}': '17',
    'linimo_pool_opened_total{pool="10.1.0.100"}': '1000',
    'linimo_pool_reopened_total{pool="10.1.0.100"}': '3',
    'linimo_pool_refused_total{pool="10.1.0.100"}': '4',
    linimo_flow_cache_entries: '1048576',
    linimo_flow_cache_live_entries: '42',
    linimo_flow_cache_inserted_total: '1000',
    linimo_flow_cache_deferred_total: '3',
    linimo_flow_cache_refused_total: '2',
    linimo_flow_cache_unremembered_total: '1',
  }
  for (const [name, value] of Object.entries(expected)) t.equal(series.get(name), value, name)
  for (const name of ['flows', 'mtu_bytes', 'learnt_mtu_bytes', 'reply_packets_total'])
    t.notOk(
      series.has(`linimo_backend_${name}{service="web",backend="b2"}`),
      `${name}: what is not known has no series`,
    )
})

t.test('where nothing is tracked the flow cache has no series', async t => {
  const series = seriesOf(await createExposition().render(await status()))
  t.same(
    [...series.keys()].filter(name => /^linimo_flow_cache_(?!sweep)/.test(name)),
    [],
  )
})

t.test('each change and each sweep is observed as it happens', async t => {
  const exposition = createExposition()
  for (const count of [5, 500, 65537]) exposition.slotsWritten(count)
  exposition.swept(12)
  const series = seriesOf(await exposition.render(await status()))
  t.equal(series.get('linimo_change_slots_count'), '3')
  t.equal(series.get('linimo_change_slots_sum'), '66042')
  t.equal(series.get('linimo_change_slots_bucket{le="10"}'), '1')
  t.equal(series.get('linimo_change_slots_bucket{le="1000"}'), '2')
  t.equal(series.get('linimo_change_slots_bucket{le="+Inf"}'), '3')
  t.equal(series.get('linimo_flow_cache_sweep_duration_seconds_sum'), '0.012')
})

t.test('what is gone has no series any more, and names from elsewhere cannot break the text', async t => {
  const exposition = createExposition()
  const present = await status()
  const before = seriesOf(await exposition.render(present))
  t.ok(before.has('linimo_backend_up{service="web",backend="b2"}'))
  const renamed = present.services.map(row => ({
    ...row,
    backends: row.backends.slice(0, 1).map(one => ({ ...one, backend: 'a"b\\c\nd' })),
  }))
  const text = await exposition.render({ ...present, services: renamed })
  t.match(text, 'linimo_backend_up{service="web",backend="a\\"b\\\\c\\nd"} 1\n')
  t.notMatch(text, 'backend="b2"')
})

t.test('a backend that leaves gives its series to one that has come by its name', async t => {
  const present = await status()
  const twice = present.services.map(row => {
    const [one] = row.backends
    return {
      ...row,
      backends: [one!, { ...one!, address: '10.0.0.99', state: 'leaving' as const, slots: 0 }],
    }
  })
  const series = seriesOf(await createExposition().render({ ...present, services: twice }))
  const { backend, slots } = twice[0]!.backends[0]!
  t.equal(series.get(`linimo_backend_slots{service="web",backend="${backend}"}`), String(slots))
})

t.test('a thousand backends are all there, and the event loop turns meanwhile', async t => {
  const exposition = createExposition()
  const present = await status()
  const [web] = present.services
  const [row] = web!.backends
  const many = Array.from({ length: 1000 }, (_, i) => ({ ...row!, backend: `b${i}` }))
  let turns = 0
  let isDone = false
  const count = (): void => {
    turns++
    if (!isDone) setImmediate(count)
  }
  setImmediate(count)
  const series = seriesOf(await exposition.render({ ...present, services: [{ ...web!, backends: many }] }))
  isDone = true
  t.equal([...series.keys()].filter(name => name.startsWith('linimo_backend_up{')).length, 1000)
  t.equal([...series.keys()].filter(name => name.startsWith('linimo_backend_state{')).length, 4000)
  t.ok(turns >= 40, `${turns} turns`)
})
