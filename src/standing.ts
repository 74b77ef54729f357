/** Whether a backend may get packets, and why not. Pure. */
import { type Admin, enabled } from './admin.js'
import type { Judgement } from './health/judge.js'
import type { Backend, HealthState, Service } from './model.js'
import type { Resolution } from './next-hop.js'

export interface Standing {
  /** It may own slots. */
  readonly takes: boolean
  /** All that it lacks is its next hop. */
  readonly lacksNextHop: boolean
  /** It is drained, but could take flows when nobody else can. */
  readonly isLastResort: boolean
  /** Its old flows have no use for it either: it cannot be reached, or is out. */
  readonly isDead: boolean
  /** Its old flows stay, no new one comes. */
  readonly isDraining: boolean
  readonly health: HealthState
  readonly reason: string | null
}

/** Health as it counts: no check means up, and `initially: up` counts until the first result. */
export const isHealthy = (service: Pick<Service, 'health'>, judgement: Judgement): boolean =>
  service.health === null ||
  judgement.health === 'up' ||
  (judgement.health === 'unknown' && service.health.initiallyUp)

const asked = ({ state, isOut }: Admin, weight: number): string | null => {
  if (state === 'draining') return isOut ? 'drained' : 'draining'
  if (state === 'leaving') return 'leaving'
  return weight === 0 ? 'weight 0' : null
}

export const standingOf = (
  service: Pick<Service, 'health' | 'lastResort'>,
  backend: Pick<Backend, 'weight'>,
  judgement: Judgement,
  resolution: Resolution,
  admin: Admin = enabled,
): Standing => {
  const health = service.health === null ? 'up' : judgement.health
  const unresolved = 'reason' in resolution ? resolution.reason : null
  const drained = asked(admin, backend.weight)
  const out = (reason: string, isDead: boolean, isLastResort = false): Standing => ({
    takes: false,
    lacksNextHop: false,
    isLastResort,
    isDead,
    isDraining: drained !== null,
    health,
    reason,
  })

  if (admin.state === 'disabled') return out('disabled', true)
  if (!isHealthy(service, judgement)) return out(judgement.reason ?? 'not checked yet', true)
  if (drained !== null && unresolved !== null) return out(unresolved, true)
  if (drained !== null)
    return out(drained, admin.isOut, admin.state !== 'leaving' && service.lastResort === 'drained')
  if (unresolved !== null) return { ...out(unresolved, true), lacksNextHop: true }
  return { ...out('', false), takes: true, reason: judgement.reason }
}

/**
 * Who owns slots: those that may. Where nobody may, the drained ones that can; else those that only lack their next hop:
 * their packets then end in DROP_NO_NEXT_HOP, which says what is wrong.
 */
export const takers = (standings: readonly Standing[]): boolean[] => {
  const may = (['takes', 'isLastResort', 'lacksNextHop'] as const).find(quality =>
    standings.some(standing => standing[quality]),
  )
  return standings.map(standing => may !== undefined && standing[may])
}
