/**
 * The metrics: what `status` says, in Prometheus's words (names end in their unit, counters in _total). Each is read from
 * one status, so that all of a scrape are of one moment.
 */
import type { BackendRow, Count, PoolStatus, ServiceRow, Status } from '../control/protocol.js'

export type Labels = Readonly<Record<string, string>>
export type Reading = readonly [labels: Labels, value: number]

export interface Family {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
  readonly read: (status: Status) => Iterable<Reading>
}

const family =
  (kind: Family['kind']) =>
  (name: string, help: string, labels: readonly string[], read: Family['read']): Family => ({
    kind,
    name: `linimo_${name}`,
    help,
    labels,
    read,
  })
const gauge = family('gauge')
const counter = family('counter')

const one = (value: number, labels: Labels = {}): Reading[] => [[labels, value]]
const is = (truth: boolean): number => (truth ? 1 : 0)
const secondsOf = (time: string): number => Date.parse(time) / 1000

/** One series of each label value, 1 for the one that is. */
const oneOf = (labels: Labels, label: string, values: readonly string[], actual: string | null): Reading[] =>
  values.map(value => [{ ...labels, [label]: value }, is(value === actual)])

const perVerdict =
  (of: keyof Count): Family['read'] =>
  ({ verdicts }) =>
    Object.entries(verdicts).map(([verdict, count]) => [{ verdict }, Number(count[of])])

const perService =
  (read: (row: ServiceRow) => number): Family['read'] =>
  ({ services }) =>
    services.map(row => [{ service: row.service }, read(row)])

const eachBackend = function* (
  { services }: Status,
  read: (row: BackendRow, labels: Labels) => Iterable<Reading>,
): Iterable<Reading> {
  for (const { backends } of services) {
    const there = new Set(backends.flatMap(({ state, backend }) => (state === 'leaving' ? [] : [backend])))
    for (const row of backends) {
      // A name has one series: that of the backend that has come, not of its namesake that leaves.
      if (row.state === 'leaving' && there.has(row.backend)) continue
      yield* read(row, { service: row.service, backend: row.backend })
    }
  }
}

/** @param read null: not known, and no series */
const perBackend =
  (read: (row: BackendRow) => number | null): Family['read'] =>
  status =>
    eachBackend(status, (row, labels) => {
      const value = read(row)
      return value === null ? [] : one(value, labels)
    })

type FlowCache = NonNullable<Status['flowCache']>

const perFlowCache =
  (read: (cache: FlowCache) => number): Family['read'] =>
  ({ flowCache }) =>
    flowCache === null ? [] : one(read(flowCache))

const SERVICE = ['service']
const BACKEND = ['service', 'backend']

const daemon: readonly Family[] = [
  gauge('build_info', 'Always 1.', ['version', 'program', 'daemon'], ({ version, program, instance }) =>
    one(1, { version, program: program.tag, daemon: instance }),
  ),
  gauge('ready', 'Attached everywhere, and every health check has a result.', [], ({ ready }) =>
    one(is(ready)),
  ),
  gauge('start_time_seconds', 'When the daemon started, as Unix time.', [], ({ startedAt }) =>
    one(secondsOf(startedAt)),
  ),
  gauge(
    'config_applied_time_seconds',
    'When a configuration was applied last, as Unix time.',
    [],
    ({ config }) => one(secondsOf(config.appliedAt)),
  ),
  gauge('config_refused', '1: the last configuration that was read was refused.', [], ({ config }) =>
    one(is(config.error !== null)),
  ),
  gauge(
    'interface_attached',
    '1: traffic enters there, in this mode.',
    ['interface', 'mode'],
    ({ interfaces }) =>
      interfaces.flatMap(({ name, mode }) => oneOf({ interface: name }, 'mode', ['native', 'generic'], mode)),
  ),
  gauge('journal_entries', 'Changes made at run time that a restart keeps.', [], ({ journal }) =>
    journal === null ? [] : one(journal.entries),
  ),
  gauge('journal_failed', '1: a restart would lose changes made at run time.', [], ({ journal }) =>
    journal === null ? [] : one(is(journal.error !== null)),
  ),
  counter('verdict_packets_total', 'Packets by how their journey ended.', ['verdict'], perVerdict('packets')),
  counter('verdict_bytes_total', 'Bytes of these packets.', ['verdict'], perVerdict('bytes')),
]

const services: readonly Family[] = [
  counter(
    'service_packets_total',
    'Packets forwarded.',
    SERVICE,
    perService(row => Number(row.packets)),
  ),
  counter(
    'service_bytes_total',
    'Bytes of these packets.',
    SERVICE,
    perService(row => Number(row.bytes)),
  ),
  counter(
    'service_unforwarded_packets_total',
    'Packets of the service that were dropped, answered or left to the host.',
    SERVICE,
    perService(row => Number(row.unforwarded.packets)),
  ),
  counter(
    'service_unforwarded_bytes_total',
    'Bytes of these packets.',
    SERVICE,
    perService(row => Number(row.unforwarded.bytes)),
  ),
  gauge('service_slots', 'Slots of the ring by state.', [...SERVICE, 'state'], ({ services }) =>
    services.flatMap(({ service, slotStates }) =>
      Object.entries(slotStates).map(([state, slots]): Reading => [{ service, state }, slots]),
    ),
  ),
  gauge(
    'service_tracked_ratio',
    'Tracked slots, of all slots of the ring: 0 to 1.',
    SERVICE,
    perService(row => row.trackedShare),
  ),
  counter(
    'service_slots_written_total',
    'Slots of the ring that changes have written.',
    SERVICE,
    perService(row => row.slotsWrittenInAll),
  ),
  gauge(
    'service_last_change_slots',
    'Slots of the ring that the last change wrote.',
    SERVICE,
    perService(row => row.slotsWritten),
  ),
]

