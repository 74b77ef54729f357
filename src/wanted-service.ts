/** A service as it runs -> what the tables should have of it. Pure. */
import { addressBytes } from './address.js'
import { isSameTranslated, type Translated } from './dataplane/backends.js'
import { IPPROTO } from './dataplane/service-rules.js'
import type { WantedBackend, WantedService } from './dataplane/tables.js'
import { identitiesOf } from './identities.js'
import { type Backend, backendIdentity, forwardOf, type Service } from './model.js'
import type { NextHops } from './next-hops.js'
import { resolutionOf, tunnelOf } from './reach.js'
import type { Running } from './running.js'
import type { Standing } from './standing.js'

/** null: packets keep their addresses. */
export const translatedOf = (service: Service, backend: Backend): Translated | null => {
  const { mode } = forwardOf(service, backend)
  if (mode !== 'nat' && mode !== 'fullnat') return null
  return {
    mode,
    vip: { addr: addressBytes(service.vip), port: service.port },
    protocol: IPPROTO[service.protocol],
  }
}

/**
 * @param before what was made of the service the last time: a backend of which nothing has changed is the same object
 *               again, and need not be compared
 */
export const wantedService = (
  { service, owners, standings, slots, leaving }: Running,
  nextHops: Pick<NextHops, 'get'>,
  before: readonly WantedBackend[] = [],
): WantedService => {
  const wantedBackend = (
    backend: Backend,
    identity: string,
    standing: Standing,
    ownsSlots: boolean,
    was: WantedBackend | undefined,
  ): WantedBackend => {
    const resolution = resolutionOf(nextHops, service, backend)
    const nextHop = 'nextHop' in resolution ? resolution.nextHop : null
    // One that is out but has to serve as the last resort is not.
    const isDead = standing.isDead && !(standing.isLastResort && ownsSlots)
    const { isDraining } = standing
    const tunnel = tunnelOf(service, backend)
    const translated = translatedOf(service, backend)
    const isSame =
      was?.identity === identity &&
      was.isDead === isDead &&
      was.isDraining === isDraining &&
      was.nextHop === nextHop &&
      was.tunnel === tunnel &&
      isSameTranslated(was.translated, translated)
    if (isSame) return was
    const port = backend.port ?? service.port
    return { identity, address: backend.address, port, isDead, isDraining, nextHop, tunnel, translated }
  }

  const { backends: identities } = identitiesOf(service)
  const configured = service.backends.map((backend, i) =>
    wantedBackend(backend, identities[i]!, standings[i]!, slots[i]! > 0, before[i]),
  )
  const left = leaving.map(({ backend, standing }, i) => {
    const identity = backendIdentity(service, backend)
    return wantedBackend(backend, identity, standing, false, before[configured.length + i])
  })
  return { service, owners, backends: [...configured, ...left] }
}
