/** What `status` answers: the whole daemon at a glance. */
import type { Status } from './control/protocol.js'
import type { Daemon } from './daemon.js'
import type { DaemonInfo } from './handlers.js'
import type { Journal } from './journal.js'
import type { Endpoint } from './metrics/endpoint.js'

export interface StatusSources {
  readonly daemon: Daemon
  readonly info: DaemonInfo
  readonly journal: Journal | undefined
  readonly endpoint: Pick<Endpoint, 'status'> | undefined
}

const flowCacheOf = ({ dataplane, lastSweep }: Daemon, services: Status['services']): Status['flowCache'] => {
  const { shape } = dataplane
  if (!shape.tracking) return null
  const { inserted, deferred, refused, unremembered } = dataplane.counts.flows()
  const last = lastSweep()
  return {
    entries: shape.flows,
    live: services
      .flatMap(({ backends }) => backends)
      // Each of FULLNAT's flows is a connection.
      .reduce((sum, { flows, forward }) => sum + (forward === 'fullnat' ? 0 : (flows ?? 0)), 0),
    inserted: String(inserted),
    deferred: String(deferred),
    refused: String(refused),
    unremembered: String(unremembered),
    lastSweep: last && { at: last.at.toISOString(), duration: last.durationMs / 1000 },
  }
}

export const readStatus = async ({ daemon, info, journal, endpoint }: StatusSources): Promise<Status> => {
  const verdicts = await daemon.dataplane.counts.verdicts()
  const services = await daemon.balancer.serviceRows()
  const kept = journal?.status()
  return {
    ready: daemon.isReady(),
    pid: process.pid,
    version: info.version,
    instance: info.instance,
    startedAt: info.startedAt.toISOString(),
    config: { path: info.configPath, appliedAt: info.appliedAt.toISOString(), error: info.error },
    interfaces: daemon.interfaces(),
    ...daemon.translation(),
    program: { tag: daemon.dataplane.tag },
    journal: kept ? { entries: kept.entries, error: kept.error } : null,
    http: endpoint?.status() ?? null,
    flowCache: flowCacheOf(daemon, services),
    pools: daemon.pools().map(({ addresses, ports, used, opened, reopened, refused }) => ({
      pool: addresses[0] ?? 'nat',
      addresses,
      ports,
      used,
      opened: String(opened),
      reopened: String(reopened),
      refused: String(refused),
    })),
    verdicts: Object.fromEntries(
      [...verdicts].map(([name, { packets, bytes }]) => [
        name,
        { packets: String(packets), bytes: String(bytes) },
      ]),
    ),
    services,
  }
}