const backends: readonly Family[] = [
  counter(
    'backend_packets_total',
    'Packets forwarded.',
    BACKEND,
    perBackend(row => Number(row.packets)),
  ),
  counter(
    'backend_bytes_total',
    'Bytes of these packets.',
    BACKEND,
    perBackend(row => Number(row.bytes)),
  ),
  counter(
    'backend_syns_total',
    'TCP SYNs forwarded.',
    BACKEND,
    perBackend(row => Number(row.newFlows)),
  ),
  counter(
    'backend_reply_packets_total',
    'Packets of it that were translated back; no series where it is neither NAT nor FULLNAT.',
    BACKEND,
    perBackend(row => (row.replies === null ? null : Number(row.replies.packets))),
  ),
  counter(
    'backend_reply_bytes_total',
    'Bytes of these packets.',
    BACKEND,
    perBackend(row => (row.replies === null ? null : Number(row.replies.bytes))),
  ),
  gauge(
    'backend_up',
    '1: by its health check, or it has none.',
    BACKEND,
    perBackend(row => is(row.health === 'up')),
  ),
  gauge('backend_state', '1: what was ordered of it.', [...BACKEND, 'state'], status =>
    eachBackend(status, (row, labels) =>
      oneOf(labels, 'state', ['enabled', 'draining', 'disabled', 'leaving'], row.state),
    ),
  ),
  gauge(
    'backend_weight',
    'Its weight.',
    BACKEND,
    perBackend(row => row.weight),
  ),
  gauge(
    'backend_mtu_bytes',
    'The longest packet that goes to it, before it is encapsulated; no series where its next hop is not known.',
    BACKEND,
    perBackend(row => row.mtu),
  ),
  gauge(
    'backend_learnt_mtu_bytes',
    "What routers have said of its tunnel's path; no series where they have said nothing.",
    BACKEND,
    perBackend(row => row.tunnel?.learntMtu ?? null),
  ),
  gauge('backend_forward', '1: how packets reach it.', [...BACKEND, 'mode'], status =>
    eachBackend(status, (row, labels) =>
      oneOf(labels, 'mode', ['dr', 'ipip', 'gre', 'gue', 'nat', 'fullnat'], row.forward),
    ),
  ),
  gauge(
    'backend_slots',
    'Slots of the ring that it owns.',
    BACKEND,
    perBackend(row => row.slots),
  ),
  gauge(
    'backend_flows',
    'Live tracked flows; no series where none are tracked.',
    BACKEND,
    perBackend(row => row.flows),
  ),
]

const flowCache: readonly Family[] = [
  gauge(
    'flow_cache_entries',
    'Places for flows.',
    [],
    perFlowCache(cache => cache.entries),
  ),
  gauge(
    'flow_cache_live_entries',
    'Live flows, by the last sweep.',
    [],
    perFlowCache(cache => cache.live),
  ),
  counter(
    'flow_cache_inserted_total',
    'Flows entered.',
    [],
    perFlowCache(cache => Number(cache.inserted)),
  ),
  counter(
    'flow_cache_deferred_total',
    "New flows that found no place and went to their slot's former backend.",
    [],
    perFlowCache(cache => Number(cache.deferred)),
  ),
  counter(
    'flow_cache_refused_total',
    'Packets of old flows that found no place.',
    [],
    perFlowCache(cache => Number(cache.refused)),
  ),
  counter(
    'flow_cache_unremembered_total',
    'New flows that found no place while the former backend is dead: they break if it returns.',
    [],
    perFlowCache(cache => Number(cache.unremembered)),
  ),
]

const perPool =
  (read: (pool: PoolStatus) => number): Family['read'] =>
  ({ pools }) =>
    pools.map(row => [{ pool: row.pool }, read(row)])

const POOL = ['pool']

const pools: readonly Family[] = [
  gauge(
    'pool_ports',
    'Local ports for connections of FULLNAT and SNAT, of all addresses of the pool; places of NAT by flow.',
    POOL,
    perPool(pool => pool.ports),
  ),
  gauge(
    'pool_used_ports',
    'Those of live connections, by the last sweep.',
    POOL,
    perPool(pool => pool.used),
  ),
  counter(
    'pool_opened_total',
    'Connections opened.',
    POOL,
    perPool(pool => Number(pool.opened)),
  ),
  counter(
    'pool_reopened_total',
    "Connections opened in the entry of the same client's former one.",
    POOL,
    perPool(pool => Number(pool.reopened)),
  ),
  counter(
    'pool_refused_total',
    'New connections for which nothing was free.',
    POOL,
    perPool(pool => Number(pool.refused)),
  ),
]

export const families: readonly Family[] = [...daemon, ...services, ...backends, ...flowCache, ...pools]
