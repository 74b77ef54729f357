/** What the daemon answers on the control socket. */
import type { Order } from './admin.js'
import type { AuditLog } from './audit.js'
import type { Balancer, Updated } from './balancer.js'
import { changedBackend, newBackend } from './config/backend-change.js'
import { type ParsedConfig, parseConfig } from './config.js'
import type { Change, Drift, Handlers, Method, Peer, ServiceRow } from './control/protocol.js'
import type { Daemon } from './daemon.js'
import { BalancerError } from './errors.js'
import { backendKey } from './identities.js'
import { type Journal, textDigest } from './journal.js'
import type { Endpoint } from './metrics/endpoint.js'
import { type Backend, type Config, type Service, serviceIdentity } from './model.js'
import { diffConfigs, diffOrders } from './reconcile.js'
import { readStatus } from './status.js'
import { type AppliedText, type Wanted, withOrder, withoutLeaving } from './wanted.js'

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

/** One that is out of the configuration, and still has flows. */
const leavingKey = ({ config, leaving }: Wanted, serviceName: string, name: string): string | undefined => {
  const identity = serviceIdentity(serviceOf(config, serviceName))
  return [...leaving].find(([, one]) => one.service === identity && one.backend.name === name)?.[0]
}

/** A configured backend for an order. @throws BalancerError `ERR_NOT_FOUND`; `ERR_CONFLICT` when it is leaving */
const keyForOrder = (wanted: Wanted, serviceName: string, name: string): string => {
  const service = serviceOf(wanted.config, serviceName)
  const isConfigured = service.backends.some(one => one.name === name)
  if (!isConfigured && leavingKey(wanted, serviceName, name) !== undefined)
    throw new BalancerError('ERR_CONFLICT', `${serviceName}/${name} is leaving`, {
      hint: 'backend remove --now cuts its connections, backend add brings it back',
    })
  return backendKey(service, backendOf(service, name))
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

const lossOf = (warning: string | null): { readonly warning?: string } =>
  warning === null ? {} : { warning }

/** What `apply` of a configuration changes, orders of drained backends included: none of them outlives it. */
const changesTo = ({ config, orders }: Wanted, after: Config): Change[] => [
  ...diffConfigs(config, after),
  ...diffOrders(after, orders, new Map()),
]

/** What was changed at run time; what the other configuration does not say is thrown away by it. */
const driftOf = ({ base, config, orders }: Wanted, changes: readonly Change[]): Drift[] => {
  const lost = new Set(changes.map(({ kind, name }) => `${kind} ${name}`))
  return [...diffConfigs(base, config), ...diffOrders(config, new Map(), orders)].map(change => ({
    ...change,
    isThrownAway: lost.has(`${change.kind} ${change.name}`),
  }))
}

/** The text, if it is not that of the daemon's own file. */
const appliedText = (text: string | undefined, readConfigFile: () => string): AppliedText | null => {
  if (text === undefined) return null
  let own: string
  try {
    own = readConfigFile()
  } catch {
    own = ''
  }
  return text === own ? null : { text, fileDigest: textDigest(own) }
}

export interface Surroundings {
  readonly journal?: Journal
  readonly audit?: AuditLog
  readonly endpoint?: Endpoint
}

export const createHandlers = (
  daemon: Daemon,
  info: DaemonInfo,
  { journal, audit, endpoint }: Surroundings = {},
): Handlers => {
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

  /** Changes what is wanted, and writes down who did it, and with what result. */
  const update = async (
    method: Method,
    params: unknown,
    peer: Peer,
    change: (present: Wanted) => Wanted,
  ): Promise<Updated> => {
    try {
      const updated = await balancer.update(change, who(peer))
      audit?.record({ peer, method, params, changes: updated.changes, error: null })
      return updated
    } catch (cause) {
      const error = cause instanceof BalancerError ? cause.code : 'ERR_INTERNAL'
      audit?.record({ peer, method, params, changes: [], error })
      throw cause
    }
  }

  type Named = { readonly service: string; readonly backend: string }

  const changeBackends = async (
    method: Method,
    params: Named,
    peer: Peer,
    change: (service: Service) => readonly Backend[],
  ) => {
    const { service, backend } = params
    const { warning } = await update(method, params, peer, present =>
      balancer.withConfig(present, withBackends(present.config, service, change)),
    )
    return { ...balancer.backendRow(service, backend), ...lossOf(warning) }
  }

  /** @param orderOf what the backend's order becomes; null: none */
  const order = async (
    method: Method,
    params: Named,
    peer: Peer,
    orderOf: (present: Order | null) => Order | null,
  ) => {
    const { service, backend } = params
    const { warning } = await update(method, params, peer, present => {
      const key = keyForOrder(present, service, backend)
      const before = present.orders.get(key) ?? null
      const after = orderOf(before)
      return after === before ? present : withOrder(present, key, after)
    })
    return { ...balancer.backendRow(service, backend), ...lossOf(warning) }
  }

  return {
    status: () => readStatus({ daemon, info, journal, endpoint }),
    'service.list': () => balancer.serviceRows(),
    'service.show': ({ service }) => serviceRow(service),
    'backend.list': async ({ service }) => {
      const rows = service === undefined ? await balancer.serviceRows() : [await serviceRow(service)]
      return rows.flatMap(({ backends }) => backends)
    },
    'backend.show': async ({ service, backend }) => balancer.backendRow(service, backend),
    'backend.add': (params, peer) => {
      const { service: _, backend, ...wanted } = params
      return changeBackends('backend.add', params, peer, present => [
        ...present.backends,
        newBackend(present, { ...wanted, name: backend }),
      ])
    },
    'backend.set': (params, peer) => {
      const { service: _, backend, ...change } = params
      return changeBackends('backend.set', params, peer, present => {
        const before = backendOf(present, backend)
        const after = keepingPlace(before, changedBackend(before, change))
        return present.backends.map(one => (one === before ? after : one))
      })
    },
    'backend.remove': async (params, peer) => {
      const { service, backend, now = false } = params
      const { warning } = await update('backend.remove', params, peer, present => {
        const { backends } = serviceOf(present.config, service)
        const gone = backends.find(one => one.name === backend)
        const left = leavingKey(present, service, backend)
        if (!gone && left !== undefined) return now ? withoutLeaving(present, [left]) : present
        const after = balancer.withConfig(
          present,
          withBackends(present.config, service, of => {
            const out = backendOf(of, backend)
            return of.backends.filter(one => one !== out)
          }),
        )
        const key = gone && backendKey(serviceOf(present.config, service), gone)
        return now && key !== undefined ? withoutLeaving(after, [key]) : after
      })
      const isLeaving = leavingKey(balancer.wanted(), service, backend) !== undefined
      return { service, backend, isLeaving, ...lossOf(warning) }
    },
    'backend.drain': (params, peer) =>
      order('backend.drain', params, peer, before => {
        const { deadline } = params
        if (before?.state === 'draining' && deadline === undefined) return before
        const deadlineMs = deadline === undefined ? null : deadline * 1000
        return { state: 'draining', sinceMs: balancer.now(), deadlineMs }
      }),
    'backend.undrain': (params, peer) =>
      order('backend.undrain', params, peer, before => {
        if (before?.state !== 'disabled') return null
        const name = `${params.service}/${params.backend}`
        throw new BalancerError('ERR_CONFLICT', `${name} is disabled, not draining`, {
          hint: 'backend enable takes that back',
        })
      }),
    'backend.disable': (params, peer) =>
      order('backend.disable', params, peer, before =>
        before?.state === 'disabled' ? before : { state: 'disabled', sinceMs: balancer.now() },
      ),
    'backend.enable': (params, peer) => order('backend.enable', params, peer, () => null),
    'ring.show': async ({ service, slots, down }) => balancer.ringView(service, { slots, down }),
    'flow.list': query => daemon.flows.list(query),
    'flow.count': filter => daemon.flows.count(filter),
    'flow.drop': async (params, peer) => {
      try {
        const result = await daemon.flows.drop(params)
        audit?.record({ peer, method: 'flow.drop', params, changes: [], error: null })
        return result
      } catch (cause) {
        const error = cause instanceof BalancerError ? cause.code : 'ERR_INTERNAL'
        audit?.record({ peer, method: 'flow.drop', params, changes: [], error })
        throw cause
      }
    },
    check: async ({ config }) => ({ ok: true, warnings: read(config).warnings }),
    diff: async ({ config }) => {
      const { config: after, warnings } = read(config)
      const present = balancer.wanted()
      const changes = changesTo(present, after)
      return {
        changes,
        drift: driftOf(present, changes),
        impact: await balancer.impact(after),
        breaks: balancer.breaks(after).length > 0,
        warnings,
      }
    },
    apply: async (params, peer) => {
      const { force = false } = params
      let warnings: readonly string[] = []
      const { changes, warning } = await update('apply', params, peer, present => {
        const parsed = read(params.config)
        const breaks = force ? [] : balancer.breaks(parsed.config)
        if (breaks.length > 0) throw wouldBreak(breaks)
        warnings = parsed.warnings
        const applied = appliedText(params.config, info.readConfigFile)
        const next = balancer.withConfig(present, parsed.config)
        return { ...next, base: parsed.config, applied, orders: new Map() }
      })
      info.appliedAt = new Date()
      info.error = null
      const lost = warning === null ? [] : [`a restart would lose this change: ${warning}`]
      const unserved = await endpoint?.follow(balancer.config().http)
      return { changes, warnings: [...warnings, ...lost, ...(unserved ? [unserved] : [])] }
    },
    subscribe: async () => ({ subscribed: true }),
  }
}

const wouldBreak = (breaks: readonly { readonly name: string; readonly reason: string }[]): BalancerError =>
  new BalancerError(
    'ERR_CONFLICT',
    `connections would break: ${breaks.map(({ name, reason }) => `${name}: ${reason}`).join('; ')}`,
    { hint: 'connections that are not tracked cannot be kept; linimo apply --force does it all the same' },
  )
