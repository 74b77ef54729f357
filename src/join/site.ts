/** What is wanted, on this very host: interfaces and addresses by name are found, or what is missing is said. Pure. */
import { addressFamily } from '../address.js'
import type { NetlinkLink } from '../native.js'
import { type Filling, filling } from './decapsulator.js'
import { type Finding, refused, wrong } from './finding.js'
import { type Host, isLoopback, isUp } from './host.js'
import type { Wanted } from './wanted.js'

export interface Site {
  readonly wanted: Wanted
  readonly links: readonly NetlinkLink[]
  readonly loopback: NetlinkLink
  /** Outer destinations. */
  readonly addresses: readonly string[]
  /** Of the smallest of the interfaces. */
  readonly mtu: number
  /** What the decapsulator is told; null: none is wanted. */
  readonly filling: Filling | null
  readonly findings: readonly Finding[]
}

const findLinks = (wanted: Wanted, host: Host): { links: NetlinkLink[]; findings: Finding[] } => {
  if (wanted.vips.length === 0 && wanted.interfaces.length === 0) return { links: [], findings: [] }
  const real = host.links.filter(link => !isLoopback(link))
  const there = `there are: ${real.map(({ name }) => name).join(', ')}`
  if (wanted.interfaces.length > 0) {
    const missing = wanted.interfaces.filter(name => !real.some(link => link.name === name))
    return {
      links: real.filter(({ name }) => wanted.interfaces.includes(name)),
      findings: missing.map(name => refused('no-interface', `there is no interface ${name}`, there)),
    }
  }
  const indexes = new Set(
    host.addresses.filter(({ address }) => wanted.addresses?.includes(address)).map(({ ifindex }) => ifindex),
  )
  const links = real.filter(({ ifindex }) => indexes.has(ifindex))
  const names = wanted.addresses?.join(', ') ?? 'no address'
  return {
    links,
    findings:
      links.length > 0
        ? []
        : [
            refused(
              'no-interface',
              `no interface has ${names}`,
              'name the one that the balancer’s packets come in by with --interface',
            ),
          ],
  }
}

/** The addresses of its interfaces that a balancer may send to. */
const addressesOf = (host: Host, links: readonly NetlinkLink[], vips: readonly string[]): string[] =>
  host.addresses
    .filter(
      ({ address, ifindex, isLasting }) =>
        isLasting && links.some(link => link.ifindex === ifindex) && !vips.includes(address),
    )
    .map(({ address }) => address)

export const findSite = (wanted: Wanted, host: Host): Site => {
  const { links, findings } = findLinks(wanted, host)
  const addresses = wanted.addresses ?? addressesOf(host, links, wanted.vips)
  const present = new Set(host.addresses.map(({ address }) => address))

  for (const { name } of links.filter(link => !isUp(link)))
    findings.push(wrong('interface-down', `${name} is down`, `ip link set dev ${name} up`))
  if (wanted.tunnels.length > 0 && addresses.length === 0 && links.length > 0)
    findings.push(
      refused(
        'no-address',
        `${links.map(({ name }) => name).join(', ')} has no address that a tunnel could lead to`,
        'add one, or name one of this host with --address',
      ),
    )
  for (const address of addresses.filter(one => !present.has(one)))
    findings.push(
      refused('address-missing', `${address} is not on this host`, 'add it, or name another with --address'),
    )
  for (const vip of wanted.vips.filter(one => addresses.includes(one)))
    findings.push(
      refused(
        'vip-is-own',
        `${vip} is a VIP, and the address that the balancer sends to`,
        'a backend needs an address of its own',
      ),
    )
  for (const { mode, outer } of wanted.tunnels)
    if (outer !== null && addresses.length > 0 && !addresses.some(one => addressFamily(one) === outer))
      findings.push(
        refused(
          'no-address',
          `${mode} comes in by IPv${outer}, but no such address is given`,
          'see --address',
        ),
      )
  return {
    wanted,
    links,
    loopback: host.links.find(isLoopback)!,
    addresses,
    mtu: Math.min(...links.map(({ mtu }) => mtu)),
    filling:
      wanted.tunnels.length === 0
        ? null
        : filling({
            modes: wanted.tunnels.map(({ mode }) => mode),
            ports: wanted.ports,
            addresses,
            vips: wanted.vips,
            sources: wanted.sources,
          }),
    findings,
  }
}
