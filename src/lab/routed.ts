/**
 * A larger site: the clients and the backends are in networks of their own, behind routers, and what the backends answer
 * does not come by the balancer.
 *
 *   client --lan-- access --wan-- edge --front-- balancer --back-- core --mid-- rack --home1-- b1
 *                                   +--------------------side--------------------+----home2-- b2 ...
 *
 *   lan   10.1.0.0/24, fd00:1::/64     client .1, access .254         front 10.1.2.0/24  edge .254, balancer .2 (eth0)
 *   wan   10.1.1.0/24, fd00:1:1::/64   access .1, edge .2             back  10.2.0.0/24  core .254, balancer .2 (eth1)
 *   side  10.4.0.0/24, fd00:4::/64     edge .1, rack .2               mid   10.2.1.0/24  core .1, rack .2
 *   homeN 10.3.N.0/24, fd00:3:N::/64   rack .254, backend .2 (eth0)
 *
 * The VIPs are routed to the balancer and are on its eth0; the balancer routes to the backends by the core, the core
 * sends what is not the balancer's on to the rack. Each backend may also have an interface beside the balancer, for
 * direct routing: eth1, 10.5.0.1N, fd00:5::1N; the balancer's is eth2.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createNamespaces, type Host, type Namespaces } from './namespaces.js'
import { addLink, addSwitch } from './network.js'
import { type WebServer, webServer } from './nginx.js'

export type RouterName = 'access' | 'edge' | 'core' | 'rack'
/** `home1` is the first backend's. */
export type LinkName = 'lan' | 'wan' | 'front' | 'back' | 'mid' | 'side' | `home${number}`

export interface RoutedBackend extends Host {
  readonly name: string
  readonly address: string
  readonly address6: string
  /** For direct routing, where the site is built with it. */
  readonly near: string
  readonly near6: string
  readonly web: WebServer
}

/** An interface of a host. */
export interface Port {
  readonly host: Host
  readonly device: string
}

export interface RoutedLab {
  readonly prefix: string
  /** For files that vanish with the lab. */
  readonly directory: string
  /** What the backends serve below /files/ and /slow/. */
  readonly files: string
  readonly client: Host
  readonly balancer: Host
  readonly routers: Readonly<Record<RouterName, Host>>
  readonly backends: readonly RoutedBackend[]
  readonly vips: readonly string[]
  /** The two ends of each link: the one nearer to the client first. */
  readonly links: ReadonlyMap<LinkName, readonly [Port, Port]>
  readonly setMtu: (link: LinkName, mtu: number) => Promise<void>
  readonly mountBpffs: () => Promise<string>
  readonly close: () => Promise<void>
}

export interface RoutedOptions {
  readonly backends?: number
  /** Without prefix length. */
  readonly vips: readonly string[]
  /** Default 1500. */
  readonly mtu?: Readonly<Partial<Record<LinkName, number>>>
  /** The backends are beside the balancer too. */
  readonly isNear?: boolean
}

/**
 * No more is under way than the ring of a veth holds (256 frames) that runs XDP: whatever its devices drop, they drop for
 * another reason than a busy machine.
 */
const TCP_WINDOW = { 'ipv4/tcp_rmem': '4096 131072 200000' }

const host32 = (address: string) => `${address}/${address.includes(':') ? 128 : 32}`

/** The addresses of a network's host. */
const both = (net4: string, net6: string, host: number): string[] => [
  `${net4}.${host}/24`,
  `${net6}::${host}/64`,
]

interface Building {
  readonly namespaces: Namespaces
  readonly options: RoutedOptions
  readonly links: Map<LinkName, readonly [Port, Port]>
}

/** A cable named `name`, which is also the device at either end but for those named otherwise. */
const link = async (
  { options, links }: Building,
  name: LinkName,
  [net4, net6]: readonly [string, string],
  a: { readonly host: Host; readonly at: number; readonly device?: string },
  b: { readonly host: Host; readonly at: number; readonly device?: string },
  xdp = false,
) => {
  const ends = [a, b].map(({ host, at, device = name }) => ({
    host,
    device,
    addresses: both(net4, net6, at),
  }))
  const mtu = options.mtu?.[name]
  await addLink(ends[0]!, ends[1]!, { xdp, ...(mtu === undefined ? {} : { mtu }) })
  links.set(name, [ends[0]!, ends[1]!])
}

const addRouter = async ({ namespaces }: Building, name: RouterName) => {
  const router = await namespaces.add(name)
  await router.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })
  return router
}

