/**
 * On-link clients whose MAC addresses the kernel does not know: the data plane leaves their addresses in a map, and the
 * kernel is made to ask for them. Replies that XDP sends keep no entry alive, so those that have answered are asked for
 * again for a while.
 */
import { addressText, shortAddressBytes } from './address.js'
import type { Clock } from './health/clock.js'
import type { BpfMap, Netlink } from './native.js'
import { type NeighbourKey, neighbourKeyText } from './next-hop.js'
import type { FollowedNextHops } from './next-hops.js'

const POLL_MS = 250
const KEY_SIZE = 16
/** Whoever has not answered for so long is not asked again until there is another packet for it. */
const ANSWER_MS = 3_000
const KEEP_MS = 600_000
const MAX_KEPT = 1024
const NUD_INCOMPLETE = 1
const NUD_FAILED = 32

export interface WantedNeighboursOptions {
  /** Another one after the data plane's move to another program. */
  readonly map: () => Pick<BpfMap, 'lookupBatch' | 'delete'>
  readonly netlink: Pick<Netlink, 'routeTo' | 'resolve'>
  readonly nextHops: Pick<FollowedNextHops, 'accompany' | 'tables'>
  readonly clock: Clock
}

export interface WantedNeighbours {
  /** Whether there can be any. */
  use(isUsed: boolean): void
  /** What the map holds is asked for, and taken out. */
  poll(): Promise<void>
  close(): void
}

export const createWantedNeighbours = (options: WantedNeighboursOptions): WantedNeighbours => {
  const { netlink, nextHops, clock } = options
  const kept = new Map<string, { readonly key: NeighbourKey; readonly sinceMs: number }>()
  let isUsed = false
  let isPolling = false
  let cancel: (() => void) | null = null

  /** The neighbour that packets to an address go to: itself, or one of its gateways; null: there is no way. */
  const neighbourOf = async (address: string): Promise<NeighbourKey | null> => {
    try {
      const hop = (await netlink.routeTo(shortAddressBytes(address))).nextHops[0]
      return hop ? { ifindex: hop.ifindex, address: hop.gateway ? addressText(hop.gateway) : address } : null
    } catch {
      return null // unreachable: as the data plane has found
    }
  }

  const take = async (key: Uint8Array): Promise<void> => {
    try {
      options.map().delete(key)
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'ENOENT') throw cause // others were in need of its place
    }
    const neighbour = await neighbourOf(addressText(key))
    if (!neighbour) return
    const text = neighbourKeyText(neighbour)
    kept.delete(text)
    kept.set(text, { key: neighbour, sinceMs: clock.now() })
    // An interface that does not take the question (no ARP, gone) has no answer either.
    await netlink.resolve(neighbour.ifindex, shortAddressBytes(neighbour.address)).catch(() => {})
  }

  const isAnswered = (key: NeighbourKey): boolean => {
    const neighbour = nextHops.tables.neighbour(key)
    return neighbour?.mac != null && (neighbour.state & (NUD_INCOMPLETE | NUD_FAILED)) === 0
  }

  const forgetOld = (): void => {
    for (const [text, { key, sinceMs }] of kept) {
      const age = clock.now() - sinceMs
      if (kept.size > MAX_KEPT || age > KEEP_MS || (age > ANSWER_MS && !isAnswered(key))) kept.delete(text)
    }
  }

  const poll = async (): Promise<void> => {
    if (isPolling) return
    isPolling = true
    try {
      const { count, keys } = await options.map().lookupBatch()
      const all = Array.from({ length: count }, (_, i) => keys.slice(i * KEY_SIZE, (i + 1) * KEY_SIZE))
      for (const key of all) await take(key)
      forgetOld()
    } finally {
      isPolling = false
    }
  }

  const tick = (): void => {
    cancel = clock.after(POLL_MS, () => {
      tick()
      // The map may be closed under it, when the program is changed: the next one is read then.
      poll().catch(() => {})
    })
  }

  nextHops.accompany({ changed: () => {}, neighbours: () => [...kept.values()].map(({ key }) => key) })

  const end = (): void => {
    cancel?.()
    cancel = null
    kept.clear()
  }
  return {
    use: wantsThem => {
      if (wantsThem === isUsed) return
      isUsed = wantsThem
      if (isUsed) tick()
      else end()
    },
    poll,
    close: end,
  }
}
