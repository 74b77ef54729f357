/** Reads one service with its health check and its backends. */
import { addressFamily } from '../address.js'
import {
  type Backend,
  type ConnectionTimeouts,
  DEFAULT_IDLE_TIME_MS,
  DEFAULT_UDP_IDLE_TIME_MS,
  type HashPart,
  type HealthCheck,
  type Ping,
  type Service,
} from '../model.js'
import { DEFAULT_RING_SIZE } from '../ring/size.js'
import { formatDuration } from './durations.js'
import { childPath, expectMap, type Fields, readFields } from './fields.js'
import { type ForwardDraft, forwardFrom, readForward, saysForward } from './forward.js'
import { type LocalAddressEntry, readLocalAddresses } from './local-addresses.js'
import type { Position, Report } from './problem.js'
import { defaultBackendName } from './rules.js'
import { backendShape, healthShape, httpOnlyKeys, serviceShape } from './schema.js'
import type { Entry, Node } from './source.js'
import { readTimeouts, type TranslationDefaults, translationFrom } from './translation.js'
import { readTunnelSource, type TunnelSource } from './tunnel-source.js'

/** A service as far as it could be read, with the places for what is found later. */
export interface ServiceDraft {
  readonly name: string
  readonly path: string
  /** The place of its name. */
  readonly at: Position
  readonly fields: Fields<typeof serviceShape>
  readonly forward: ForwardDraft
  readonly sources: readonly TunnelSource[]
  /** Its own; null: it says nothing. */
  readonly localAddresses: readonly LocalAddressEntry[] | null
  readonly timeouts: Partial<ConnectionTimeouts>
  readonly health: HealthCheck | null
  readonly backends: readonly BackendDraft[]
}

export interface BackendDraft {
  readonly path: string
  readonly at: Position
  readonly fields: Fields<typeof backendShape>
  readonly forward: ForwardDraft
  readonly sources: readonly TunnelSource[]
  /** null when it has no name and no address. */
  readonly name: string | null
}

const HEALTH_DEFAULTS = { intervalMs: 2000, timeoutMs: 1000, rise: 2, fall: 3 }
const DEFAULT_EXPECT = [{ from: 200, to: 399 }]
const WHOLE_FLOW: readonly HashPart[] = ['source', 'source-port', 'destination', 'destination-port']

export const readService = (
  name: string,
  { at, value }: Entry,
  path: string,
  report: Report,
): ServiceDraft | null => {
  const map = expectMap(value, `service ${name}`, path, report)
  if (!map) return null
  const fields = readFields(serviceShape, map, at, path, report, ['vip', 'port'])
  const { health, backends, timeouts } = fields.values
  const local = fields.values['local-addresses']
  return {
    name,
    path,
    at,
    fields,
    forward: readForward(fields, path, report),
    sources: readSources(fields, path, report),
    localAddresses: local ? readLocalAddresses(local, childPath(path, 'local-addresses'), report) : null,
    timeouts: timeouts
      ? readTimeouts(timeouts, fields.at('timeouts'), childPath(path, 'timeouts'), report)
      : {},
    health: health
      ? readHealth(health, map.entries.get('health')?.at ?? at, childPath(path, 'health'), report)
      : null,
    backends: backends ? readBackends(backends, childPath(path, 'backends'), report) : [],
  }
}

const readSources = (
  { values }: Fields<typeof backendShape> | Fields<typeof serviceShape>,
  path: string,
  report: Report,
): readonly TunnelSource[] => {
  const node = values['tunnel-source']
  return node ? readTunnelSource(node, childPath(path, 'tunnel-source'), report) : []
}

const readHealth = (node: Node, at: Position, path: string, report: Report): HealthCheck | null => {
  const map = expectMap(node, 'health', path, report)
  if (!map) return null
  const fields = readFields(healthShape, map, at, path, report, ['type'])
  const { values } = fields
  if (values.type === undefined) return null
  if (values.type !== 'http') {
    for (const key of httpOnlyKeys) {
      const entry = map.entries.get(key)
      if (entry)
        report.problem(
          entry.at,
          childPath(path, key),
          `${key} is for checks of type http, not ${values.type}`,
        )
    }
  }
  const intervalMs = values.interval ?? HEALTH_DEFAULTS.intervalMs
  const timeoutMs = values.timeout ?? Math.min(HEALTH_DEFAULTS.timeoutMs, intervalMs)
  if (timeoutMs > intervalMs)
    report.problem(
      fields.at('timeout'),
      childPath(path, 'timeout'),
      `timeout ${formatDuration(timeoutMs)} is longer than the interval ${formatDuration(intervalMs)}`,
    )
  return {
    type: values.type,
    port: values.port ?? null,
    intervalMs,
    timeoutMs,
    rise: values.rise ?? HEALTH_DEFAULTS.rise,
    fall: values.fall ?? HEALTH_DEFAULTS.fall,
    initiallyUp: values.initially === 'up',
    path: values.path ?? '/',
    host: values.host ?? null,
    expect: values.expect ?? DEFAULT_EXPECT,
  }
}

