/** The configuration file: text -> checked Config, with every problem and its place. Pure. */
import { crossCheck } from './config/cross-checks.js'
import { childPath, expectMap, readFields } from './config/fields.js'
import { checkPools, readLocalAddresses } from './config/local-addresses.js'
import { createPings } from './config/pings.js'
import { createReport, type Position, type Report } from './config/problem.js'
import { httpShape, limitsShape, rootShape, serviceNameRule } from './config/schema.js'
import { finishService, readService, type ServiceDraft } from './config/service.js'
import { readSnat } from './config/snat.js'
import { type MapNode, type Node, readSource } from './config/source.js'
import { DEFAULT_LOCAL_PORTS } from './config/translation.js'
import { readTunnelSource } from './config/tunnel-source.js'
import type { Config, Limits } from './model.js'

export { type BackendChange, changedBackend, type NewBackend, newBackend } from './config/backend-change.js'
export { ConfigError, type ConfigProblem } from './config/problem.js'

export const DEFAULT_LIMITS: Limits = { services: 1024, backends: 16384, slots: 4194304, flows: 1048576 }

export interface ParsedConfig {
  readonly config: Config
  /** What is right but has no effect, or not the likely one: "12:5 services.web.tracking: ...". */
  readonly warnings: readonly string[]
}

/**
 * @param text YAML 1.2 or JSON
 * @throws ConfigError `ERR_CONFIG_INVALID` with all problems
 */
export const parseConfig = (text: string): ParsedConfig => {
  const { report, warnings, conclude } = createReport()
  const root = readSource(text, report)
  const map = root && expectMap(root, 'the configuration', '', report)
  const config = map ? readConfig(map, report) : null
  conclude()
  if (config === null) throw new Error('a configuration without problems was not read')
  return { config, warnings }
}

const readConfig = (root: MapNode, report: Report): Config => {
  const fields = readFields(rootShape, root, root.at, '', report, ['interfaces'])
  const { values } = fields
  const drafts = values.services ? readServices(values.services, report) : []
  crossCheck(drafts, report)
  if (values['probe-prefix'] !== undefined)
    report.warning(
      fields.at('probe-prefix'),
      'probe-prefix',
      'this version probes the backends by their own addresses',
    )
  const tunnelSource = values['tunnel-source']
  const sources = tunnelSource
    ? readTunnelSource(tunnelSource, 'tunnel-source', report).map(({ source }) => source)
    : []
  const local = values['local-addresses']
  const pool = local ? readLocalAddresses(local, 'local-addresses', report) : []
  const snat = values.snat ? readSnat(values.snat, report) : []
  checkPools({ drafts, pool, snat, root: fields }, report)
  const localAddresses = pool.flatMap(({ addresses }) => addresses)
  const localPrefixes = [...pool, ...drafts.flatMap(({ localAddresses: own }) => own ?? [])]
    .filter(({ addresses }) => addresses.length > 1)
    .map(({ text }) => text)
  const localPorts = values['local-ports'] ?? DEFAULT_LOCAL_PORTS
  const pingOf = createPings(drafts, report)
  return {
    interfaces: values.interfaces ?? [],
    xdp: values.xdp ?? 'auto',
    seed: values.seed ?? null,
    limits: values.limits ? readLimits(values.limits, fields.at('limits'), report) : DEFAULT_LIMITS,
    services: drafts.flatMap(
      draft => finishService(draft, { sources, ping: pingOf(draft), localAddresses, localPorts }) ?? [],
    ),
    ...(snat.length > 0
      ? { snat: { prefixes: snat.map(({ prefix }) => prefix), localAddresses, localPorts } }
      : {}),
    ...(localPrefixes.length > 0 ? { localPrefixes } : {}),
    http: values.http ? readHttp(values.http, fields.at('http'), report) : null,
  }
}

const readServices = (node: Node, report: Report): ServiceDraft[] => {
  const map = expectMap(node, 'services', 'services', report)
  return Array.from(map?.entries ?? [], ([name, entry]) => {
    const path = childPath('services', name)
    const broken = serviceNameRule(name)
    if (broken) report.problem(entry.at, path, `the service's name ${JSON.stringify(name)} ${broken}`)
    return readService(name, entry, path, report)
  }).filter(draft => draft !== null)
}

const readLimits = (node: Node, at: Position, report: Report): Limits => {
  const map = expectMap(node, 'limits', 'limits', report)
  if (!map) return DEFAULT_LIMITS
  const { 'nat-flows': natFlows, ...limits } = readFields(limitsShape, map, at, 'limits', report).values
  return { ...DEFAULT_LIMITS, ...limits, ...(natFlows === undefined ? {} : { natFlows }) }
}

const readHttp = (node: Node, at: Position, report: Report): Config['http'] => {
  const map = expectMap(node, 'http', 'http', report)
  const listen = map && readFields(httpShape, map, at, 'http', report, ['listen']).values.listen
  return listen ? { listen } : null
}
