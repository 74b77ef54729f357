/** The kernel's choice of route for each address that is followed. */
import { shortAddressBytes } from './address.js'
import type { Netlink } from './native.js'
import type { Route } from './next-hop.js'

export interface Routes {
  get(address: string): Route
  /** These from here on; resolves when each that is new has been looked up. @returns whether there were any */
  follow(addresses: ReadonlySet<string>): Promise<boolean>
  /** Looks all of them up again, or these. @returns whether one has changed */
  read(addresses?: readonly string[]): Promise<boolean>
}

const NOT_LOOKED_UP: Route = { error: 'not looked up' }

const isSameBytes = (a: Uint8Array | null, b: Uint8Array | null): boolean =>
  a === b || (a !== null && b !== null && Buffer.compare(a, b) === 0)

/** Whether packets go the same way, which takes packets as long. */
const isSamePath = (a: Route, b: Route): boolean => {
  if ('error' in a || 'error' in b) return 'error' in a && 'error' in b && a.error === b.error
  const [hop, other] = [a.nextHops[0], b.nextHops[0]]
  return (
    a.type === b.type &&
    a.mtu === b.mtu &&
    hop?.ifindex === other?.ifindex &&
    isSameBytes(hop?.gateway ?? null, other?.gateway ?? null)
  )
}

const isSameRoute = (a: Route, b: Route): boolean =>
  isSamePath(a, b) && ('error' in a || 'error' in b || isSameBytes(a.source, b.source))

/** @param onPathChange the way to an address is another one, or takes packets of another length */
export const createRoutes = (
  netlink: Pick<Netlink, 'routeTo'>,
  onPathChange: (address: string) => void,
): Routes => {
  const entries = new Map<string, { readonly route: Route; readonly request: number }>()
  let requests = 0

  const lookUp = async (address: string): Promise<Route> => {
    try {
      return await netlink.routeTo(shortAddressBytes(address))
    } catch (cause) {
      return { error: (cause as { code?: string }).code ?? String(cause) }
    }
  }

  /** Answers may overtake each other: that of the later request counts. */
  const readOne = async (address: string): Promise<boolean> => {
    const request = ++requests
    const route = await lookUp(address)
    const before = entries.get(address)
    if (!before || before.request > request) return false
    entries.set(address, { route, request })
    if (before.route !== NOT_LOOKED_UP && !isSamePath(before.route, route)) onPathChange(address)
    return !isSameRoute(before.route, route)
  }

  const read = async (addresses: readonly string[] = [...entries.keys()]): Promise<boolean> =>
    (await Promise.all(addresses.map(readOne))).includes(true)

  return {
    get: address => entries.get(address)?.route ?? NOT_LOOKED_UP,
    follow: async addresses => {
      for (const address of entries.keys()) if (!addresses.has(address)) entries.delete(address)
      const fresh = [...addresses].filter(address => !entries.has(address))
      // They are there at once, so that a change meanwhile has them read again.
      for (const address of fresh) entries.set(address, { route: NOT_LOOKED_UP, request: 0 })
      await read(fresh)
      return fresh.length > 0
    },
    read,
  }
}
