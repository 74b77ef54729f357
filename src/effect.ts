/** Brings services into effect: who is healthy and resolved, the ring that follows, and the tables that it takes. */
import type { AdminProgress } from './admin-progress.js'
import type { Attachments } from './attachments.js'
import { allBackends, createWatching } from './checks.js'
import type { Tables, WantedBackend, WantedService } from './dataplane/tables.js'
import type { Clock } from './health/clock.js'
import type { Monitor } from './health/monitor.js'
import { backendKey, identitiesOf } from './identities.js'
import { type Backend, type Config, type Service, serviceIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
import { createPasses, type Failures, type MarkChanged } from './passes.js'
import { resolutionOf, targetOf } from './reach.js'
import { countSlots } from './ring.js'
import type { Rings } from './rings.js'
import type { Running } from './running.js'
import { createSettling } from './settling.js'
import { type Standing, takers } from './standing.js'
import type { Telling } from './telling.js'
import type { TranslationNetwork } from './translation-network.js'
import { leavingOf, type Wanted } from './wanted.js'
import { wantedPools } from './wanted-pools.js'
import { wantedService } from './wanted-service.js'

/** Among the names of what has changed: the interfaces are to be looked at. No service is called so. */
export const INTERFACES = 'interfaces'

export interface EffectOptions {
  readonly wanted: () => Wanted
  /** The services in effect, by identity: kept up to date here. */
  readonly running: Map<string, Running>
  readonly standing: (service: Service, backend: Backend, key: string) => Standing
  readonly progress: Pick<AdminProgress, 'order'>
  readonly seedOf: (config: Config) => string
  readonly tables: Tables
  readonly rings: Rings
  readonly nextHops: NextHops
  readonly monitor: Monitor
  readonly attachments: Attachments
  readonly telling: Telling
  readonly translation?: TranslationNetwork | undefined
  readonly clock: Clock
}

export interface Effect {
  /** Services by identity, and INTERFACES. */
  readonly changed: MarkChanged
  /** Whether every service has come to know its backends. */
  isSettled(): boolean
  /** A service of which the tables still hold what an earlier process left. */
  isKept(identity: string): boolean
  /** Once more what could not be brought into effect; rejects when it still cannot. */
  retry(): Promise<void>
}

export const createEffect = (options: EffectOptions): Effect => {
  const { wanted, running, standing, progress, tables, rings, nextHops, monitor, attachments } = options
  const watch = createWatching(monitor)
  const settling = createSettling(options.clock, service => void changed([service]).catch(() => {}))
  /** Services that an earlier process left in the tables. */
  const found = new Set(tables.identities())
  const isKept = (identity: string): boolean => found.has(identity) && settling.has(identity)

  /** All that may have flows count: those too that drain or leave. */
  const isSettling = (service: Service, leavers: readonly Backend[]): boolean => {
    const { health } = service
    const { service: identity } = identitiesOf(service)
    return settling.waits(identity, running.has(identity), () => {
      const backends = [...service.backends, ...leavers].filter(
        backend => progress.order(backendKey(service, backend))?.state !== 'disabled',
      )
      return {
        judgements:
          health !== null &&
          !health.initiallyUp &&
          backends.some(backend => !monitor.hasResult(backendKey(service, backend))),
        nextHops: backends.some(backend => 'reason' in resolutionOf(nextHops, service, backend)),
      }
    })
  }

  const runningNow = async (service: Service, leavers: readonly Backend[]): Promise<Running> => {
    const { service: identity, keys } = identitiesOf(service)
    const before = running.get(identity)
    const standings = service.backends.map((backend, i) => standing(service, backend, keys[i]!))
    const leaving = leavers.map(backend => ({
      backend,
      standing: standing(service, backend, backendKey(service, backend)),
    }))
    const takes = isSettling(service, leavers) ? standings.map(() => false) : takers(standings)
    const isSameRing = before?.service === service && takes.every((one, i) => one === before.takes[i])
    if (isSameRing) return { ...before, standings, leaving }
    const owners = await rings.owners(service, takes)
    const slots = countSlots(owners, service.backends.length)
    return { service, standings, takes, owners, slots, leaving, digest: null }
  }

  /** By service: what was put the last time. */
  const made = new Map<string, readonly WantedBackend[]>()
  const wantedOf = (one: Running): WantedService => {
    const identity = serviceIdentity(one.service)
    const service = wantedService(one, nextHops, made.get(identity))
    made.set(identity, service.backends)
    return service
  }

  const forget = (identity: string): void => {
    running.delete(identity)
    made.delete(identity)
    settling.forget(identity)
    found.delete(identity)
    rings.forget(identity)
  }

  /** @returns those that the tables do not take, and why: the others are there all the same */
  const put = async (all: readonly Running[]): Promise<Failures> => {
    // What an earlier process left in the tables goes on as it is until there is something to say about it.
    const ready = all.filter(({ service }) => !isKept(serviceIdentity(service)))
    const refused = new Map<string, unknown>()
    try {
      await tables.put(ready.map(wantedOf))
    } catch {
      for (const one of ready)
        await tables
          .put([wantedOf(one)])
          .catch(reason => void refused.set(serviceIdentity(one.service), reason))
    }
    return refused
  }

  /** Those configured are put, those that are not are removed. */
  const pass = async (names: ReadonlySet<string>): Promise<Failures> => {
    const present = wanted()
    const { config } = present
    await options.translation?.follow(present)
    await nextHops.follow(allBackends(present).map(({ service, backend }) => targetOf(service, backend)))
    watch(present)
    if (names.has(INTERFACES)) {
      await attachments.sync(config, nextHops.links(), false)
      await tables.setInterfaces(attachments.entries())
    }
    await tables.setSeed(options.seedOf(config))
    await tables.setPools(wantedPools(config, options.translation?.usable))

    const configured = new Map(config.services.map(service => [serviceIdentity(service), service]))
    const gone = [...running.keys(), ...tables.identities()].filter(identity => !configured.has(identity))
    const next: Running[] = []
    for (const identity of names) {
      const service = configured.get(identity)
      if (service) next.push(await runningNow(service, leavingOf(present, identity)))
    }
    tables.remove(gone)
    gone.forEach(forget)
    const refused = await put(next)
    for (const one of next) {
      const identity = serviceIdentity(one.service)
      if (refused.has(identity)) continue
      options.telling.nextHops(running.get(identity), one)
      running.set(identity, one)
    }
    if (attachments.status().some(({ mode }) => mode !== null)) await tables.fit(config.limits)
    return refused
  }

  /** What could not be brought into effect, and why. */
  let missed: Failures = new Map()

  const changed = createPasses(async names => {
    const all = new Set([...names, ...missed.keys()])
    try {
      missed = await pass(all)
    } catch (error) {
      missed = new Map([...all].map(name => [name, error]))
      throw error
    }
    return missed
  })

  return {
    changed,
    isSettled: () => settling.isEmpty(),
    isKept,
    retry: async () => {
      if (missed.size > 0) await changed(missed.keys())
    },
  }
}
