/**
 * A small site in network namespaces: a client, the balancer's host, backends with nginx, all on one switch (one arm),
 * or the backends on a second one, behind a router for their answers (two arms).
 *
 *   one arm   client 10.0.0.1, balancer 10.0.0.2 (eth0), backends 10.0.0.11 ...; and fd00:10::1, ::2, ::11 ...
 *   two arms  front 10.0.1.0/24, fd00:11::/64: client .1, balancer .2 (eth0), router .254
 *             back  10.0.0.0/24, fd00:10::/64: balancer .2 (eth1), backends .11 ..., router .254
 *
 * The VIPs are routed to the balancer, are on its eth0, and on every backend's loopback.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createNamespaces, type Host } from './namespaces.js'
import { addSwitch, type Switch } from './network.js'
import { type WebServer, webServer } from './nginx.js'

export interface BackendHost extends Host {
  readonly name: string
  readonly address: string
  readonly address6: string
  readonly web: WebServer
}

export interface Lab {
  readonly prefix: string
  /** For files that vanish with the lab. */
  readonly directory: string
  /** What the backends serve below /files/ and /slow/. */
  readonly files: string
  readonly client: Host
  readonly balancer: Host
  readonly backends: readonly BackendHost[]
  /** One more backend, `b4` after `b3`, its nginx running. */
  readonly addBackend: () => Promise<BackendHost>
  /** One more client, on the backends' switch: it reaches the VIPs through the balancer's interface there. XDP can send from it. */
  readonly addNeighbour: () => Promise<Host>
  /** A bpf file system for pins, mounted below `directory`; it goes with the lab. */
  readonly mountBpffs: () => Promise<string>
  readonly close: () => Promise<void>
}

export interface LabOptions {
  readonly arms?: 1 | 2
  readonly backends?: number
  /** Without prefix length. */
  readonly vips?: readonly string[]
}

export const VIP = '192.0.2.10'
export const VIP6 = '2001:db8::10'

const hostPrefix = (address: string) => `${address}/${address.includes(':') ? 128 : 32}`
const onHost = (address: string, device: string) =>
  `addr add ${hostPrefix(address)} dev ${device}${address.includes(':') ? ' nodad' : ''}`

/** A VIP is reached by way of the balancer. */
const routeTo = (vip: string, net4: string, net6: string) =>
  `route add ${hostPrefix(vip)} via ${vip.includes(':') ? `${net6}::2` : `${net4}.2`}`

const addBackendHost = async (site: Site, number: number): Promise<BackendHost> => {
  const name = `b${number}`
  const address = `10.0.0.${10 + number}`
  const address6 = `fd00:10::${10 + number}`
  const host = await site.namespaces.add(name)
  // Set before the interface exists: it must never answer ARP for the VIP on its loopback.
  await host.sysctl({
    'ipv4/conf/all/arp_ignore': 1,
    'ipv4/conf/all/arp_announce': 2,
    'ipv4/conf/default/arp_ignore': 1,
    'ipv4/conf/default/arp_announce': 2,
  })
  await host.ip(...site.vips.map(vip => onHost(vip, 'lo')))
  await site.back.connect(host, 'eth0', [`${address}/24`, `${address6}/64`])
  await host.ip(
    ...(site.arms === 2 ? ['route add default via 10.0.0.254', 'route add ::/0 via fd00:10::254'] : []),
  )
  const web = webServer(host, name, join(site.namespaces.directory, name), site.files)
  await web.start()
  return { ...host, name, address, address6, web }
}

interface Site {
  readonly namespaces: ReturnType<typeof createNamespaces>
  readonly arms: 1 | 2
  readonly vips: readonly string[]
  readonly files: string
  readonly back: Switch
}

const addRouter = async ({ namespaces, back }: Site, front: Switch) => {
  const router = await namespaces.add('router')
  await router.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })
  await front.connect(router, 'eth0', ['10.0.1.254/24', 'fd00:11::254/64'])
  await back.connect(router, 'eth1', ['10.0.0.254/24', 'fd00:10::254/64'])
}

/** Builds the site; what was built is taken down when a step fails. */
export const createLab = async (options: LabOptions = {}): Promise<Lab> => {
  const arms = options.arms ?? 1
  const vips = options.vips ?? [VIP, VIP6]
  const namespaces = createNamespaces()
  try {
    const files = join(namespaces.directory, 'files')
    mkdirSync(files)
    const back = await addSwitch(namespaces, 'switch')
    const front = arms === 2 ? await addSwitch(namespaces, 'front') : back
    const net = arms === 2 ? { v4: '10.0.1', v6: 'fd00:11' } : { v4: '10.0.0', v6: 'fd00:10' }
    const site: Site = { namespaces, arms, vips, files, back }

    const balancer = await namespaces.add('balancer')
    await front.connectXdp(balancer, 'eth0', [`${net.v4}.2/24`, `${net.v6}::2/64`])
    if (arms === 2) await back.connectXdp(balancer, 'eth1', ['10.0.0.2/24', 'fd00:10::2/64'])
    await balancer.ip(...vips.map(vip => onHost(vip, 'eth0')))

    const client = await namespaces.add('client')
    await front.connect(client, 'eth0', [`${net.v4}.1/24`, `${net.v6}::1/64`])
    await client.ip(...vips.map(vip => routeTo(vip, net.v4, net.v6)))
    if (arms === 2) {
      await addRouter(site, front)
      await client.ip('route add 10.0.0.0/24 via 10.0.1.254', 'route add fd00:10::/64 via fd00:11::254')
    }

    const backends: BackendHost[] = []
    const addBackend = async () => {
      const backend = await addBackendHost(site, backends.length + 1)
      backends.push(backend)
      return backend
    }
    for (let number = 1; number <= (options.backends ?? 3); number++) await addBackend()
    const addNeighbour = async () => {
      const host = await namespaces.add('neighbour')
      await back.connectXdp(host, 'eth0', ['10.0.0.100/24', 'fd00:10::100/64'])
      await host.ip(...vips.map(vip => routeTo(vip, '10.0.0', 'fd00:10')))
      return host
    }
    const { prefix, directory, mountBpffs, close } = namespaces
    return {
      prefix,
      directory,
      files,
      client,
      balancer,
      backends,
      addBackend,
      addNeighbour,
      mountBpffs,
      close,
    }
  } catch (error) {
    await namespaces.close()
    throw error
  }
}
