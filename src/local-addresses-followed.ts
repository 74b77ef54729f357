/** The local addresses' findings, followed as the kernel's routes and addresses change. */
import { addressFamily } from './address.js'
import { checkLocalAddresses, type LocalAddressFinding } from './local-addresses.js'
import type { Log } from './log.js'
import type { Netlink } from './native.js'
import type { KernelTables } from './next-hop.js'
import { createRoutes } from './next-hop-routes.js'
import type { Companion } from './next-hops.js'

export interface LocalAddressesOptions {
  readonly netlink: Pick<Netlink, 'routeTo'>
  readonly tables: () => KernelTables
  /** Others may be used than before. */
  readonly onChange: () => void
  readonly log: Log
}

/** What the pools of local addresses are made by. */
export interface LocalAddresses {
  /** Those of these that may be used, in their order. One that is not followed is taken to be. */
  usable(addresses: readonly string[]): readonly string[]
  /** Why a backend of a family has none to be reached from; null: it has. */
  lacking(addresses: readonly string[], family: 4 | 6): string | null
}

export interface FollowedLocalAddresses extends LocalAddresses, Companion {
  /**
   * These from here on; resolves when each has been looked up.
   *
   * @param prefixes what some of them were configured by
   */
  follow(addresses: readonly string[], prefixes?: readonly string[]): Promise<void>
  findings(): readonly LocalAddressFinding[]
}

export const createLocalAddresses = (options: LocalAddressesOptions): FollowedLocalAddresses => {
  const { netlink, tables, onChange, log } = options
  const routes = createRoutes(netlink, () => {})
  let followed: readonly string[] = []
  let prefixes: readonly string[] = []
  let findings: readonly LocalAddressFinding[] = []
  /** By address. */
  let found: ReadonlyMap<string, LocalAddressFinding> = new Map()

  const nameOf = (ifindex: number): string => tables().link(ifindex)?.name ?? String(ifindex)

  const lookAt = (): void => {
    const before = { findings, found }
    findings = checkLocalAddresses(followed, prefixes, routes.get, nameOf)
    found = new Map(findings.flatMap(one => one.addresses.map(address => [address, one])))
    for (const { address, addresses, isUsable, text } of findings) {
      // Nothing is said while addresses of a prefix become this host's one by one.
      const isWorse = addresses.some(one => before.found.get(one)?.isUsable !== isUsable)
      if (isWorse) log.warn({ event: 'local-address.finding', address, used: isUsable }, text)
    }
    for (const { address, addresses } of before.findings) {
      const isOver = !findings.some(one => one.address === address)
      if (isOver && addresses.some(one => followed.includes(one)))
        log.info({ event: 'local-address.found', address }, `${address} is this host's`)
    }
    const changesUse = (address: string): boolean =>
      (before.found.get(address)?.isUsable ?? true) !== isUsable(address)
    if ([...before.found.keys(), ...found.keys()].some(changesUse)) onChange()
  }

  const isUsable = (address: string): boolean => found.get(address)?.isUsable ?? true

  return {
    usable: addresses => addresses.filter(isUsable),
    lacking: (addresses, family) => {
      const own = addresses.filter(address => addressFamily(address) === family)
      if (own.length === 0) return `there is no IPv${family} local address`
      if (own.some(isUsable)) return null
      const first = found.get(own[0]!)!
      const others = own.filter(address => !first.addresses.includes(address)).length
      return `no local address: ${first.text}${others === 0 ? '' : `, nor are the ${others} others of use`}`
    },
    follow: async (addresses, writtenAs = []) => {
      if (addresses.join() === followed.join() && writtenAs.join() === prefixes.join()) return
      followed = addresses
      prefixes = writtenAs
      await routes.follow(new Set(addresses))
      lookAt()
    },
    changed: what => {
      if (!what.routes || followed.length === 0) return
      void routes.read().then(isOther => isOther && lookAt())
    },
    neighbours: () => [],
    findings: () => findings,
  }
}
