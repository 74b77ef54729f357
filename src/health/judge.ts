/** Rise and fall: results in, health out. Pure. */
import type { HealthCheck, HealthState } from '../model.js'
import type { ProbeResult } from './probe.js'

export interface Judgement {
  readonly health: HealthState
  /** Results in a row that contradict `health`. */
  readonly against: number
  /** Why the last attempt failed; null when it did not. */
  readonly reason: string | null
}

/** Before the first result. `initially: up` counts as up from the start on, and `fall` failures end it. */
export const unjudged: Judgement = { health: 'unknown', against: 0, reason: null }

/**
 * The first result decides at once; from then on `rise` successes in a row make up, `fall` failures down. What starts
 * as up needs its `fall` failures from the start.
 */
export const judge = (check: HealthCheck, before: Judgement, result: ProbeResult): Judgement => {
  const reason = result.ok ? null : result.reason
  const seen = result.ok ? 'up' : 'down'
  const believed = before.health === 'unknown' && check.initiallyUp ? 'up' : before.health
  if (believed === seen) return { health: seen, against: 0, reason }
  const against = before.against + 1
  const needed = believed === 'unknown' ? 1 : result.ok ? check.rise : check.fall
  if (against >= needed) return { health: seen, against: 0, reason }
  return { health: believed, against, reason }
}
