/**
 * What is asked of a backend beyond its configuration, and what time makes of it. Pure; times are milliseconds of one
 * monotonic clock.
 */
import type { AdminState } from './model.js'

export type Order =
  /** No new flow; out when its flows have gone, or `deadlineMs` after `sinceMs`. */
  | { readonly state: 'draining'; readonly sinceMs: number; readonly deadlineMs: number | null }
  | { readonly state: 'disabled'; readonly sinceMs: number }
  /** Out of the configuration; gone when its flows have gone, or after the service's leave deadline. */
  | { readonly state: 'leaving'; readonly sinceMs: number }

/** Where nothing is tracked nobody can say when the last flow has ended: handshakes under way are waited for. */
export const UNTRACKED_GRACE_MS = 4000

/** How far a backend that drains or leaves has come. */
export interface Progress {
  /** It was seen with slots since it was ordered: nobody else was alive, or the ring had yet to follow. */
  readonly hasOwned: boolean
  /** Since when it owns no slot; null: it does. */
  readonly quietSinceMs: number | null
  /** What its deadline counts from; null while it owns slots. */
  readonly deadlineFromMs: number | null
  /** Since when each of its flows has an entry in the flow cache; null: some may not. */
  readonly exactSinceMs: number | null
  /** Why it is out; null: it is not. */
  readonly out: 'flows-gone' | 'deadline' | null
}

export const notBegun: Progress = {
  hasOwned: false,
  quietSinceMs: null,
  deadlineFromMs: null,
  exactSinceMs: null,
  out: null,
}

/** What is to be seen of it at the moment. */
export interface Sight {
  readonly nowMs: number
  readonly ownsSlots: boolean
  /** Its live entries, as Tables.flows() has them; null: its service tracks nothing. */
  readonly flows: { readonly live: number; readonly isExact: boolean; readonly sweepBeganMs: number } | null
}

/** Its flows have gone when all of them are known, and a whole sweep begun after that has found none. */
const haveFlowsGone = (
  { nowMs, flows }: Sight,
  quietSinceMs: number,
  exactSinceMs: number | null,
): boolean =>
  flows === null
    ? nowMs - quietSinceMs >= UNTRACKED_GRACE_MS
    : exactSinceMs !== null && flows.live === 0 && flows.sweepBeganMs > exactSinceMs

/**
 * @param deadlineMs how long it may take; null: as long as it does. A drained backend that had to serve as the last
 *                   resort begins anew when the others are back.
 */
export const progressed = (
  order: Order,
  before: Progress,
  sight: Sight,
  deadlineMs: number | null,
): Progress => {
  const { nowMs, ownsSlots, flows } = sight
  if (order.state === 'disabled') return before
  if (ownsSlots)
    return before.hasOwned && before.quietSinceMs === null ? before : { ...notBegun, hasOwned: true }
  if (before.out !== null) return before
  const quietSinceMs = before.quietSinceMs ?? nowMs
  const restarts = before.hasOwned && order.state === 'draining'
  const deadlineFromMs = before.deadlineFromMs ?? (restarts ? nowMs : order.sinceMs)
  const exactSinceMs = flows?.isExact ? (before.exactSinceMs ?? nowMs) : null
  const isLate = deadlineMs !== null && nowMs - deadlineFromMs >= deadlineMs
  const out = haveFlowsGone(sight, quietSinceMs, exactSinceMs) ? 'flows-gone' : isLate ? 'deadline' : null
  return { hasOwned: before.hasOwned, quietSinceMs, deadlineFromMs, exactSinceMs, out }
}

/**
 * Until its deadline; null: it has none, or it is out already. Never negative. While it owns slots as the last resort all
 * of its time is left.
 */
export const remainingMs = (
  order: Order,
  { hasOwned, deadlineFromMs, out }: Progress,
  nowMs: number,
  deadlineMs: number | null,
): number | null =>
  deadlineMs === null || out !== null || order.state === 'disabled'
    ? null
    : Math.max(0, (deadlineFromMs ?? (hasOwned ? nowMs : order.sinceMs)) + deadlineMs - nowMs)

/** What an order amounts to, for who decides about slots. */
export interface Admin {
  readonly state: AdminState
  /** Its flows have gone, or may not stay any longer. */
  readonly isOut: boolean
}

export const enabled: Admin = { state: 'enabled', isOut: false }

export const adminOf = (order: Order | undefined, progress: Progress | undefined): Admin =>
  order === undefined ? enabled : { state: order.state, isOut: (progress?.out ?? null) !== null }
