/** Who may use which id of a table, and which part of the slots. Both reuse what was freed as late as they can. */
import { BalancerError } from '../errors.js'

export interface IdAllocator {
  readonly capacity: number
  /** Ids from this one on are nobody's, and never were. */
  bound(): number
  /** @throws BalancerError `ERR_LIMIT` when all are taken, or freed too recently */
  take(): number
  free(id: number): void
  /** After the table has grown. */
  grow(capacity: number): void
  /** Whether `count` more can be taken at once. */
  hasRoom(count: number): boolean
}

/**
 * Ids `first`..capacity-1. A freed id goes to the tail of a queue and is taken again only after `graceMs`: a packet
 * under way may still carry it, and its counters are still to be read.
 *
 * @param used ids that are taken already
 */
export const createIds = (
  first: number,
  capacity: number,
  graceMs: number,
  now: () => number,
  used: ReadonlySet<number> = new Set(),
): IdAllocator => {
  let limit = capacity
  let fresh = first
  for (const id of used) fresh = Math.max(fresh, id + 1)
  const freed: { readonly id: number; readonly at: number }[] = []
  for (let id = first; id < fresh; id++) if (!used.has(id)) freed.push({ id, at: now() })
  const isReady = (): boolean => freed.length > 0 && now() - freed[0]!.at >= graceMs

  return {
    get capacity() {
      return limit
    },
    bound: () => fresh,
    take: () => {
      if (fresh < limit) return fresh++
      if (isReady()) return freed.shift()!.id
      throw new BalancerError('ERR_LIMIT', `all ${limit} ids are taken`)
    },
    free: id => {
      freed.push({ id, at: now() })
    },
    grow: capacity => {
      limit = Math.max(limit, capacity)
    },
    hasRoom: count => limit - fresh + freed.filter(({ at }) => now() - at >= graceMs).length >= count,
  }
}

export interface RegionAllocator {
  /** @returns the first of `size` free places, or null when no gap is large enough */
  take(size: number): number | null
  free(base: number, size: number): void
  grow(capacity: number): void
}

/** First fit over 0..capacity-1; a freed region is left alone for `graceMs`. */
export const createRegions = (
  capacity: number,
  graceMs: number,
  now: () => number,
  used: readonly { readonly base: number; readonly size: number }[] = [],
): RegionAllocator => {
  let limit = capacity
  /** Taken, or freed at a time that is still too near; sorted by base. */
  let taken: { readonly base: number; readonly size: number; readonly freedAt: number | null }[] = used
    .map(region => ({ ...region, freedAt: null }))
    .sort((a, b) => a.base - b.base)

  return {
    take: size => {
      taken = taken.filter(({ freedAt }) => freedAt === null || now() - freedAt < graceMs)
      let base = 0
      let at = 0
      for (; at < taken.length && taken[at]!.base - base < size; at++)
        base = taken[at]!.base + taken[at]!.size
      if (limit - base < size) return null
      taken.splice(at, 0, { base, size, freedAt: null })
      return base
    },
    free: (base, size) => {
      taken = taken.map(region =>
        region.base === base && region.size === size ? { base, size, freedAt: now() } : region,
      )
    },
    grow: capacity => {
      limit = Math.max(limit, capacity)
    },
  }
}
