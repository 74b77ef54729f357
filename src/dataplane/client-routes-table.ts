/**
 * How replies, and SNAT, leave: a table for each address family, the longest prefix first (bpf/client_route.h). It is
 * changed behind an entry in place 0 that asks the kernel for every packet meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { NextHop } from './backends.js'
import { clientRouteKind, clientRouteLayout, clientRoutes } from './layout.js'
import { createTurns } from './turns.js'

/** Far longer than a packet is in the program. */
const GRACE_MS = 10
const PLACES = clientRoutes.CLIENT_ROUTES
/** Place 0, and the last one, of length 0. */
export const MAX_CLIENT_ROUTES = PLACES - 1

export interface ClientRoute {
  /** The network's address, 16 bytes (IPv4 mapped); bits behind the prefix are not looked at. */
  readonly net: Uint8Array
  /** Of the family's 32 or 128. */
  readonly length: number
  /**
   * `hop`: by `nextHop`; `kernel`: its tables are asked for each packet; `local`: the host's own address, no client's;
   * `none`: there is no way.
   */
  readonly kind: 'hop' | 'kernel' | 'local' | 'none'
  /** Of kind `hop`. */
  readonly nextHop: NextHop | null
}

const kinds = {
  none: clientRouteKind.CLIENT_ROUTE_NONE,
  hop: clientRouteKind.CLIENT_ROUTE_HOP,
  kernel: clientRouteKind.CLIENT_ROUTE_KERNEL,
  local: clientRouteKind.CLIENT_ROUTE_LOCAL,
} as const

const WORDS = clientRouteLayout.size / 8
/** The lower half of a place's network. */
const NET_LOW = clientRouteLayout.fields.net.offset / 8 + 1

const ZEROS = { 6: new Uint8Array(6), 16: new Uint8Array(16) } as const
const nowhere = { dstMac: ZEROS[6], srcMac: ZEROS[6], ifindex: 0, outPort: 0, mtu: 0 } as const

/** Matches everything, and asks the kernel; with 1 as the network's lower half it matches nothing. */
const askTheKernel = clientRouteLayout.encode({
  ...nowhere,
  net: ZEROS[16],
  mask: ZEROS[16],
  kind: kinds.kernel,
})

const maskOf = (bits: number): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => 0xff00 >> Math.min(8, Math.max(0, bits - 8 * i)))

const masked = (net: Uint8Array, mask: Uint8Array): Uint8Array => net.map((byte, i) => byte & mask[i]!)

/** @param outPort the devmap's place of an interface */
const recordOf = (
  family: 4 | 6,
  { net, length, kind, nextHop }: ClientRoute,
  outPort: (ifindex: number) => number,
): Uint8Array => {
  // A table is of one family: of length 0 means every address, mapped or not.
  const mask = maskOf(length === 0 ? 0 : family === 4 ? length + 96 : length)
  const way =
    nextHop === null || kind !== 'hop'
      ? nowhere
      : {
          dstMac: nextHop.mac,
          srcMac: nextHop.sourceMac,
          ifindex: nextHop.ifindex,
          outPort: outPort(nextHop.ifindex),
          mtu: Math.min(0xffff, nextHop.mtu),
        }
  return clientRouteLayout.encode({ ...way, net: masked(net, mask), mask, kind: kinds[kind] })
}

const anywhere = (kind: 'kernel' | 'none'): ClientRoute => ({
  net: ZEROS[16],
  length: 0,
  kind,
  nextHop: null,
})

/** Longest first, ended by one of length 0; what does not fit is asked of the kernel. */
const ordered = (routes: readonly ClientRoute[]): readonly ClientRoute[] => {
  if (routes.length > MAX_CLIENT_ROUTES) return [anywhere('kernel')]
  const sorted = routes.toSorted((a, b) => b.length - a.length)
  if (sorted.at(-1)?.length === 0) return sorted
  return sorted.length === MAX_CLIENT_ROUTES ? [anywhere('kernel')] : [...sorted, anywhere('none')]
}

export interface ClientRoutesTable {
  /**
   * Replaces a family's table; resolves when no packet can be reading the former one. More than MAX_CLIENT_ROUTES are
   * left to the kernel.
   */
  set(family: 4 | 6, routes: readonly ClientRoute[]): Promise<void>
}

/**
 * @param memory  the map's mapping: another after a move
 * @param outPort the devmap's place of an interface
 */
export const createClientRoutesTable = (
  memory: () => ArrayBuffer,
  outPort: (ifindex: number) => number,
  wait: (ms: number) => Promise<unknown> = delay,
): ClientRoutesTable => {
  const inTurn = createTurns()
  const firstOf = (family: 4 | 6): number => (family === 4 ? 0 : PLACES)

  const isSame = (words: BigUint64Array, at: number, record: BigUint64Array): boolean =>
    record.every((word, i) => words[at + i] === word)
  const store = (words: BigUint64Array, at: number, bytes: Uint8Array): void =>
    new BigUint64Array(bytes.buffer, bytes.byteOffset, WORDS).forEach((word, i) => {
      if (words[at + i] !== word) Atomics.store(words, at + i, word)
    })

  /** From here on every packet asks the kernel. */
  const close = (words: BigUint64Array, place: number): void => {
    const at = place * WORDS
    // All but the word that makes it match: as it was, or it matches everything with kind 0 in fresh memory.
    const record = new BigUint64Array(askTheKernel.buffer)
    record.forEach((word, i) => {
      if (i !== NET_LOW && words[at + i] !== word) Atomics.store(words, at + i, word)
    })
    Atomics.store(words, at + NET_LOW, 0n)
  }

  {
    // Fresh memory matches everything, and has no way.
    const words = new BigUint64Array(memory())
    for (const family of [4, 6] as const)
      if (isSame(words, firstOf(family) * WORDS, new BigUint64Array(WORDS))) close(words, firstOf(family))
  }

  const set = async (family: 4 | 6, routes: readonly ClientRoute[]): Promise<void> => {
    const records = ordered(routes).map(route => recordOf(family, route, outPort))
    const first = firstOf(family)
    const isWritten = (): boolean => {
      const words = new BigUint64Array(memory())
      return (
        words[first * WORDS + NET_LOW] === 1n &&
        records.every((record, i) =>
          isSame(words, (first + 1 + i) * WORDS, new BigUint64Array(record.buffer)),
        )
      )
    }
    if (isWritten()) return
    close(new BigUint64Array(memory()), first)
    await wait(GRACE_MS)
    const words = new BigUint64Array(memory())
    records.forEach((record, i) => {
      store(words, (first + 1 + i) * WORDS, record)
    })
    Atomics.store(words, first * WORDS + NET_LOW, 1n)
  }

  return { set: (family, routes) => inTurn(() => set(family, routes)) }
}
