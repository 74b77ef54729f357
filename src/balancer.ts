/**
 * The running balancer: what is wanted, what health checks and the kernel say, and from these the data plane's tables.
 * One path for every change: mark the services that it touches, and the next pass brings them into effect (effect.ts).
 */

import { createAdminProgress } from './admin-progress.js'
import type { Attachments } from './attachments.js'
import { createChanges } from './changes.js'
import type { BackendRow, Change, Event, Impact, RingView, ServiceRow } from './control/protocol.js'
import type { Tables } from './dataplane/tables.js'
import { createEffect, INTERFACES } from './effect.js'
import { BalancerError } from './errors.js'
import { createGoings } from './going.js'
import type { Clock } from './health/clock.js'
import type { Judgement } from './health/judge.js'
import type { Monitor } from './health/monitor.js'
import { backendKey } from './identities.js'
import { createImpacts } from './impacts.js'
import type { Journal } from './journal.js'
import type { Log } from './log.js'
import { type Backend, type Config, type Service, serviceIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
import { resolutionOf } from './reach.js'
import { diffConfigs, diffOrders } from './reconcile.js'
import { createReplyWatch } from './reply-watch.js'
import { type RingViewOptions, viewRing } from './ring-view.js'
import type { Rings } from './rings.js'
import { createRunningRows, type Running } from './running.js'
import { type Standing, standingOf, takers } from './standing.js'
import { withStrays } from './strays.js'
import { createTelling } from './telling.js'
import type { TranslationNetwork } from './translation-network.js'
import { type Wanted, wantedBy, withConfig, withoutLeaving } from './wanted.js'

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
  /** Absent: nothing is translated. */
  readonly translation?: TranslationNetwork
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
   * @param change what is there -> what is wanted; may throw, and then nothing has changed; nor has it when this rejects
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
  serviceRows(): Promise<readonly ServiceRow[]>
  /** One of them; of two with one name, that of the configuration. @throws BalancerError `ERR_NOT_FOUND` */
  backendRow(service: string, backend: string): BackendRow
  ringView(service: string, options: RingViewOptions): RingView
}

/** Services of which orders or leaving backends differ. */
const reordered = (before: Wanted, after: Wanted): string[] =>
  (['orders', 'leaving'] as const).flatMap(kind =>
    [...new Set([...before[kind].keys(), ...after[kind].keys()])]
      .filter(key => before[kind].get(key) !== after[kind].get(key))
      .map(key => key.slice(0, key.indexOf(' '))),
  )

