/** The rings of the running services: a full ring is kept while the configured backends stay the same. */
import { identitiesOf } from './identities.js'
import { claimOf, ringWeightOf, type Service } from './model.js'
import type { Claim, FullRing } from './ring.js'
import type { RingBuilder } from './ring-builder.js'

export interface Rings {
  /**
   * @param takes whether each backend of the service, in its order, may own slots
   * @returns an index into `service.backends` per slot; -1: nobody
   */
  owners(service: Service, takes: readonly boolean[]): Promise<Int32Array>
  forget(identity: string): void
}

export const claimsOf = (service: Service) => service.backends.map(backend => claimOf(service, backend))

interface Kept {
  readonly service: Service
  readonly full: FullRing
}

/** Who has weight 0 does not take; in the full ring all have their places. */
const fullClaimsOf = (service: Service): Claim[] => {
  const { backends } = identitiesOf(service)
  return service.backends.map((backend, i) => ({ identity: backends[i]!, weight: ringWeightOf(backend) }))
}

/** Whether two services have the same full ring. */
const isSameRing = (a: Service, b: Service): boolean => {
  if (a === b) return true
  if (a.ringSize !== b.ringSize || a.backends.length !== b.backends.length) return false
  const [was, is] = [identitiesOf(a).backends, identitiesOf(b).backends]
  return a.backends.every(
    (backend, i) =>
      backend === b.backends[i] ||
      (was[i] === is[i] && ringWeightOf(backend) === ringWeightOf(b.backends[i]!)),
  )
}

export const createRings = (builder: RingBuilder): Rings => {
  const kept = new Map<string, Kept>()

  return {
    owners: async (service, takes) => {
      const { service: identity } = identitiesOf(service)
      const isDown = (_: Claim, index: number): boolean => !takes[index]
      const known = kept.get(identity)
      if (known && isSameRing(known.service, service)) return builder.refill(known.full, isDown)
      const { full, owners } = await builder.build(
        fullClaimsOf(service),
        service.ringSize,
        isDown,
        known?.full,
      )
      kept.set(identity, { service, full })
      return owners
    },
    forget: identity => {
      kept.delete(identity)
    },
  }
}
