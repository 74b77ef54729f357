/** The rings of the running services: a full ring is kept while the configured backends stay the same. */
import { claimOf, type Service, serviceIdentity } from './model.js'
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

export const createRings = (builder: RingBuilder): Rings => {
  const kept = new Map<string, { readonly signature: string; readonly full: FullRing }>()

  return {
    owners: async (service, takes) => {
      const identity = serviceIdentity(service)
      // Who has weight 0 does not take; in the full ring all have their places.
      const claims = claimsOf(service).map(({ identity: name, ringWeight }) => ({
        identity: name,
        weight: ringWeight,
      }))
      const signature = `${service.ringSize} ${claims.map(claim => `${claim.identity}*${claim.weight}`).join(' ')}`
      const isDown = (_: Claim, index: number): boolean => !takes[index]
      const known = kept.get(identity)
      if (known?.signature === signature) return builder.refill(known.full, isDown)
      const { full, owners } = await builder.build(claims, service.ringSize, isDown)
      kept.set(identity, { signature, full })
      return owners
    },
    forget: identity => {
      kept.delete(identity)
    },
  }
}
