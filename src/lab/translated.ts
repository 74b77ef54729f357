/**
 * A site for translation (NAT, FULLNAT, SNAT): clients on the balancer's own network and behind two gateways, backends
 * inside, whose default route is the balancer, and backends in networks of their own, whose default route is not.
 *
 *   near ------------+                                 +------------ b1, b2 ...
 *   far1 -- gate1 ---+-- outside -- balancer -- inside-+------------ core -- r1, r2 ...
 *   far2 -- gate2 ---+     (and balancer2)             |              |
 *             gate1 -------------------- side ---------|--------------+
 *
 *   outside 10.1.0.0/24, fd00:1::/64    near .1, gate1 .254, gate2 .253, balancer .2 (eth0), balancer2 .3 (eth0)
 *   farN    10.1.N.0/24, fd00:1:N::/64  client .1 (eth0), gateN .254
 *   inside  10.2.0.0/24, fd00:2::/64    balancer .2 (eth1), balancer2 .3 (eth1), bN .1N (eth0), core .254
 *   homeN   10.3.N.0/24, fd00:3:N::/64  core .254, rN .2 (eth0)
 *   side    10.4.0.0/24, fd00:4::/64    gate1 .1, core .2
 *   pools   10.2.8.0/28, fd00:2:8::/124 of balancer, 10.2.9.0/28, fd00:2:9::/124 of balancer2: routed to it from everywhere
 *
 * VIPs are routed to the balancer, and are on its eth0. The balancer's kernel forwards nothing unless it is told to.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createNamespaces, type Host, type Namespaces } from './namespaces.js'
import { addLink, addSwitch, type End, type Switch } from './network.js'
import { type WebServer, webServer } from './nginx.js'

export interface TranslatedBackend extends Host {
  readonly name: string
  readonly address: string
  readonly address6: string
  /** Its nginx, on WEB_PORT. */
  readonly web: WebServer
}

export interface Balancer extends Host {
  readonly name: string
  /** Its local addresses, in CIDR form. */
  readonly pools: readonly [v4: string, v6: string]
}

export type ClientName = 'near' | 'far1' | 'far2'
export type GateName = 'gate1' | 'gate2'
/** A network behind a router, which is the only one that sends into it but its host. */
export type Network = 'far1' | 'far2' | `home${number}`

export interface TranslatedLab {
  readonly prefix: string
  /** For files that vanish with the lab. */
  readonly directory: string
  /** What the backends serve below /files/ and /slow/. */
  readonly files: string
  readonly clients: Readonly<Record<ClientName, Host>>
  readonly gates: Readonly<Record<GateName, Host>>
  readonly core: Host
  /** The first one. */
  readonly balancer: Balancer
  readonly balancers: readonly Balancer[]
  /** b1 ...: their default route is the balancer. */
  readonly inside: readonly TranslatedBackend[]
  /** r1 ...: theirs is not. */
  readonly routed: readonly TranslatedBackend[]
  readonly vips: readonly string[]
  /** VIPs' and pools' next hop, and the inside backends' default route, become these balancers: one, or both at once. */
  readonly routeBy: (...balancers: readonly Balancer[]) => Promise<void>
  /** How long a packet may be that a router sends into this network: a far client's gateway, a backend's. */
  readonly setMtu: (network: Network, mtu: number) => Promise<void>
  readonly mountBpffs: () => Promise<string>
  readonly close: () => Promise<void>
}

export interface TranslatedOptions {
  /** Without prefix length. */
  readonly vips: readonly string[]
  /** Default 1. */
  readonly balancers?: 1 | 2
  /** Backends b1 ...; default 2. */
  readonly inside?: number
  /** Backends r1 ...; default 0. */
  readonly routed?: number
  /** The core's default route, and so that of the routed backends; default: gate1. */
  readonly coreBy?: 'gate1' | 'balancer'
}

/** Where the backends' nginx listens. */
export const WEB_PORT = 8080

export const ADDRESSES = {
  near: ['10.1.0.1', 'fd00:1::1'],
  far1: ['10.1.1.1', 'fd00:1:1::1'],
  far2: ['10.1.2.1', 'fd00:1:2::1'],
  gate1: ['10.1.0.254', 'fd00:1::fe'],
  gate2: ['10.1.0.253', 'fd00:1::fd'],
} as const satisfies Readonly<Record<ClientName | GateName, readonly [v4: string, v6: string]>>

/** No more is under way than the ring of a veth that runs XDP holds (256 frames). */
const TCP_WINDOW = { 'ipv4/tcp_rmem': '4096 131072 200000' }
const FORWARDING = { 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 }

