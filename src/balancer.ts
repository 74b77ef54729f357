/**
 * The running balancer: the configuration, what health checks and the kernel say, and from these the data plane's
 * tables. One path for every change: mark the services that it touches, and the next pass brings them up to date.
 */

import { macText } from './address.js'
import type { Attachments } from './attachments.js'
import type { BackendRow, Change, Event, RingView, ServiceRow } from './control/protocol.js'
import { addCounts, addTraffic, type BackendCount, noCount } from './dataplane/counters.js'
import type { ServiceCounts, Tables, WantedService } from './dataplane/tables.js'
import { BalancerError } from './errors.js'
import type { Clock } from './health/clock.js'
import type { Judgement } from './health/judge.js'
import type { Checked, Monitor } from './health/monitor.js'
import type { Log } from './log.js'
import { type Backend, backendIdentity, type Config, type Service, serviceIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
import { createPasses } from './passes.js'
import { diffConfigs } from './reconcile.js'
import { countSlots, ringDigest } from './ring.js'
import { type RingViewOptions, viewRing } from './ring-view.js'
import { claimsOf, type Rings } from './rings.js'
import { type Standing, standingOf, takers } from './standing.js'

export interface BalancerOptions {
  readonly config: Config
  /** The configuration's seed, or the instance's own. */
  readonly seedOf: (config: Config) => string
  readonly tables: Tables
  readonly rings: Rings
  readonly nextHops: NextHops
  readonly monitor: Monitor
  readonly attachments: Attachments
  readonly publish: (event: Event) => void
  readonly log: Log
  readonly clock: Clock
}

export interface Balancer {
  readonly config: () => Config
  /**
   * Changes the configuration, at once; resolves when the data plane has it.
   *
   * @param change what is there -> what is wanted; may throw, and then nothing has changed
   * @param by     who asked, for the log
   */
  update(change: (present: Config) => Config, by: string): Promise<readonly Change[]>
  /** @throws BalancerError `ERR_NO_INTERFACE` when the configuration adds one that does not exist */
  checkInterfaces(wanted: Config): void
  /** Fills the tables. */
  prepare(): Promise<void>
  /** Attaches to the interfaces for the first time. @throws BalancerError when one of them does not take the program */
  attach(): Promise<void>
  /** Something outside has changed: a link, a next hop. */
  refresh(change: { readonly links: boolean }): Promise<void>
  /** A check's health has changed. */
  healthChanged(key: string, now: Judgement, before: Judgement): Promise<void>
  /** Whether every service has come to know its backends. */
  isSettled(): boolean
  serviceRows(): Promise<readonly ServiceRow[]>
  /** One of them. @throws BalancerError `ERR_NOT_FOUND` */
  backendRow(service: string, backend: string): BackendRow
  ringView(service: string, options: RingViewOptions): RingView
}

/** What a service's tables were made of. */
interface Running {
  readonly service: Service
  readonly standings: readonly Standing[]
  readonly takes: readonly boolean[]
  readonly owners: Int32Array
  /** How many slots each backend owns. */
  readonly slots: Int32Array
  /** Made when it is first asked for. */
  digest: string | null
}

/** How long a service that is new waits for its backends' neighbours to answer. */
const RESOLVE_WAIT_MS = 1000

/** In a pass's names: the interfaces are to be looked at. No service is called so. */
const INTERFACES = 'interfaces'

/** Names a check: the service's identity, then the backend's. */
export const checkKey = (service: Service, backend: Backend): string =>
  `${serviceIdentity(service)} ${backendIdentity(service, backend)}`

const checksOf = ({ services }: Config): Checked[] =>
  services.flatMap(service => {
    const { health } = service
    if (health === null) return []
    return service.backends.map(backend => ({
      key: checkKey(service, backend),
      check: health,
      target: {
        address: backend.address,
        port: health.port ?? backend.port ?? service.port,
        vip: service.vip,
      },
    }))
  })

export const createBalancer = (options: BalancerOptions): Balancer => {
  const { tables, rings, nextHops, monitor, attachments, publish, log, clock } = options
  let { config } = options
  const running = new Map<string, Running>()

  const standingNow = (service: Service, backend: Backend): Standing =>
    standingOf(service, backend, monitor.judgement(checkKey(service, backend)), nextHops.get(backend))

  const standings = (service: Service): Standing[] =>
    service.backends.map(backend => standingNow(service, backend))

  const wantedOf = ({ service, owners, standings }: Running): WantedService => ({
    service,
    owners,
    backends: service.backends.map((backend, i) => {
      const resolution = nextHops.get(backend)
      return {
        identity: backendIdentity(service, backend),
        address: backend.address,
        port: backend.port ?? service.port,
        isDead: standings[i]!.isDead,
        isDraining: backend.weight === 0,
        nextHop: 'nextHop' in resolution ? resolution.nextHop : null,
      }
    }),
  })

  const tell = (before: Running | undefined, now: Running): void => {
    const reasons = new Map(
      before?.service.backends.map((backend, i) => [
        backendIdentity(before.service, backend),
        before.standings[i]!,
      ]),
    )
    now.service.backends.forEach((backend, i) => {
      const was = reasons.get(backendIdentity(now.service, backend))
      const { lacksNextHop, reason } = now.standings[i]!
      if (lacksNextHop === (was?.lacksNextHop ?? false)) return
      const name = `${now.service.name}/${backend.name}`
      if (lacksNextHop) log.warn({ event: 'backend.no-next-hop', backend: name, reason }, 'gets no packets')
      else log.info({ event: 'backend.next-hop', backend: name }, 'its next hop is known')
      publish({
        kind: 'next-hop',
        service: now.service.name,
        backend: backend.name,
        reason: lacksNextHop ? reason : null,
      })
    })
  }

  const tellHealth = (key: string, now: Judgement, before: Judgement): void => {
    for (const service of config.services)
      for (const backend of service.backends) {
        if (checkKey(service, backend) !== key || now.health === before.health) continue
        const name = `${service.name}/${backend.name}`
        if (now.health === 'up') log.info({ event: 'backend.up', backend: name }, 'up')
        else log.warn({ event: 'backend.down', backend: name, reason: now.reason }, 'down')
        publish({
          kind: 'health',
          service: service.name,
          backend: backend.name,
          health: now.health,
          reason: now.reason,
        })
      }
  }

  /** Services that were never up to date: their backends answer one after the other, and none is to get all slots. */
  const settling = new Map<string, { readonly until: number }>()
  const found = new Set(tables.identities())

  const isSettling = (service: Service): boolean => {
    const identity = serviceIdentity(service)
    if (running.has(identity) && !settling.has(identity)) return false
    let one = settling.get(identity)
    if (!one) {
      one = { until: clock.now() + RESOLVE_WAIT_MS }
      settling.set(identity, one)
      clock.after(RESOLVE_WAIT_MS, () => void changed([identity]).catch(() => {}))
    }
    const { health, backends } = service
    const isUnjudged =
      health !== null &&
      !health.initiallyUp &&
      backends.some(backend => !monitor.hasResult(checkKey(service, backend)))
    const isUnresolved = backends.some(backend => backend.weight > 0 && 'reason' in nextHops.get(backend))
    if (isUnjudged || (isUnresolved && clock.now() < one.until)) return true
    settling.delete(identity)
    return false
  }

  const runningNow = async (service: Service): Promise<Running> => {
    const before = running.get(serviceIdentity(service))
    const now = standings(service)
    const takes = isSettling(service) ? now.map(() => false) : takers(now)
    const isSameRing = before?.service === service && takes.every((one, i) => one === before.takes[i])
    if (isSameRing) return { ...before, standings: now }
    const owners = await rings.owners(service, takes)
    const slots = countSlots(owners, service.backends.length)
    return { service, standings: now, takes, owners, slots, digest: null }
  }

  /** Brings services up to date: those configured are put, those that are not are removed. */
  const pass = async (identities: ReadonlySet<string>): Promise<void> => {
    const current = config
    await nextHops.follow(current.services.flatMap(({ backends }) => backends))
    monitor.watch(checksOf(current))
    if (identities.has(INTERFACES)) {
      await attachments.sync(current, nextHops.links(), false)
      await tables.setInterfaces(attachments.entries())
    }
    await tables.setSeed(options.seedOf(current))

    const configured = new Map(current.services.map(service => [serviceIdentity(service), service]))
    const gone = [...running.keys(), ...found].filter(identity => !configured.has(identity))
    const next: Running[] = []
    for (const identity of identities) {
      const service = configured.get(identity)
      if (service) next.push(await runningNow(service))
    }
    tables.remove(gone)
    for (const identity of gone) {
      running.delete(identity)
      settling.delete(identity)
      found.delete(identity)
      rings.forget(identity)
    }
    // What an earlier process left in the tables goes on as it is until there is something to say about it.
    const isKept = ({ service }: Running): boolean =>
      found.has(serviceIdentity(service)) && settling.has(serviceIdentity(service))
    await tables.put(next.filter(one => !isKept(one)).map(wantedOf))
    for (const one of next) {
      tell(running.get(serviceIdentity(one.service)), one)
      running.set(serviceIdentity(one.service), one)
    }
  }

  const changed = createPasses(pass)
  const all = (): string[] => config.services.map(serviceIdentity)

  const find = (name: string): Running => {
    const one = [...running.values()].find(({ service }) => service.name === name)
    if (one) return one
    throw new BalancerError('ERR_NOT_FOUND', `there is no service "${name}"`, {
      hint: `the services are ${config.services.map(service => service.name).join(', ') || 'none'}`,
    })
  }

  const rowOf = (one: Running, i: number, count: BackendCount): BackendRow => {
    const { service } = one
    const backend = service.backends[i]!
    const total = addTraffic(count.tx, count.redirect)
    const resolution = nextHops.get(backend)
    const { health, reason } = standingNow(service, backend)
    const nextHop = 'nextHop' in resolution ? resolution.nextHop : null
    const link = nextHops.links().find(({ ifindex }) => ifindex === nextHop?.ifindex)
    return {
      service: service.name,
      backend: backend.name,
      address: backend.address,
      port: backend.port ?? service.port,
      weight: backend.weight,
      state: 'enabled',
      health,
      slots: one.slots[i]!,
      flows: null,
      packets: String(total.packets),
      bytes: String(total.bytes),
      newFlows: String(count.syns),
      nextHop: nextHop && { interface: link?.name ?? String(nextHop.ifindex), mac: macText(nextHop.mac) },
      reason,
    }
  }

  const digestOf = (one: Running): string => {
    one.digest ??= ringDigest(claimsOf(one.service), one.owners)
    return one.digest
  }

  const serviceRow = (one: Running, counts: ServiceCounts | undefined): ServiceRow => {
    const { service } = one
    const counted = [...(counts?.backends.values() ?? []), counts?.retired ?? noCount].reduce(
      addCounts,
      noCount,
    )
    const total = addTraffic(counted.tx, counted.redirect)
    return {
      service: service.name,
      vip: service.vip,
      port: service.port,
      protocol: service.protocol,
      forward: service.forward,
      scheduler: service.scheduler,
      ringSize: service.ringSize,
      noBackend: service.noBackend,
      digest: digestOf(one),
      packets: String(total.packets),
      bytes: String(total.bytes),
      backends: service.backends.map((backend, i) =>
        rowOf(one, i, counts?.backends.get(backendIdentity(service, backend)) ?? noCount),
      ),
    }
  }

  return {
    config: () => config,
    update: async (change, by) => {
      const before = config
      const after = change(before)
      const changes = diffConfigs(before, after)
      config = after
      const kept = new Set(before.services)
      const touched = after.services.filter(service => !kept.has(service)).map(serviceIdentity)
      await changed(
        changes.some(({ kind }) => kind === 'interface' || kind === 'setting')
          ? [...all(), INTERFACES]
          : touched,
      )
      log.debug({ event: 'config.changed', changes, by }, 'in effect')
      if (changes.length > 0) publish({ kind: 'change', changes, by })
      return changes
    },
    refresh: async ({ links }) => {
      await changed(links ? [...all(), INTERFACES] : all())
    },
    checkInterfaces: wanted => {
      const there = nextHops.links().map(({ name }) => name)
      const missing = wanted.interfaces.find(
        name => !there.includes(name) && !config.interfaces.includes(name),
      )
      if (missing !== undefined)
        throw new BalancerError('ERR_NO_INTERFACE', `there is no interface ${missing}`, {
          hint: `there are: ${there.join(', ')}`,
        })
    },
    prepare: () => changed(all()),
    attach: async () => {
      await attachments.sync(config, nextHops.links(), true)
      await changed([...all(), INTERFACES])
    },
    healthChanged: async (key, now, before) => {
      tellHealth(key, now, before)
      await changed(config.services.map(serviceIdentity).filter(identity => key.startsWith(`${identity} `)))
    },
    isSettled: () => settling.size === 0,
    serviceRows: async () => {
      const counts = await tables.counts()
      return [...running.values()]
        .map(one => serviceRow(one, counts.get(serviceIdentity(one.service))))
        .sort((a, b) => (a.service < b.service ? -1 : 1))
    },
    backendRow: (serviceName, name) => {
      const one = find(serviceName)
      const { service } = one
      const i = service.backends.findIndex(backend => backend.name === name)
      if (i < 0)
        throw new BalancerError('ERR_NOT_FOUND', `service "${serviceName}" has no backend "${name}"`, {
          hint: `its backends are ${service.backends.map(backend => backend.name).join(', ') || 'none'}`,
        })
      return rowOf(
        one,
        i,
        tables.count(serviceIdentity(service), backendIdentity(service, service.backends[i]!)),
      )
    },
    ringView: (name, viewOptions) => {
      const { service, takes } = find(name)
      const byIdentity = new Map(
        service.backends.map((backend, i) => [backendIdentity(service, backend), takes[i]!]),
      )
      return viewRing(service, backend => !byIdentity.get(backendIdentity(service, backend)), viewOptions)
    },
  }
}
