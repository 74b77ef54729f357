/** A service as it runs -> what the tables should have of it. Pure. */
import type { WantedBackend, WantedService } from './dataplane/tables.js'
import { identitiesOf } from './identities.js'
import { type Backend, backendIdentity } from './model.js'
import type { NextHops } from './next-hops.js'
import type { Running } from './running.js'
import type { Standing } from './standing.js'

/** Made once for each backend, as long as nothing of it changes: what is the same object need not be compared. */
const known = new WeakMap<Backend, WantedBackend>()

const isSame = (a: WantedBackend, b: WantedBackend): boolean =>
  a.identity === b.identity &&
  a.isDead === b.isDead &&
  a.isDraining === b.isDraining &&
  a.nextHop === b.nextHop

export const wantedService = (
  { service, owners, standings, slots, leaving }: Running,
  nextHops: Pick<NextHops, 'get'>,
): WantedService => {
  const wantedBackend = (
    backend: Backend,
    identity: string,
    standing: Standing,
    ownsSlots: boolean,
  ): WantedBackend => {
    const resolution = nextHops.get(backend)
    const now = {
      identity,
      address: backend.address,
      port: backend.port ?? service.port,
      // One that is out but has to serve as the last resort is not.
      isDead: standing.isDead && !(standing.isLastResort && ownsSlots),
      isDraining: standing.isDraining,
      nextHop: 'nextHop' in resolution ? resolution.nextHop : null,
    }
    const before = known.get(backend)
    if (before && isSame(before, now)) return before
    known.set(backend, now)
    return now
  }

  const { backends: identities } = identitiesOf(service)
  return {
    service,
    owners,
    backends: [
      ...service.backends.map((backend, i) =>
        wantedBackend(backend, identities[i]!, standings[i]!, slots[i]! > 0),
      ),
      ...leaving.map(({ backend, standing }) =>
        wantedBackend(backend, backendIdentity(service, backend), standing, false),
      ),
    ],
  }
}
