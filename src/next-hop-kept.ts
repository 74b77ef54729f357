/**
 * A route has changed, and its new gateway has yet to say its MAC address: until it does, for a moment, packets go the
 * way that they went. The kernel would queue them, which XDP cannot.
 */
import type { NextHop } from './dataplane/tables.js'
import type { Resolution } from './next-hop.js'

/** For so long: an answer takes a round trip on the link. */
export const KEEP_MS = 1_000

export interface KeptNextHops {
  /** What counts for a target, by its key, now that this was found. */
  of(key: string, found: Resolution): Resolution
  /** No longer than these. */
  only(keys: Iterable<string>): void
}

interface Kept {
  readonly nextHop: NextHop
  /** When it was first missing; null: it is there. */
  readonly missingSinceMs: number | null
}

/**
 * @param isUsable whether frames can still leave by an interface
 * @param onKept   the old way is taken: by KEEP_MS later somebody must ask again
 */
export const createKeptNextHops = (
  now: () => number,
  isUsable: (ifindex: number) => boolean,
  onKept: () => void,
): KeptNextHops => {
  const kept = new Map<string, Kept>()

  return {
    of: (key, found) => {
      if ('nextHop' in found) {
        kept.set(key, { nextHop: found.nextHop, missingSinceMs: null })
        return found
      }
      const last = kept.get(key)
      if (!last) return found
      const since = last.missingSinceMs ?? now()
      if (!found.isAsked || now() - since >= KEEP_MS || !isUsable(last.nextHop.ifindex)) {
        kept.delete(key)
        return found
      }
      if (last.missingSinceMs === null) {
        kept.set(key, { ...last, missingSinceMs: since })
        onKept()
      }
      return { nextHop: last.nextHop, neighbour: found.neighbour }
    },
    only: keys => {
      const wanted = new Set(keys)
      for (const key of kept.keys()) if (!wanted.has(key)) kept.delete(key)
    },
  }
}
