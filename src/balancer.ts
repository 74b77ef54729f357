/**
 * The running balancer: what is wanted, what health checks and the kernel say, and from these the data plane's tables.
 * One path for every change: mark the services that it touches, and the next pass brings them up to date.
 */

import { createAdminProgress } from './admin-progress.js'
import type { Attachments } from './attachments.js'
import type { BackendRow, Change, Event, Impact, RingView, ServiceRow } from './control/protocol.js'
import { addTraffic } from './dataplane/counters.js'
import type { Tables, WantedService } from './dataplane/tables.js'
import { BalancerError } from './errors.js'
import { createGoings } from './going.js'
import type { Clock } from './health/clock.js'
import type { Judgement } from './health/judge.js'
import type { Checked, Monitor } from './health/monitor.js'
import { backendKey, identitiesOf, keyOf } from './identities.js'
import { createPacketMinute } from './impact-packets.js'
import { breakingServices, previewImpact } from './impact-preview.js'
import type { Journal } from './journal.js'
import type { Log } from './log.js'
import { type Backend, backendIdentity, type Config, type Service, serviceIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
import { createPasses } from './passes.js'
import { diffConfigs, diffOrders } from './reconcile.js'
import { countSlots } from './ring.js'
import { createRingBuilder } from './ring-builder.js'
import { type RingViewOptions, viewRing } from './ring-view.js'
import { createRings, type Rings } from './rings.js'
import { createRunningRows, type Running } from './running.js'
import { createSettling } from './settling.js'
import { type Standing, standingOf, takers } from './standing.js'
import { leavingOf, strayBackend, type Wanted, wantedBy, withConfig, withoutLeaving } from './wanted.js'

export interface BalancerOptions {
  readonly config: Config
  /** What a journal made of the configuration; default: the configuration alone. */
  readonly wanted?: Wanted
  /** Keeps what is changed at run time. */
  readonly journal?: Journal
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

export interface Updated {
  readonly changes: readonly Change[]
  /** Why a restart would lose it; null: it would not. */
  readonly warning: string | null
}

export interface Balancer {
  readonly config: () => Config
  readonly wanted: () => Wanted
  /** The clock that orders go by: milliseconds, monotonic. */
  readonly now: () => number
  /**
   * Changes what is wanted, at once; resolves when the data plane and the journal have it.
   *
   * @param change what is there -> what is wanted; may throw, and then nothing has changed
   * @param by     who asked, for the log
   */
  update(change: (present: Wanted) => Wanted, by: string): Promise<Updated>
  /** For `update`: another configuration. What it lacks is leaving. */
  withConfig(present: Wanted, config: Config): Wanted
  /** @throws BalancerError `ERR_NO_INTERFACE`, `ERR_XDP_BUSY` when the configuration adds one that cannot be used */
  checkInterfaces(wanted: Config): void
  /** The services whose untracked flows a configuration would break. */
  breaks(wanted: Config): readonly { readonly name: string; readonly reason: string }[]
  /** What applying a configuration would do to the flows. */
  impact(wanted: Config): Promise<readonly Impact[]>
  /** Fills the tables. */
  prepare(): Promise<void>
  /** Attaches to the interfaces for the first time. @throws BalancerError when one of them does not take the program */
  attach(): Promise<void>
  /** Once a second: backends that drain or leave come to their end; counters are sampled. */
  tick(): void
  /** Something outside has changed: a link, a next hop. */
  refresh(change: { readonly links: boolean }): Promise<void>
  /** A check's health has changed. */
  healthChanged(key: string, now: Judgement, before: Judgement): Promise<void>
  /** Whether every service has come to know its backends. */
  isSettled(): boolean
  /** Live entries of the flow cache, by the last sweep. */
  liveFlows(): number
  serviceRows(): Promise<readonly ServiceRow[]>
  /** One of them; of two with one name, that of the configuration. @throws BalancerError `ERR_NOT_FOUND` */
  backendRow(service: string, backend: string): BackendRow
  ringView(service: string, options: RingViewOptions): RingView
}

/** In a pass's names: the interfaces are to be looked at. No service is called so. */
const INTERFACES = 'interfaces'

const SAMPLE_MS = 10_000

/** Names a check: the service's identity, then the backend's. */
export const checkKey = backendKey

/** Those of the configuration, then those that leave it. */
const allBackends = (wanted: Wanted): { readonly service: Service; readonly backend: Backend }[] =>
  wanted.config.services.flatMap(service =>
    [...service.backends, ...leavingOf(wanted, serviceIdentity(service))].map(backend => ({
      service,
      backend,
    })),
  )

const checksOf = (wanted: Wanted): Checked[] =>
  wanted.config.services.flatMap(service => {
    const { health } = service
    if (health === null) return []
    const { service: identity, keys } = identitiesOf(service)
    return [...service.backends, ...leavingOf(wanted, identity)].map((backend, i) => {
      const { address } = backend
      const port = health.port ?? backend.port ?? service.port
      const key = keys[i] ?? backendKey(service, backend)
      return { key, check: health, target: { address, port, vip: service.vip } }
    })
  })

const isSameCheck = (a: Checked, b: Checked | undefined): boolean =>
  a.key === b?.key && a.check === b.check && a.target.port === b.target.port && a.target.vip === b.target.vip

/** Services of which orders or leaving backends differ. */
const reordered = (before: Wanted, after: Wanted): string[] =>
  (['orders', 'leaving'] as const).flatMap(kind =>
    [...new Set([...before[kind].keys(), ...after[kind].keys()])]
      .filter(key => before[kind].get(key) !== after[kind].get(key))
      .map(key => key.slice(0, key.indexOf(' '))),
  )

export const createBalancer = (options: BalancerOptions): Balancer => {
  const { tables, rings, nextHops, monitor, attachments, publish, log, clock, journal } = options
  let wanted = options.wanted ?? wantedBy(options.config)
  const running = new Map<string, Running>()
  const progress = createAdminProgress()
  progress.follow(wanted)
  const minute = createPacketMinute(clock.now)
  let preview: Rings | null = null

  const standingOfKey = (key: string, service: Service, backend: Backend): Standing =>
    standingOf(service, backend, monitor.judgement(key), nextHops.get(backend), progress.admin(key))

  const standingNow = (service: Service, backend: Backend): Standing =>
    standingOfKey(backendKey(service, backend), service, backend)

  const wantedBackend = (
    service: Service,
    backend: Backend,
    identity: string,
    standing: Standing,
    ownsSlots: boolean,
  ) => {
    const resolution = nextHops.get(backend)
    return {
      identity,
      address: backend.address,
      port: backend.port ?? service.port,
      // One that is out but has to serve as the last resort is not.
      isDead: standing.isDead && !(standing.isLastResort && ownsSlots),
      isDraining: standing.isDraining,
      nextHop: 'nextHop' in resolution ? resolution.nextHop : null,
    }
  }

  const wantedOf = ({ service, owners, standings, slots, leaving }: Running): WantedService => {
    const { backends: identities } = identitiesOf(service)
    return {
      service,
      owners,
      backends: [
        ...service.backends.map((backend, i) =>
          wantedBackend(service, backend, identities[i]!, standings[i]!, slots[i]! > 0),
        ),
        ...leaving.map(({ backend, standing }) =>
          wantedBackend(service, backend, backendIdentity(service, backend), standing, false),
        ),
      ],
    }
  }

  const tell = (before: Running | undefined, now: Running): void => {
    const lacking = new Set(
      before && identitiesOf(before.service).backends.filter((_, i) => before.standings[i]!.lacksNextHop),
    )
    const { backends: identities } = identitiesOf(now.service)
    now.service.backends.forEach((backend, i) => {
      const { lacksNextHop, reason } = now.standings[i]!
      if (lacksNextHop === (lacking.size > 0 && lacking.has(identities[i]!))) return
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
    if (now.health === before.health) return
    for (const { service, backend } of allBackends(wanted)) {
      if (backendKey(service, backend) !== key) continue
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

  const settling = createSettling(clock, service => void changed([service]).catch(() => {}))
  /** Services that an earlier process left in the tables. */
  const found = new Set(tables.identities())

  const isSettling = (service: Service): boolean => {
    const { health, backends } = service
    const isAsked = (backend: Backend): boolean =>
      backend.weight > 0 && progress.order(backendKey(service, backend)) === undefined
    const { service: identity } = identitiesOf(service)
    return settling.waits(identity, running.has(identity), () => ({
      judgements:
        health !== null &&
        !health.initiallyUp &&
        backends.some(backend => !monitor.hasResult(backendKey(service, backend))),
      nextHops: backends.some(backend => isAsked(backend) && 'reason' in nextHops.get(backend)),
    }))
  }

  const runningNow = async (service: Service, leavers: readonly Backend[]): Promise<Running> => {
    const { service: identity, keys } = identitiesOf(service)
    const before = running.get(identity)
    const standings = service.backends.map((backend, i) => standingOfKey(keys[i]!, service, backend))
    const leaving = leavers.map(backend => ({ backend, standing: standingNow(service, backend) }))
    const takes = isSettling(service) ? standings.map(() => false) : takers(standings)
    const isSameRing = before?.service === service && takes.every((one, i) => one === before.takes[i])
    if (isSameRing) return { ...before, standings, leaving }
    const owners = await rings.owners(service, takes)
    const slots = countSlots(owners, service.backends.length)
    return { service, standings, takes, owners, slots, leaving, digest: null }
  }

  let watched: readonly Checked[] = []
  /** Most changes are none of the checks. */
  const watch = (checks: readonly Checked[]): void => {
    if (checks.length === watched.length && checks.every((check, i) => isSameCheck(check, watched[i]))) return
    watched = checks
    monitor.watch(checks)
  }

  /** Brings services up to date: those configured are put, those that are not are removed. */
  const pass = async (identities: ReadonlySet<string>): Promise<void> => {
    const present = wanted
    const current = present.config
    await nextHops.follow(allBackends(present).map(({ backend }) => backend))
    watch(checksOf(present))
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
      if (service) next.push(await runningNow(service, leavingOf(present, identity)))
    }
    tables.remove(gone)
    for (const identity of gone) {
      running.delete(identity)
      settling.forget(identity)
      found.delete(identity)
      rings.forget(identity)
    }
    // What an earlier process left in the tables goes on as it is until there is something to say about it.
    await tables.put(next.filter(({ service }) => !isKept(serviceIdentity(service))).map(wantedOf))
    for (const one of next) {
      tell(running.get(serviceIdentity(one.service)), one)
      running.set(serviceIdentity(one.service), one)
    }
  }

  const changed = createPasses(pass)
  const all = (): string[] => wanted.config.services.map(serviceIdentity)

  const find = (name: string): Running => {
    const one = [...running.values()].find(({ service }) => service.name === name)
    if (one) return one
    throw new BalancerError('ERR_NOT_FOUND', `there is no service "${name}"`, {
      hint: `the services are ${wanted.config.services.map(service => service.name).join(', ') || 'none'}`,
    })
  }

  const rows = createRunningRows({ tables, nextHops, progress, standingNow, now: clock.now })

  const save = async (): Promise<string | null> => (journal ? journal.save(wanted) : null)

  /** Backends that an earlier process left in the tables, and that are out of the configuration now: they leave. */
  const adopt = async (): Promise<void> => {
    if (found.size === 0) return
    const counts = await tables.counts()
    const leaving = new Map(wanted.leaving)
    const before = leaving.size
    for (const service of wanted.config.services) {
      const identity = serviceIdentity(service)
      const listed = new Set(service.backends.map(backend => backendIdentity(service, backend)))
      for (const backend of counts.get(identity)?.backends.keys() ?? []) {
        const key = keyOf(identity, backend)
        if (listed.has(backend) || leaving.has(key)) continue
        leaving.set(key, { service: identity, backend: strayBackend(service, backend), sinceMs: clock.now() })
      }
    }
    if (leaving.size === before) return
    wanted = { ...wanted, leaving }
    progress.follow(wanted)
    void save()
  }

  const isKept = (identity: string): boolean => found.has(identity) && settling.has(identity)

  const stepGoing = createGoings({ running, progress, tables, isKept, now: clock.now, publish, log })

  /** Those that leave and have come to their end are gone. */
  const settleGoing = (): void => {
    const ended = stepGoing()
    const gone = ended.filter(({ order }) => order.state === 'leaving').map(({ key }) => key)
    if (gone.length > 0) {
      wanted = withoutLeaving(wanted, gone)
      progress.follow(wanted)
      void save()
    }
    const services = [...new Set(ended.map(({ service }) => service))]
    if (services.length === 0) return
    changed(services).catch((error: unknown) =>
      log.error(
        { event: 'update.failed', error: String(error) },
        'the end of a drain could not be brought into effect',
      ),
    )
  }

  const sample = async (): Promise<void> => {
    const counts = await tables.counts()
    const packets = new Map<string, number>()
    for (const [service, { backends }] of counts)
      for (const [identity, { tx, redirect }] of backends)
        packets.set(keyOf(service, identity), Number(addTraffic(tx, redirect).packets))
    minute.add(packets)
  }
  let sampledMs = Number.NEGATIVE_INFINITY

  const trafficOf = (service: string, identity: string) => {
    const flows = tables.flows(service, identity)
    const size = running.get(service)?.owners.length
    return {
      packets: minute.packets(keyOf(service, identity)),
      flows: flows !== null && tables.tracking(service).tracked === size ? flows.live : null,
    }
  }

  const isReseeded = (after: Config): boolean => options.seedOf(after) !== options.seedOf(wanted.config)

  return {
    config: () => wanted.config,
    wanted: () => wanted,
    now: clock.now,
    update: async (change, by) => {
      const before = wanted
      const after = change(before)
      const changes = [
        ...diffConfigs(before.config, after.config),
        ...diffOrders(after.config, before.orders, after.orders),
      ]
      wanted = after
      progress.follow(after)
      const kept = new Set(before.config.services)
      const touched = after.config.services.filter(service => !kept.has(service)).map(serviceIdentity)
      const isWide = changes.some(({ kind }) => kind === 'interface' || kind === 'setting')
      const saved = save()
      await changed(isWide ? [...all(), INTERFACES] : [...touched, ...reordered(before, after)])
      log.debug({ event: 'config.changed', changes, by }, 'in effect')
      if (changes.length > 0) publish({ kind: 'change', changes, by })
      return { changes, warning: await saved }
    },
    withConfig: (present, config) =>
      withConfig(present, config, clock.now(), key => {
        const { state, isOut } = progress.admin(key)
        return !isOut && state !== 'disabled'
      }),
    refresh: async ({ links }) => {
      await changed(links ? [...all(), INTERFACES] : all())
    },
    checkInterfaces: after => attachments.check(after.interfaces, nextHops.links()),
    breaks: after => breakingServices({ running, wanted: after, isReseeded: isReseeded(after) }),
    impact: async after => {
      await sample()
      preview ??= createRings(createRingBuilder())
      return previewImpact({
        running,
        wanted: after,
        isReseeded: isReseeded(after),
        rings: preview,
        takersOf: service => {
          const known = new Set(
            running
              .get(serviceIdentity(service))
              ?.service.backends.map(backend => backendKey(service, backend)),
          )
          // Orders do not outlive an apply; who is new counts as up.
          return takers(
            service.backends.map(backend => {
              const key = backendKey(service, backend)
              const standing = standingOf(service, backend, monitor.judgement(key), nextHops.get(backend))
              return known.has(key) ? standing : { ...standing, takes: backend.weight > 0 }
            }),
          )
        },
        trafficOf,
      })
    },
    prepare: async () => {
      await adopt()
      await changed(all())
    },
    attach: async () => {
      await attachments.sync(wanted.config, nextHops.links(), true)
      await changed([...all(), INTERFACES])
    },
    tick: () => {
      settleGoing()
      if (journal?.status().error) void save()
      if (clock.now() - sampledMs < SAMPLE_MS) return
      sampledMs = clock.now()
      sample().catch((error: unknown) =>
        log.debug({ event: 'sample.failed', error: String(error) }, 'no sample'),
      )
    },
    healthChanged: async (key, now, before) => {
      tellHealth(key, now, before)
      await changed(all().filter(identity => key.startsWith(`${identity} `)))
    },
    isSettled: () => settling.isEmpty(),
    liveFlows: () =>
      allBackends(wanted).reduce((sum, { service, backend }) => {
        const flows = tables.flows(serviceIdentity(service), backendIdentity(service, backend))
        return sum + (flows?.live ?? 0)
      }, 0),
    serviceRows: async () => {
      const counts = await tables.counts()
      return [...running.values()]
        .map(one => rows.service(one, counts.get(serviceIdentity(one.service))))
        .sort((a, b) => (a.service < b.service ? -1 : 1))
    },
    backendRow: (serviceName, name) => {
      const one = find(serviceName)
      const row = rows.backend(one, name)
      if (row) return row
      throw new BalancerError('ERR_NOT_FOUND', `service "${serviceName}" has no backend "${name}"`, {
        hint: `its backends are ${one.service.backends.map(backend => backend.name).join(', ') || 'none'}`,
      })
    },
    ringView: (name, viewOptions) => {
      const { service } = find(name)
      const supposed = (isDown: (backend: Backend) => boolean) =>
        takers(
          service.backends.map(backend => {
            const standing = standingNow(service, backend)
            return isDown(backend)
              ? { ...standing, takes: false, isLastResort: false, lacksNextHop: false }
              : standing
          }),
        )
      return viewRing(service, supposed, viewOptions)
    },
  }
}