export const createBalancer = (options: BalancerOptions): Balancer => {
  const { tables, rings, nextHops, monitor, attachments, publish, log, clock, journal, seedOf } = options
  const changes = createChanges(options.wanted ?? wantedBy(options.config))
  const { wanted } = changes
  const running = new Map<string, Running>()
  const progress = createAdminProgress()
  progress.follow(wanted())
  const telling = createTelling(publish, log)

  const standing = (service: Service, backend: Backend, key: string): Standing =>
    standingOf(
      service,
      backend,
      monitor.judgement(key),
      resolutionOf(nextHops, service, backend),
      progress.admin(key),
    )
  const standingNow = (service: Service, backend: Backend): Standing =>
    standing(service, backend, backendKey(service, backend))

  const { changed, isSettled, isKept, retry } = createEffect({
    wanted,
    running,
    standing,
    progress,
    seedOf,
    tables,
    rings,
    nextHops,
    monitor,
    attachments,
    telling,
    translation: options.translation,
    clock,
  })
  const replies = createReplyWatch(clock.now)
  const impacts = createImpacts({
    running,
    tables,
    standingUnordered: (service, backend) =>
      standingOf(
        service,
        backend,
        monitor.judgement(backendKey(service, backend)),
        resolutionOf(nextHops, service, backend),
      ),
    isReseeded: after => seedOf(after) !== seedOf(wanted().config),
    now: clock.now,
    onSample: replies.add,
    log,
  })
  const rows = createRunningRows({
    tables,
    nextHops,
    progress,
    standing,
    isSilent: replies.isSilent,
    interfaces: () => wanted().config.interfaces,
    now: clock.now,
  })
  const stepGoing = createGoings({ running, progress, tables, isKept, now: clock.now, publish, log })

  const all = (): string[] => wanted().config.services.map(serviceIdentity)

  const find = (name: string): Running => {
    const one = [...running.values()].find(({ service }) => service.name === name)
    if (one) return one
    throw new BalancerError('ERR_NOT_FOUND', `there is no service "${name}"`, {
      hint: `the services are ${
        wanted()
          .config.services.map(service => service.name)
          .join(', ') || 'none'
      }`,
    })
  }

  const save = async (): Promise<string | null> => (journal ? journal.save(wanted()) : null)

  /** A change that nobody waits for, and nothing refuses. */
  const settle = (change: (present: Wanted) => Wanted): void => {
    changes.begin(change).settle()
    progress.follow(wanted())
    void save()
  }

  /** What an earlier process left in the tables, and nobody wants any more, leaves. */
  const adopt = async (): Promise<void> => {
    if (tables.identities().length === 0) return
    const held = await tables.counts()
    settle(present => withStrays(present, held, clock.now()))
  }

  /** Those that leave and have come to their end are gone. */
  const settleGoing = (): void => {
    const ended = stepGoing()
    const gone = ended.filter(({ order }) => order.state === 'leaving').map(({ key }) => key)
    if (gone.length > 0) settle(present => withoutLeaving(present, gone))
    const services = [...new Set(ended.map(({ service }) => service))]
    if (services.length === 0) return
    changed(services).catch((error: unknown) =>
      log.error(
        { event: 'update.failed', error: String(error) },
        'the end of a drain could not be brought into effect',
      ),
    )
  }

  /** What failed the last time, if anything did. */
  let failure: string | null = null

  const retryFailed = async (): Promise<void> => {
    try {
      await retry()
      failure = null
    } catch (error) {
      if (failure === String(error)) return
      failure = String(error)
      log.error({ event: 'update.failed', error: failure }, 'what has changed cannot be brought into effect')
    }
  }

  return {
    config: () => wanted().config,
    wanted,
    now: clock.now,
    update: async (change, by) => {
      const pending = changes.begin(change)
      const { before, after } = pending
      const made = [
        ...diffConfigs(before.config, after.config),
        ...diffOrders(after.config, before.orders, after.orders),
      ]
      progress.follow(after)
      const kept = new Set(before.config.services)
      const touched = after.config.services.filter(service => !kept.has(service)).map(serviceIdentity)
      const isWide = made.some(({ kind }) => kind === 'interface' || kind === 'setting')
      const saved = save()
      try {
        await changed(isWide ? [...all(), INTERFACES] : [...touched, ...reordered(before, after)])
        pending.settle()
      } catch (error) {
        // A change that is answered with an error has not happened.
        pending.takeBack()
        progress.follow(wanted())
        void save()
        changed([...all(), INTERFACES]).catch(() => undefined)
        throw error
      }
      log.debug({ event: 'config.changed', changes: made, by }, 'in effect')
      if (made.length > 0) publish({ kind: 'change', changes: made, by })
      return { changes: made, warning: await saved }
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
    breaks: impacts.breaks,
    impact: impacts.impact,
    prepare: async () => {
      await adopt()
      await changed(all())
    },
    attach: async () => {
      await attachments.sync(wanted().config, nextHops.links(), true)
      await changed([...all(), INTERFACES])
    },
    tick: () => {
      settleGoing()
      if (journal?.status().error) void save()
      void retryFailed()
      impacts.tick()
    },
    healthChanged: async (key, now, before) => {
      telling.health(wanted(), key, now, before)
      await changed(all().filter(identity => key.startsWith(`${identity} `)))
    },
    isSettled,
    serviceRows: async () => {
      const counts = await tables.counts()
      const all: ServiceRow[] = []
      for (const one of [...running.values()])
        all.push(await rows.service(one, counts.get(serviceIdentity(one.service))))
      return all.sort((a, b) => (a.service < b.service ? -1 : 1))
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
