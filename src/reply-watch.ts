/** Backends that get requests and whose replies do not come back: seen by their counters. Pure. */
import type { BackendCount } from './dataplane/counters.js'
import type { ServiceCounts } from './dataplane/tables.js'
import { keyOf } from './identities.js'

/** So many packets without any reply, for so long. */
const LEAST_PACKETS = 3n
const SILENT_MS = 20_000

export interface ReplyWatch {
  /** The counters as they are: now and then. */
  add(counts: ReadonlyMap<string, ServiceCounts>): void
  /** Whether requests have gone out for a while, and no reply has come back since. @param key backendKey */
  isSilent(key: string): boolean
}

/** What there was when the last request had been answered, or none has come since. */
interface Since {
  readonly atMs: number
  readonly requests: bigint
  readonly replies: bigint
  /** By the last look. */
  readonly seen: bigint
}

const requestsOf = ({ tx, redirect }: BackendCount): bigint => tx.packets + redirect.packets

/** @param now milliseconds, monotonic */
export const createReplyWatch = (now: () => number): ReplyWatch => {
  let since = new Map<string, Since>()
  let silent: ReadonlySet<string> = new Set()

  return {
    add: counts => {
      const next = new Map<string, Since>()
      const found = new Set<string>()
      for (const [service, { backends }] of counts)
        for (const [identity, count] of backends) {
          const key = keyOf(service, identity)
          const [requests, replies] = [requestsOf(count), requestsOf({ ...count, ...count.replies })]
          const before = since.get(key)
          const isAnswered =
            before === undefined || before.replies !== replies || before.requests === requests
          const own = isAnswered ? { atMs: now(), requests, replies } : before
          next.set(key, { ...own, seen: requests })
          const isLong = now() - own.atMs >= SILENT_MS && requests - own.requests >= LEAST_PACKETS
          if (isLong && requests !== before?.seen) found.add(key)
        }
      since = next
      silent = found
    },
    isSilent: key => silent.has(key),
  }
}
