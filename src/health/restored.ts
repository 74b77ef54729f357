/**
 * The backends' health as the last process left it: its file, which may be a moment behind, and what it had put into
 * effect, which is not. Pure.
 */
import type { Known } from './monitor.js'

/**
 * @param kept   by check: what the file says
 * @param isDead whether a check's backend is out in the tables that were found; null: it is not there
 */
export const restoredHealth = (
  kept: ReadonlyMap<string, Known>,
  isDead: (key: string) => boolean | null,
): ReadonlyMap<string, Known> =>
  new Map(
    [...kept].map(([key, known]) => {
      const health = { true: 'down', false: 'up', null: known.judgement.health } as const
      const found = health[`${isDead(key)}`]
      if (found === known.judgement.health) return [key, known]
      const reason = found === 'down' ? 'out when the last process ended' : null
      return [key, { ...known, judgement: { health: found, against: 0, reason } }]
    }),
  )
