/** What the daemon answers on the control socket. */
import type { Balancer } from './balancer.js'
import { changedBackend, newBackend } from './config/backend-change.js'
import { type ParsedConfig, parseConfig } from './config.js'
import type { Handlers, Peer, ServiceRow, Status } from './control/protocol.js'
import type { Daemon } from './daemon.js'
import { BalancerError } from './errors.js'
import type { Backend, Config, Service } from './model.js'
import { diffConfigs } from './reconcile.js'

export interface DaemonInfo {
  readonly version: string
  readonly instance: string
  readonly startedAt: Date
  readonly configPath: string
  readConfigFile(): string
  appliedAt: Date
  /** Why the last reload was refused; null when it was not. */
  error: string | null
}

const who = ({ pid, uid }: Peer): string => `uid ${uid} pid ${pid}`

const notFound = (what: string, name: string, there: readonly string[]): BalancerError =>
  new BalancerError('ERR_NOT_FOUND', `there is no ${what} "${name}"`, {
    hint: `there are: ${there.join(', ') || 'none'}`,
  })

const serviceOf = (config: Config, name: string): Service => {
  const service = config.services.find(one => one.name === name)
  if (service) return service
  throw notFound(
    'service',
    name,
    config.services.map(one => one.name),
  )
}

const backendOf = (service: Service, name: string): Backend => {
  const backend = service.backends.find(one => one.name === name)
  if (backend) return backend
  throw notFound(
    `backend in service ${service.name}`,
    name,
    service.backends.map(one => one.name),
  )
}

/** The configuration with one service's backends changed. */
const withBackends = (
  config: Config,
  name: string,
  change: (service: Service) => readonly Backend[],
): Config => {
  const service = serviceOf(config, name)
  const changed: Service = { ...service, backends: change(service) }
  return { ...config, services: config.services.map(one => (one === service ? changed : one)) }
}

/** Set to weight 0 a backend keeps its place in the full ring, so that nobody else's slots move. */
const keepingPlace = (before: Backend, after: Backend): Backend => {
  const { ringWeight, ...rest } = after
  return after.weight === 0 ? { ...rest, ringWeight: ringWeight ?? Math.max(1, before.weight) } : rest
}

const find = <T>(rows: readonly T[], isIt: (row: T) => boolean, otherwise: () => BalancerError): T => {
  const row = rows.find(isIt)
  if (row === undefined) throw otherwise()
  return row
}

export const createHandlers = (daemon: Daemon, info: DaemonInfo): Handlers => {
  const balancer: Balancer = daemon.balancer

  const serviceRow = async (name: string): Promise<ServiceRow> => {
    serviceOf(balancer.config(), name)
    return find(
      await balancer.serviceRows(),
      row => row.service === name,
      () => notFound('service', name, []),
    )
  }
  /** The text given, or the daemon's own file; checked, its interfaces too. */
  const read = (text: string | undefined): ParsedConfig => {
    const parsed = parseConfig(text ?? info.readConfigFile())
    balancer.checkInterfaces(parsed.config)
    return parsed
  }

  const status = async (): Promise<Status> => {
    const verdicts = await daemon.dataplane.verdictCounts()
    return {
      ready: daemon.isReady(),
      pid: process.pid,
      version: info.version,
      instance: info.instance,
      startedAt: info.startedAt.toISOString(),
      config: { path: info.configPath, appliedAt: info.appliedAt.toISOString(), error: info.error },
      interfaces: daemon.interfaces(),
      program: { tag: daemon.dataplane.tag },
      verdicts: Object.fromEntries(
        [...verdicts].map(([name, { packets, bytes }]) => [
          name,
          { packets: String(packets), bytes: String(bytes) },
        ]),
      ),
      services: await balancer.serviceRows(),
    }
  }

  return {
    status,
    'service.list': () => balancer.serviceRows(),
    'service.show': ({ service }) => serviceRow(service),
    'backend.list': async ({ service }) => {
      const rows = service === undefined ? await balancer.serviceRows() : [await serviceRow(service)]
      return rows.flatMap(({ backends }) => backends)
    },
    'backend.show': async ({ service, backend }) => balancer.backendRow(service, backend),
    'backend.add': async ({ service, backend, ...wanted }, peer) => {
      await balancer.update(
        config =>
          withBackends(config, service, present => [
            ...present.backends,
            newBackend(present, { ...wanted, name: backend }),
          ]),
        who(peer),
      )
      return balancer.backendRow(service, backend)
    },
    'backend.set': async ({ service, backend, ...change }, peer) => {
      await balancer.update(
        config =>
          withBackends(config, service, present => {
            const before = backendOf(present, backend)
            const after = keepingPlace(before, changedBackend(before, change))
            return present.backends.map(one => (one === before ? after : one))
          }),
        who(peer),
      )
      return balancer.backendRow(service, backend)
    },
    'backend.remove': async ({ service, backend }, peer) => {
      await balancer.update(
        config =>
          withBackends(config, service, present => {
            const gone = backendOf(present, backend)
            return present.backends.filter(one => one !== gone)
          }),
        who(peer),
      )
      return { service, backend }
    },
    'ring.show': async ({ service, slots, down }) => balancer.ringView(service, { slots, down }),
    check: async ({ config }) => ({ ok: true, warnings: read(config).warnings }),
    diff: async ({ config }) => {
      const { config: wanted, warnings } = read(config)
      return { changes: diffConfigs(balancer.config(), wanted), warnings }
    },
    apply: async ({ config }, peer) => {
      const { config: wanted, warnings } = read(config)
      const changes = await balancer.update(() => wanted, who(peer))
      info.appliedAt = new Date()
      info.error = null
      return { changes, warnings }
    },
    subscribe: async () => ({ subscribed: true }),
  }
}
