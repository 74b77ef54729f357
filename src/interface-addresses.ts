/** The addresses that a router's ICMP errors come from: of the interface that a packet came in by. */
import { addressText } from './address.js'
import type { Config } from './model.js'
import type { Netlink, NetlinkAddress } from './native.js'
import type { FollowedNextHops } from './next-hops.js'

/** As struct interface has them; 0 and zeros: none. */
export interface InterfaceAddresses {
  readonly addr4: number
  readonly addr6: Uint8Array
}

const RT_SCOPE_HOST = 254
/** IPv4: of a subnet that has another one; IPv6: temporary (RFC 8981). */
const IFA_F_SECONDARY = 0x01
const IFA_F_DADFAILED = 0x08
const IFA_F_DEPRECATED = 0x20
const IFA_F_TENTATIVE = 0x40

/** The less the better: global before link scope, then what lasts. */
const rankOf = ({ scope, flags }: NetlinkAddress): number =>
  scope * 4 + (flags & IFA_F_DEPRECATED ? 2 : 0) + (flags & IFA_F_SECONDARY ? 1 : 0)

const isOfUse = ({ scope, flags }: NetlinkAddress): boolean =>
  scope < RT_SCOPE_HOST && (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) === 0

/** The addresses that a configuration gives to services: a router is none of them. */
export const claimedAddresses = ({
  services,
  snat,
}: Pick<Config, 'services' | 'snat'>): ReadonlySet<string> =>
  new Set([
    ...services.flatMap(({ vip, translation }) => [vip, ...(translation?.localAddresses ?? [])]),
    ...(snat?.localAddresses ?? []),
  ])

/**
 * Of a family, its bytes: the interface's own, else one of another interface that is valid everywhere. One without a
 * subnet comes after the interface's others, since it may be anybody's who moves; a claimed one after all others.
 */
const primaryOf = (
  addresses: readonly NetlinkAddress[],
  ifindex: number,
  size: 4 | 16,
  claimed: ReadonlySet<string>,
): Uint8Array | undefined => {
  const all = addresses
    .filter(one => one.address.length === size && isOfUse(one))
    .toSorted((a, b) => rankOf(a) - rankOf(b))
  const isOwn = (one: NetlinkAddress): boolean => one.ifindex === ifindex
  const hasSubnet = ({ prefixLength }: NetlinkAddress): boolean => prefixLength < size * 8
  const everywhere = all.filter(({ scope }) => scope === 0)
  const free = everywhere.filter(({ address }) => !claimed.has(addressText(address)))
  const best = [free, everywhere].flatMap(some => [
    ...some.filter(one => isOwn(one) && hasSubnet(one)),
    ...some.filter(isOwn),
    ...some.filter(hasSubnet),
    ...some,
  ])[0]
  return (best ?? all.find(isOwn))?.address
}

/** @param claimed claimedAddresses */
export const interfaceAddresses = (
  addresses: readonly NetlinkAddress[],
  ifindex: number,
  claimed: ReadonlySet<string> = new Set(),
): InterfaceAddresses => {
  const addr4 = primaryOf(addresses, ifindex, 4, claimed)
  return {
    addr4: addr4 ? new DataView(addr4.buffer, addr4.byteOffset).getUint32(0) : 0,
    addr6: primaryOf(addresses, ifindex, 16, claimed) ?? new Uint8Array(16),
  }
}

export interface FollowedAddresses {
  of(ifindex: number): InterfaceAddresses
}

/**
 * @param claimed  claimedAddresses of what is wanted now
 * @param onChange some interface's may be others
 */
export const createInterfaceAddresses = async (
  netlink: Pick<Netlink, 'addresses'>,
  nextHops: Pick<FollowedNextHops, 'accompany'>,
  claimed: () => ReadonlySet<string>,
  onChange: () => void,
  onError: (error: unknown) => void,
): Promise<FollowedAddresses> => {
  let addresses = await netlink.addresses()
  let requests = 0

  const read = async (): Promise<void> => {
    const request = ++requests
    const found = await netlink.addresses()
    if (request !== requests) return
    addresses = found
    onChange()
  }
  nextHops.accompany({
    changed: what => {
      if (what.addresses) read().catch(onError)
    },
    neighbours: () => [],
  })
  return { of: ifindex => interfaceAddresses(addresses, ifindex, claimed()) }
}