const is6 = (address: string): boolean => address.includes(':')
const host32 = (address: string): string => `${address}/${is6(address) ? 128 : 32}`
/** The addresses of a network's host; in IPv6 its number is hexadecimal. */
const both = ([net4, net6]: readonly [string, string], number: number): readonly string[] => [
  `${net4}.${number}/24`,
  `${net6}::${number.toString(16)}/64`,
]
const OUTSIDE = ['10.1.0', 'fd00:1'] as const
const INSIDE = ['10.2.0', 'fd00:2'] as const
const subnet = (address: string): string => address.replace(/\.\d+\/24/, '.0/24')
const bare = (address: string): string => address.replace(/\/.*/, '')

interface Building {
  readonly namespaces: Namespaces
  readonly options: TranslatedOptions
  readonly routers: Map<string, End>
  readonly files: string
}

const addHost = async ({ namespaces }: Building, name: string, isRouter = false): Promise<Host> => {
  const host = await namespaces.add(name)
  await host.sysctl(isRouter ? FORWARDING : TCP_WINDOW)
  return host
}

/** A cable; `router` is who sends into this network. */
const link = async (
  { routers }: Building,
  name: Network | 'side',
  net: readonly [string, string],
  host: { readonly host: Host; readonly at: number; readonly device: string },
  router: { readonly host: Host; readonly at: number; readonly device: string },
): Promise<void> => {
  const [a, b] = [host, router].map(({ host, at, device }) => ({ host, device, addresses: both(net, at) }))
  await addLink(a!, b!)
  routers.set(name, b!)
}

const defaultBy = (...gateways: readonly (readonly [string, string])[]): string[] =>
  [0, 1].map(family => {
    const hops = gateways.map(gateway => ` nexthop via ${gateway[family]}`).join('')
    return `route replace ${family === 0 ? 'default' : '::/0'}${hops}`
  })

const addBalancer = async (
  site: Building,
  outside: Switch,
  inside: Switch,
  number: 1 | 2,
): Promise<Balancer> => {
  const name = number === 1 ? 'balancer' : 'balancer2'
  const host = await site.namespaces.add(name)
  await outside.connectXdp(host, 'eth0', both(OUTSIDE, 1 + number))
  await inside.connectXdp(host, 'eth1', both(INSIDE, 1 + number))
  await host.ip(
    ...defaultBy(ADDRESSES.gate1),
    `route add 10.1.2.0/24 via ${ADDRESSES.gate2[0]}`,
    `route add fd00:1:2::/64 via ${ADDRESSES.gate2[1]}`,
    'route add 10.3.0.0/16 via 10.2.0.254',
    'route add fd00:3::/32 via fd00:2::fe',
    ...site.options.vips.map(vip => `addr add ${host32(vip)} dev eth0${is6(vip) ? ' nodad' : ''}`),
  )
  const pools =
    number === 1 ? (['10.2.8.0/28', 'fd00:2:8::/124'] as const) : (['10.2.9.0/28', 'fd00:2:9::/124'] as const)
  return { ...host, name, pools }
}

const withServer = async (
  site: Building,
  host: Host,
  name: string,
  addresses: readonly string[],
): Promise<TranslatedBackend> => {
  const web = webServer(host, name, join(site.namespaces.directory, name), site.files, WEB_PORT)
  await web.start()
  return { ...host, name, address: bare(addresses[0]!), address6: bare(addresses[1]!), web }
}

const addInside = async (site: Building, inside: Switch, number: number): Promise<TranslatedBackend> => {
  const host = await addHost(site, `b${number}`)
  const addresses = both(INSIDE, 10 + number)
  await inside.connect(host, 'eth0', addresses)
  return withServer(site, host, `b${number}`, addresses)
}

const addRouted = async (site: Building, core: Host, number: number): Promise<TranslatedBackend> => {
  const host = await addHost(site, `r${number}`)
  const name = `home${number}` as const
  const net = [`10.3.${number}`, `fd00:3:${number}`] as const
  await link(site, name, net, { host, at: 2, device: 'eth0' }, { host: core, at: 254, device: name })
  await host.ip(...defaultBy([`${net[0]}.254`, `${net[1]}::fe`]))
  return withServer(site, host, `r${number}`, both(net, 2))
}

const addClients = async (site: Building, outside: Switch) => {
  const near = await addHost(site, 'near')
  await outside.connect(near, 'eth0', both(OUTSIDE, 1))
  const behind = async (number: 1 | 2) => {
    const gate = await addHost(site, `gate${number}`, true)
    await outside.connect(gate, 'eth0', both(OUTSIDE, 255 - number))
    const client = await addHost(site, `far${number}`)
    const net = [`10.1.${number}`, `fd00:1:${number}`] as const
    await link(
      site,
      `far${number}`,
      net,
      { host: client, at: 1, device: 'eth0' },
      { host: gate, at: 254, device: 'far' },
    )
    await client.ip(...defaultBy([`${net[0]}.254`, `${net[1]}::fe`]))
    return { client, gate }
  }
  const [one, two] = [await behind(1), await behind(2)]
  await near.ip(...defaultBy(ADDRESSES.gate1))
  await one.gate.ip(
    `route add 10.1.2.0/24 via ${ADDRESSES.gate2[0]}`,
    `route add fd00:1:2::/64 via ${ADDRESSES.gate2[1]}`,
  )
  await two.gate.ip(...defaultBy(ADDRESSES.gate1))
  return {
    clients: { near, far1: one.client, far2: two.client },
    gates: { gate1: one.gate, gate2: two.gate },
  }
}