const readBackends = (node: Node, path: string, report: Report): BackendDraft[] => {
  if (node.kind !== 'list') {
    report.problem(node.at, path, 'backends must be a list of maps', '- address: 10.0.0.11')
    return []
  }
  return node.items.flatMap((item, index) => {
    const backendPath = `${path}[${index}]`
    if (item.kind !== 'map') {
      const hint =
        item.kind === 'scalar' && typeof item.value === 'string' ? `- address: ${item.value}` : null
      report.problem(item.at, backendPath, 'a backend must be a map', hint)
      return []
    }
    const fields = readFields(backendShape, item, item.at, backendPath, report, ['address'])
    const { name, address, port } = fields.values
    const fallback = address === undefined ? null : defaultBackendName(address, port ?? null)
    return [
      {
        path: backendPath,
        at: item.at,
        fields,
        forward: readForward(fields, backendPath, report),
        sources: readSources(fields, backendPath, report),
        name: name ?? fallback,
      },
    ]
  })
}

/** What holds where a service says nothing of its own. */
export interface ServiceDefaults extends TranslationDefaults {
  /** Outer sources of tunnels, one of a family at most. */
  readonly sources: readonly string[]
  /** What another service of its VIP says. */
  readonly ping: Ping
}

/** Its own, and the default's of the other family. */
const sourcesWith = (own: readonly TunnelSource[], defaults: readonly string[]): string[] => {
  const said = own.map(({ source }) => source)
  const families = new Set(said.map(addressFamily))
  return [...said, ...defaults.filter(source => !families.has(addressFamily(source)))].sort(
    (a, b) => addressFamily(a) - addressFamily(b),
  )
}

/** @returns the service, or null when something that has been reported is missing */
export const finishService = (draft: ServiceDraft, defaults: ServiceDefaults): Service | null => {
  const { name, fields, forward, sources, health, backends } = draft
  const { values } = fields
  const translation = translationFrom(draft, defaults)
  if (values.vip === undefined || values.port === undefined) return null
  return {
    name,
    vip: values.vip,
    port: values.port,
    protocol: values.protocol ?? 'tcp',
    forward: forwardFrom(forward),
    tunnelSource: sourcesWith(sources, defaults.sources),
    mss: values.mss ?? 'keep',
    ping: values.ping ?? defaults.ping,
    scheduler: values.scheduler ?? 'maglev',
    ringSize: values['ring-size'] ?? DEFAULT_RING_SIZE,
    hash: values.hash ?? WHOLE_FLOW,
    noBackend: values['no-backend'] ?? 'reject',
    tracking: values.tracking ?? 'on-change',
    idleTimeMs: values['idle-time'] ?? DEFAULT_IDLE_TIME_MS,
    udpIdleTimeMs: values['udp-idle-time'] ?? DEFAULT_UDP_IDLE_TIME_MS,
    leaveDeadlineMs: values['leave-deadline'] ?? 3_600_000,
    lastResort: values['last-resort'] ?? 'drained',
    health,
    ...(translation ? { translation } : {}),
    backends: backends.flatMap(backend => finishBackend(backend, forward)),
  }
}

const finishBackend = (
  { name, fields: { values }, forward, sources }: BackendDraft,
  service: ForwardDraft,
): Backend[] => {
  if (name === null || values.address === undefined) return []
  const [source] = sources
  return [
    {
      name,
      address: values.address,
      port: values.port ?? null,
      weight: values.weight ?? 1,
      mac: values.mac ?? null,
      ...(saysForward(forward) ? { forward: forwardFrom(forward, service) } : {}),
      ...(source ? { tunnelSource: source.source } : {}),
    },
  ]
}
