/** Services that are new: their backends answer one after the other, and the first is not to get all slots meanwhile. */
import type { Clock } from './health/clock.js'

/** How long a new service waits for its backends' neighbours to answer. */
const RESOLVE_WAIT_MS = 1000

/** What a service still waits for. */
export interface Missing {
  /** A health check without a result. */
  readonly judgements: boolean
  readonly nextHops: boolean
}

export interface Settling {
  /** Whether a service is to wait on. @param isKnown it has been in effect before */
  waits(service: string, isKnown: boolean, missing: () => Missing): boolean
  has(service: string): boolean
  forget(service: string): void
  isEmpty(): boolean
}

/** @param onTime a service has waited long enough for its next hops */
export const createSettling = (clock: Clock, onTime: (service: string) => void): Settling => {
  /** Until when. */
  const waiting = new Map<string, number>()

  return {
    waits: (service, isKnown, missing) => {
      if (isKnown && !waiting.has(service)) return false
      let until = waiting.get(service)
      if (until === undefined) {
        until = clock.now() + RESOLVE_WAIT_MS
        waiting.set(service, until)
        clock.after(RESOLVE_WAIT_MS, () => onTime(service))
      }
      const { judgements, nextHops } = missing()
      if (judgements || (nextHops && clock.now() < until)) return true
      waiting.delete(service)
      return false
    },
    has: service => waiting.has(service),
    forget: service => void waiting.delete(service),
    isEmpty: () => waiting.size === 0,
  }
}
