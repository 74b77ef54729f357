/** What is checked: every backend of a service with a health check, those that leave it included. */
import type { Checked, Monitor } from './health/monitor.js'
import { backendKey, identitiesOf } from './identities.js'
import { type Backend, type Service, serviceIdentity } from './model.js'
import { leavingOf, type Wanted } from './wanted.js'

/** Those of the configuration, then those that leave it. */
export const allBackends = (wanted: Wanted): { readonly service: Service; readonly backend: Backend }[] =>
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

/** The keys of those that are in use without a check. */
const uncheckedOf = (wanted: Wanted): ReadonlySet<string> =>
  new Set(
    allBackends(wanted).flatMap(({ service, backend }) =>
      service.health === null ? [backendKey(service, backend)] : [],
    ),
  )

/** @returns a function that has the monitor check what is wanted; most changes are none of the checks */
export const createWatching = (monitor: Pick<Monitor, 'watch'>): ((wanted: Wanted) => void) => {
  let watched: readonly Checked[] = []
  let before: Wanted | null = null
  return wanted => {
    const checks = checksOf(wanted)
    const last = before
    before = wanted
    if (checks.length === watched.length && checks.every((check, i) => isSameCheck(check, watched[i]))) return
    watched = checks
    const unchecked = last ? uncheckedOf(last) : new Set()
    monitor.watch(checks.map(one => (unchecked.has(one.key) ? { ...one, wasInUse: true } : one)))
  }
}
