/**
 * Each thing that has to be so on a backend host, what is wrong where it is not, and how join makes it so. `--check` is
 * the list of those that are not met, so that it says exactly what join would do. Pure.
 */
import { addressFamily } from '../address.js'
import type { Filling } from './decapsulator.js'
import { sameFilling } from './decapsulator.js'
import { type Finding, refused, warning, wrong } from './finding.js'
import { answersArp, type Host, sysctlText } from './host.js'
import { routeWishes } from './route-wishes.js'
import { addressKey, programKey, sysctlKey, toaKey } from './setting.js'
import type { Site } from './site.js'
import { isToaSite, type ToaSite, toaFinding, toaWarnings } from './toa-site.js'

export type Wish = SysctlWish | AddressWish | ProgramWish | RouteWish | ToaWish

interface AnyWish {
  /** Names the thing: a setting that is recorded under this key is the wish's. */
  readonly key: string
  /** null: it is so. */
  readonly finding: Finding | null
}
export interface SysctlWish extends AnyWish {
  readonly kind: 'sysctl'
  /** Below /proc/sys/net. */
  readonly name: string
  /** The interface in its name, which may be renamed; null: none. */
  readonly ifindex: number | null
  readonly value: string
}
export interface AddressWish extends AnyWish {
  readonly kind: 'address'
  readonly address: string
  readonly ifindex: number
}
export interface ProgramWish extends AnyWish {
  readonly kind: 'program'
  readonly interface: string
  readonly ifindex: number
  readonly filling: Filling
}
export interface RouteWish extends AnyWish {
  readonly kind: 'route'
  readonly text: string
  readonly advmss: number
}

export interface ToaWish extends AnyWish {
  readonly kind: 'toa'
  readonly cgroup: string
  readonly cgroupId: string
}

const isIPv4 = (address: string): boolean => addressFamily(address) === 4

interface SysctlRule {
  readonly name: 'arp_ignore' | 'arp_announce'
  readonly code: 'arp-ignore' | 'arp-announce'
  readonly value: string
  readonly good: readonly string[]
  readonly meaning: string
}

/** Documentation/networking/ip-sysctl.rst. The kernel takes the larger of `all` and the interface's own. */
const arpRules = (site: Site, host: Host): readonly SysctlRule[] => {
  const isHidden = host.addresses.every(
    ({ address, isHostScope }) => isHostScope || !site.wanted.vips.includes(address),
  )
  return [
    {
      name: 'arp_ignore',
      code: 'arp-ignore',
      value: '1',
      good: ['1', '2', '8', ...(isHidden ? ['3'] : [])],
      meaning: 'this host answers ARP requests for the VIPs, and takes them over',
    },
    {
      name: 'arp_announce',
      code: 'arp-announce',
      value: '2',
      good: ['2'],
      meaning: 'this host’s own ARP requests may tell others that a VIP is here',
    },
  ]
}

const arpWishes = (site: Site, host: Host): SysctlWish[] =>
  arpRules(site, host).flatMap(({ name, code, value, good, meaning }) =>
    [null, ...site.links].flatMap((link): SysctlWish[] => {
      const path = `ipv4/conf/${link?.name ?? 'all'}/${name}`
      const present = host.sysctl(path)
      if (present === null) return []
      const hint = `sysctl -w ${sysctlText(path)}=${value}, or let join do it`
      return [
        {
          kind: 'sysctl',
          key: sysctlKey(path),
          name: path,
          ifindex: link?.ifindex ?? null,
          value,
          finding: good.includes(present)
            ? null
            : wrong(code, `${sysctlText(path)} is ${present}: ${meaning}`, hint),
        },
      ]
    }),
  )

/** Strict filtering drops a client's packet when the way to the client leads out elsewhere: RFC 3704 2.2. */
const rpFilterWishes = (site: Site, host: Host): SysctlWish[] =>
  site.links.flatMap(({ name, ifindex }): SysctlWish[] => {
    const path = `ipv4/conf/${name}/rp_filter`
    const own = host.sysctl(path)
    const all = host.sysctl('ipv4/conf/all/rp_filter')
    const isElsewhere = host.routes.some(
      route =>
        route.family === 4 && route.ifindexes.some(out => out !== ifindex && out !== site.loopback.ifindex),
    )
    if (own === null || !isElsewhere) return []
    const effective = Math.max(Number(own), Number(all))
    return [
      {
        kind: 'sysctl',
        key: sysctlKey(path),
        name: path,
        ifindex,
        value: '2',
        finding:
          effective === 1
            ? wrong(
                'rp-filter',
                `${sysctlText(path)} is ${own}, of all ${all}: packets of clients whose way back is not by ${name} are dropped`,
                `sysctl -w ${sysctlText(path)}=2, or let join do it`,
              )
            : null,
      },
    ]
  })

