/** What `ring show` answers: a service's ring in shares and, where asked for, slot by slot. Pure. */
import type { RingView } from './control/protocol.js'
import { BalancerError } from './errors.js'
import { type Backend, type Config, claimOf, type Service } from './model.js'
import { buildRing, countSlots, expectedShares, refillRing, ringDigest } from './ring.js'

export interface RingViewOptions {
  /** Adds `owners`. */
  readonly slots?: boolean | undefined
  /** Names of backends supposed to be down. */
  readonly down?: readonly string[] | undefined
}

/**
 * @param takersWithout whether each backend may own slots, when those that it accepts are supposed to be down
 * @throws BalancerError `ERR_NOT_FOUND` when `down` names no backend of the service
 */
export const viewRing = (
  service: Service,
  takersWithout: (isDown: (backend: Backend) => boolean) => readonly boolean[],
  { slots = false, down = [] }: RingViewOptions = {},
): RingView => {
  const names = new Set(service.backends.map(({ name }) => name))
  const unknown = down.find(name => !names.has(name))
  if (unknown !== undefined)
    throw new BalancerError('ERR_NOT_FOUND', `service "${service.name}" has no backend "${unknown}"`, {
      hint: `its backends are ${[...names].join(', ')}`,
    })

  const supposedDown = new Set(down)
  const takes = takersWithout(({ name }) => supposedDown.has(name))
  // Who has weight 0 has a place in the full ring, which it takes as the last resort.
  const claims = service.backends.map(backend => {
    const { identity, ringWeight } = claimOf(service, backend)
    return { identity, weight: ringWeight, name: backend.name }
  })
  const isDown = (_: unknown, index: number): boolean => !takes[index]
  const owners = refillRing(buildRing(claims, service.ringSize), isDown)
  const counts = countSlots(owners, claims.length)
  const expected = expectedShares(claims, isDown)
  const view = {
    service: service.name,
    size: service.ringSize,
    digest: ringDigest(claims, owners),
    backends: claims.map(({ name }, index) => ({
      backend: name,
      slots: counts[index]!,
      expected: expected[index]!,
      actual: counts[index]! / service.ringSize,
    })),
  }
  return slots ? { ...view, owners: Array.from(owners, owner => claims[owner]?.name ?? null) } : view
}

/**
 * The ring of a configured service with every enabled backend up; those of weight 0 are not.
 *
 * @throws BalancerError `ERR_NOT_FOUND` when the service, or a backend in `down`, is not configured
 */
export const ringView = (config: Config, serviceName: string, options: RingViewOptions = {}): RingView => {
  const service = config.services.find(({ name }) => name === serviceName)
  if (service !== undefined)
    return viewRing(
      service,
      isDown => service.backends.map(backend => backend.weight > 0 && !isDown(backend)),
      options,
    )
  throw new BalancerError('ERR_NOT_FOUND', `there is no service "${serviceName}"`, {
    hint: `the services are ${config.services.map(({ name }) => name).join(', ') || 'none'}`,
  })
}
