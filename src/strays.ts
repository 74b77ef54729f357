/** Backends that an earlier process left in the tables, and that are out of the configuration: they leave. Pure. */
import type { ServiceCounts } from './dataplane/tables.js'
import { identitiesOf, keyOf } from './identities.js'
import { strayBackend, type Wanted } from './wanted.js'

/**
 * @param held what the tables hold, by service identity
 * @returns the very same value when there are none
 */
export const withStrays = (
  wanted: Wanted,
  held: ReadonlyMap<string, ServiceCounts>,
  nowMs: number,
): Wanted => {
  const leaving = new Map(wanted.leaving)
  for (const service of wanted.config.services) {
    const { service: identity, byIdentity } = identitiesOf(service)
    for (const backend of held.get(identity)?.backends.keys() ?? []) {
      const key = keyOf(identity, backend)
      if (byIdentity.has(backend) || leaving.has(key)) continue
      leaving.set(key, { service: identity, backend: strayBackend(service, backend), sinceMs: nowMs })
    }
  }
  return leaving.size === wanted.leaving.size ? wanted : { ...wanted, leaving }
}
