/** Whether a backend may get packets, and why not. Pure. */
import type { Judgement } from './health/judge.js'
import type { Backend, HealthState, Service } from './model.js'
import type { Resolution } from './next-hop.js'

export interface Standing {
  /** It may own slots. */
  readonly takes: boolean
  /** All that it lacks is its next hop. */
  readonly lacksNextHop: boolean
  /** It cannot be reached: its old flows have no use for it either. */
  readonly isDead: boolean
  readonly health: HealthState
  readonly reason: string | null
}

/** Health as it counts: no check means up, and `initially: up` counts until the first result. */
export const isHealthy = (service: Pick<Service, 'health'>, judgement: Judgement): boolean =>
  service.health === null ||
  judgement.health === 'up' ||
  (judgement.health === 'unknown' && service.health.initiallyUp)

export const standingOf = (
  service: Pick<Service, 'health'>,
  backend: Pick<Backend, 'weight'>,
  judgement: Judgement,
  resolution: Resolution,
): Standing => {
  const health = service.health === null ? 'up' : judgement.health
  const unresolved = 'reason' in resolution ? resolution.reason : null
  const out = (reason: string, isDead: boolean): Standing => ({
    takes: false,
    lacksNextHop: false,
    isDead,
    health,
    reason,
  })

  if (!isHealthy(service, judgement)) return out(judgement.reason ?? 'not checked yet', true)
  if (backend.weight === 0) return out('weight 0', unresolved !== null)
  if (unresolved !== null)
    return { takes: false, lacksNextHop: true, isDead: true, health, reason: unresolved }
  return { takes: true, lacksNextHop: false, isDead: false, health, reason: judgement.reason }
}

/**
 * Who owns slots. A backend without a next hop owns none, unless nobody else is left: its packets then end in
 * DROP_NO_NEXT_HOP, which says what is wrong.
 */
export const takers = (standings: readonly Standing[]): boolean[] =>
  standings.some(({ takes }) => takes)
    ? standings.map(({ takes }) => takes)
    : standings.map(({ lacksNextHop }) => lacksNextHop)