const vipFinding = (vip: string, site: Site, host: Host): Finding | null => {
  const places = host.addresses.filter(({ address }) => address === vip)
  const linkOf = (ifindex: number) => host.links.find(link => link.ifindex === ifindex)
  for (const { ifindex, bits } of places) {
    const link = linkOf(ifindex)
    if (link && answersArp(link))
      return refused(
        'vip-answered',
        `${vip} is on ${link.name}, which tells the network that this host has it`,
        `ip addr del ${vip}/${bits} dev ${link.name}; it belongs on ${site.loopback.name}`,
      )
  }
  if (places.length > 0) return null
  if (!isIPv4(vip) && host.sysctl(`ipv6/conf/${site.loopback.name}/disable_ipv6`) !== '0')
    return refused(
      'ipv6-disabled',
      `${vip} cannot be on ${site.loopback.name}: IPv6 is disabled there`,
      `sysctl -w net.ipv6.conf.${site.loopback.name}.disable_ipv6=0`,
    )
  return wrong(
    'vip-missing',
    `${vip} is not on this host`,
    `ip addr add ${vip}/${isIPv4(vip) ? 32 : 128} dev ${site.loopback.name}, or let join do it`,
  )
}

const addressWishes = (site: Site, host: Host): AddressWish[] =>
  site.wanted.vips.map(vip => ({
    kind: 'address',
    key: addressKey(vip),
    address: vip,
    ifindex: site.loopback.ifindex,
    finding: vipFinding(vip, site, host),
  }))

/** What it was told otherwise: words, from what it knows to what it should. */
const difference = (present: Filling, wanted: Filling): string =>
  (['modes', 'ports', 'addresses', 'vips', 'sources'] as const)
    .map(part => {
      const words = (of: Filling): string =>
        of[part].map(item => (typeof item === 'object' ? `${item.address}/${item.bits}` : item)).join(' ')
      return words(present) === words(wanted)
        ? ''
        : `${part} ${words(present) || 'none'} instead of ${words(wanted) || 'none'}`
    })
    .filter(text => text !== '')
    .join(', ')

const programFinding = (
  { name, ifindex }: { name: string; ifindex: number },
  site: Site,
  host: Host,
  tag: string,
): Finding | null => {
  const at = host.attached(ifindex)
  const wanted = site.filling!
  const byJoin = 'let join do it'
  if (!at) return wrong('program-missing', `nothing on ${name} takes tunnels' packets apart`, byJoin)
  if (!at.isOurs)
    return refused(
      'program-foreign',
      `another XDP program (id ${at.programId}) is on ${name}`,
      `see \`bpftool prog show id ${at.programId}\`; \`ip link set dev ${name} xdp off\` removes one that no link holds`,
    )
  if (!at.decapsulator || at.decapsulator.tag !== tag)
    return wrong('program-differs', `the decapsulator on ${name} is another build's`, byJoin)
  if (!sameFilling(at.decapsulator.filling, wanted))
    return wrong(
      'program-differs',
      `the decapsulator on ${name} knows ${difference(at.decapsulator.filling, wanted)}`,
      byJoin,
    )
  if (site.wanted.xdp !== 'auto' && at.mode !== site.wanted.xdp)
    return wrong('program-mode', `the decapsulator on ${name} runs as ${at.mode} XDP`, byJoin)
  return null
}

const programWishes = (site: Site, host: Host, tag: string | null): ProgramWish[] =>
  site.filling === null || tag === null
    ? []
    : site.links.map(({ name, ifindex }) => ({
        kind: 'program',
        key: programKey(ifindex),
        interface: name,
        ifindex,
        filling: site.filling!,
        finding: programFinding({ name, ifindex }, site, host, tag),
      }))

const genericWarnings = (site: Site, host: Host): Finding[] =>
  site.filling === null || site.wanted.xdp === 'generic'
    ? []
    : site.links
        .filter(({ ifindex }) => {
          const at = host.attached(ifindex)
          return at?.isOurs && at.mode === 'generic'
        })
        .map(({ name }) =>
          warning(
            'program-generic',
            `the decapsulator on ${name} runs as generic XDP, which is slower`,
            'its driver has no native XDP, or not with the present MTU and offloads',
          ),
        )

export interface Wishes {
  /** In the order in which they are to be fulfilled: no VIP before its silence. */
  readonly wishes: readonly Wish[]
  /** What is beyond any wish. */
  readonly findings: readonly Finding[]
}

const toaWishes = (toa: ToaSite | Finding | null): Wishes => {
  if (toa === null) return { wishes: [], findings: [] }
  if (!isToaSite(toa)) return { wishes: [], findings: [toa] }
  const { cgroup, cgroupId } = toa
  return {
    wishes: [{ kind: 'toa', key: toaKey(cgroup), cgroup, cgroupId, finding: toaFinding(toa) }],
    findings: toaWarnings(toa),
  }
}

/**
 * @param tag of the decapsulator as this build has it; null: none is wanted
 * @param toa null: nothing is to read TCP option 254; a finding: nothing can
 */
export const wishesFor = (
  site: Site,
  host: Host,
  tag: string | null,
  toa: ToaSite | Finding | null,
): Wishes => {
  const hasIPv4 = site.wanted.vips.some(isIPv4)
  const routes = routeWishes(site, host)
  const clients = toaWishes(toa)
  return {
    wishes: [
      ...(hasIPv4 ? [...arpWishes(site, host), ...rpFilterWishes(site, host)] : []),
      ...addressWishes(site, host),
      ...programWishes(site, host, tag),
      ...routes.wishes,
      ...clients.wishes,
    ],
    findings: [...site.findings, ...genericWarnings(site, host), ...routes.findings, ...clients.findings],
  }
}