const addBackend = async (site: Building, rack: Host, number: number, files: string) => {
  const name = `b${number}`
  const host = await site.namespaces.add(name)
  await host.sysctl(TCP_WINDOW)
  const [net4, net6] = [`10.3.${number}`, `fd00:3:${number}`]
  await link(site, `home${number}`, [net4, net6], { host: rack, at: 254 }, { host, at: 2, device: 'eth0' })
  await host.ip(`route add default via ${net4}.254`, `route add ::/0 via ${net6}::254`)
  const web = webServer(host, name, join(site.namespaces.directory, name), files)
  await web.start()
  const near = { near: `10.5.0.${10 + number}`, near6: `fd00:5::${10 + number}` }
  return { ...host, name, address: `${net4}.2`, address6: `${net6}::2`, ...near, web }
}

const placeNear = async ({ namespaces }: Building, balancer: Host, backends: readonly RoutedBackend[]) => {
  const near = await addSwitch(namespaces, 'near')
  await near.connectXdp(balancer, 'eth2', both('10.5.0', 'fd00:5', 2))
  for (const backend of backends)
    await near.connect(backend, 'eth1', [`${backend.near}/24`, `${backend.near6}/64`])
}

const build = async (site: Building, files: string) => {
  const { namespaces, options } = site
  const client = await namespaces.add('client')
  await client.sysctl(TCP_WINDOW)
  const balancer = await namespaces.add('balancer')
  const access = await addRouter(site, 'access')
  const edge = await addRouter(site, 'edge')
  const core = await addRouter(site, 'core')
  const rack = await addRouter(site, 'rack')

  await link(
    site,
    'lan',
    ['10.1.0', 'fd00:1'],
    { host: client, at: 1, device: 'eth0' },
    { host: access, at: 254 },
  )
  await link(site, 'wan', ['10.1.1', 'fd00:1:1'], { host: access, at: 1 }, { host: edge, at: 2 })
  await link(
    site,
    'front',
    ['10.1.2', 'fd00:1:2'],
    { host: edge, at: 254 },
    { host: balancer, at: 2, device: 'eth0' },
    true,
  )
  await link(
    site,
    'back',
    ['10.2.0', 'fd00:2'],
    { host: core, at: 254 },
    { host: balancer, at: 2, device: 'eth1' },
    true,
  )
  await link(site, 'mid', ['10.2.1', 'fd00:2:1'], { host: core, at: 1 }, { host: rack, at: 2 })
  await link(site, 'side', ['10.4.0', 'fd00:4'], { host: edge, at: 1 }, { host: rack, at: 2 })

  await client.ip('route add default via 10.1.0.254', 'route add ::/0 via fd00:1::254')
  await access.ip('route add default via 10.1.1.2', 'route add ::/0 via fd00:1:1::2')
  await edge.ip(
    'route add 10.1.0.0/24 via 10.1.1.1',
    'route add fd00:1::/64 via fd00:1:1::1',
    'route add default via 10.4.0.2',
    'route add ::/0 via fd00:4::2',
    ...options.vips.map(
      vip => `route add ${host32(vip)} via ${vip.includes(':') ? 'fd00:1:2::2' : '10.1.2.2'}`,
    ),
  )
  await balancer.ip(
    'route add default via 10.1.2.254',
    'route add ::/0 via fd00:1:2::254',
    ...['10.2.0.0/15', '10.4.0.0/24'].map(net => `route add ${net} via 10.2.0.254`),
    ...['fd00:2:1::/64', 'fd00:3::/32', 'fd00:4::/64'].map(net => `route add ${net} via fd00:2::254`),
    ...options.vips.map(vip => `addr add ${host32(vip)} dev eth0${vip.includes(':') ? ' nodad' : ''}`),
  )
  await core.ip('route add default via 10.2.1.2', 'route add ::/0 via fd00:2:1::2')
  await rack.ip(
    'route add default via 10.4.0.1',
    'route add ::/0 via fd00:4::1',
    'route add 10.2.0.0/24 via 10.2.1.1',
    'route add fd00:2::/64 via fd00:2:1::1',
  )
  const backends: RoutedBackend[] = []
  for (let number = 1; number <= (options.backends ?? 2); number++)
    backends.push(await addBackend(site, rack, number, files))
  if (options.isNear) await placeNear(site, balancer, backends)
  return { client, balancer, routers: { access, edge, core, rack }, backends }
}

/** Builds the site; what was built is taken down when a step fails. */
export const createRoutedLab = async (options: RoutedOptions): Promise<RoutedLab> => {
  const namespaces = createNamespaces()
  try {
    const files = join(namespaces.directory, 'files')
    mkdirSync(files)
    const links = new Map<LinkName, readonly [Port, Port]>()
    const hosts = await build({ namespaces, options, links }, files)
    const { prefix, directory, mountBpffs, close } = namespaces
    return {
      prefix,
      directory,
      files,
      ...hosts,
      vips: options.vips,
      links,
      setMtu: async (name, mtu) => {
        for (const { host, device } of links.get(name)!) await host.ip(`link set ${device} mtu ${mtu}`)
      },
      mountBpffs,
      close,
    }
  } catch (error) {
    await namespaces.close()
    throw error
  }
}