const build = async (site: Building) => {
  const { namespaces, options } = site
  const outside = await addSwitch(namespaces, 'outside', { whole: true })
  const inside = await addSwitch(namespaces, 'inside', { whole: true })
  const balancers = [await addBalancer(site, outside, inside, 1)]
  if (options.balancers === 2) balancers.push(await addBalancer(site, outside, inside, 2))
  const { clients, gates } = await addClients(site, outside)
  const core = await addHost(site, 'core', true)
  await inside.connect(core, 'inside', both(INSIDE, 254))
  await link(
    site,
    'side',
    ['10.4.0', 'fd00:4'],
    { host: gates.gate1, at: 1, device: 'side' },
    { host: core, at: 2, device: 'side' },
  )
  await core.ip(...defaultBy(options.coreBy === 'balancer' ? inner('balancer') : ['10.4.0.1', 'fd00:4::1']))
  await gates.gate1.ip('route add 10.3.0.0/16 via 10.4.0.2', 'route add fd00:3::/32 via fd00:4::2')
  const insides: TranslatedBackend[] = []
  for (let number = 1; number <= (options.inside ?? 2); number++)
    insides.push(await addInside(site, inside, number))
  const routed: TranslatedBackend[] = []
  for (let number = 1; number <= (options.routed ?? 0); number++)
    routed.push(await addRouted(site, core, number))
  for (const { pools, name } of balancers)
    for (const host of [core, ...insides])
      await host.ip(...pools.map(pool => `route add ${pool} via ${inner(name)[is6(pool) ? 1 : 0]}`))

  // Who is outside answers SNAT's connections.
  for (const { pools, name } of balancers)
    for (const host of [clients.near, gates.gate1, gates.gate2])
      await host.ip(...pools.map(pool => `route add ${pool} via ${outer(name)[is6(pool) ? 1 : 0]}`))

  const routeBy: TranslatedLab['routeBy'] = async (...by) => {
    const vipsBy = (vip: string) =>
      by.map(({ name }) => ` nexthop via ${outer(name)[is6(vip) ? 1 : 0]}`).join('')
    for (const host of [clients.near, gates.gate1, gates.gate2])
      await host.ip(...options.vips.map(vip => `route replace ${host32(vip)}${vipsBy(vip)}`))
    for (const backend of insides) await backend.ip(...defaultBy(...by.map(({ name }) => inner(name))))
  }
  // A flow keeps its balancer.
  for (const host of [clients.near, gates.gate1, gates.gate2, ...insides])
    await host.sysctl({ 'ipv4/fib_multipath_hash_policy': 1, 'ipv6/fib_multipath_hash_policy': 1 })
  await routeBy(...balancers)
  return { balancer: balancers[0]!, balancers, clients, gates, core, inside: insides, routed, routeBy }
}

const at = (name: string): number => (name === 'balancer' ? 2 : 3)
const outer = (name: string) => [`${OUTSIDE[0]}.${at(name)}`, `${OUTSIDE[1]}::${at(name)}`] as const
const inner = (name: string) => [`${INSIDE[0]}.${at(name)}`, `${INSIDE[1]}::${at(name)}`] as const

/** Builds the site; what was built is taken down when a step fails. */
export const createTranslatedLab = async (options: TranslatedOptions): Promise<TranslatedLab> => {
  const namespaces = createNamespaces()
  try {
    const files = join(namespaces.directory, 'files')
    mkdirSync(files)
    const routers = new Map<string, End>()
    const hosts = await build({ namespaces, options, routers, files })
    const { prefix, directory, mountBpffs, close } = namespaces
    return {
      prefix,
      directory,
      files,
      ...hosts,
      vips: options.vips,
      setMtu: async (name, mtu) => {
        // A device of this MTU would take no longer packets either.
        const { host, device, addresses } = routers.get(name)!
        const nets = addresses.map(address =>
          is6(address) ? address.replace(/::.*/, '::/64') : subnet(address),
        )
        await host.ip(
          ...nets.map(
            net =>
              `route replace ${net} dev ${device} proto kernel ${is6(net) ? 'metric 256' : 'scope link'} mtu ${mtu}`,
          ),
        )
      },
      mountBpffs,
      close,
    }
  } catch (error) {
    await namespaces.close()
    throw error
  }
}
