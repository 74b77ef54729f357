/** The local addresses' findings, followed as the kernel's routes and addresses change. */
import { addressFamily } from './address.js'
import { checkLocalAddress, type LocalAddressFinding } from './local-addresses.js'
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
  /** These from here on; resolves when each has been looked up. */
  follow(addresses: readonly string[]): Promise<void>
  findings(): readonly LocalAddressFinding[]
}

export const createLocalAddresses = (options: LocalAddressesOptions): FollowedLocalAddresses => {
  const { netlink, tables, onChange, log } = options
  const routes = createRoutes(netlink, () => {})
  let followed: readonly string[] = []
  let findings: ReadonlyMap<string, LocalAddressFinding> = new Map()

  const nameOf = (ifindex: number): string => tables().link(ifindex)?.name ?? String(ifindex)

  const lookAt = (): void => {
    const before = findings
    const all = followed.flatMap(address => checkLocalAddress(address, routes.get(address), nameOf) ?? [])
    findings = new Map(all.map(finding => [finding.address, finding]))
    for (const { address, isUsable, text } of all)
      if (before.get(address)?.text !== text)
        log.warn({ event: 'local-address.finding', address, used: isUsable }, text)
    for (const address of before.keys())
      if (!findings.has(address) && followed.includes(address))
        log.info({ event: 'local-address.found', address }, `${address} is this host's`)
    const changesUse = (address: string): boolean =>
      (before.get(address)?.isUsable ?? true) !== (findings.get(address)?.isUsable ?? true)
    if ([...before.keys(), ...findings.keys()].some(changesUse)) onChange()
  }

  const isUsable = (address: string): boolean => findings.get(address)?.isUsable ?? true

  return {
    usable: addresses => addresses.filter(isUsable),
    lacking: (addresses, family) => {
      const own = addresses.filter(address => addressFamily(address) === family)
      if (own.length === 0) return `there is no IPv${family} local address`
      if (own.some(isUsable)) return null
      const others = own.length === 1 ? '' : `, nor are the ${own.length - 1} others of use`
      return `no local address: ${findings.get(own[0]!)!.text}${others}`
    },
    follow: async addresses => {
      if (addresses.length === followed.length && addresses.every((one, i) => one === followed[i])) return
      followed = addresses
      await routes.follow(new Set(addresses))
      lookAt()
    },
    changed: what => {
      if (!what.routes || followed.length === 0) return
      void routes.read().then(isOther => isOther && lookAt())
    },
    neighbours: () => [],
    findings: () => [...findings.values()],
  }
}
