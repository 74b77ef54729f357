/** Backends behind routers: the next hop, the MTU and the source that the route says, and what routers say of the path. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { addressText, macText } from '../../src/address.js'
import { type Daemon, startDaemon } from '../../src/lab/daemon.js'
import { VIP, VIP6 } from '../../src/lab/lab.js'
import type { Host } from '../../src/lab/namespaces.js'
import { createRoutedLab, type RoutedLab } from '../../src/lab/routed.js'
import { type BackendRecord, type PinnedRecords, pinnedRecords } from '../fixtures/pinned-records.js'
import { skip } from '../fixtures/site.js'

const OTHER_GATEWAY = '02:00:00:00:0f:0f'
const RESOLVED = 1

interface Site {
  readonly lab: RoutedLab
  readonly start: () => Promise<Daemon>
  readonly records: PinnedRecords
}

/** UDP services of both families, each in a tunnel of its own family to the first backend. */
const openSite = async (t: Test): Promise<Site> => {
  const lab = await createRoutedLab({ backends: 1, vips: [VIP, VIP6] })
  t.teardown(() => lab.close())
  const pinDir = `${await lab.mountBpffs()}/linimo/main`
  const { name, address, address6 } = lab.backends[0]!
  const service = (vip: string, backend: string) => ({
    vip,
    port: 7,
    protocol: 'udp',
    forward: 'ipip',
    backends: [{ name, address: backend }],
  })
  const config = {
    interfaces: ['eth0', 'eth1'],
    services: { four: service(VIP, address), six: service(VIP6, address6) },
  }
  return {
    lab,
    records: pinnedRecords(pinDir),
    start: async () => {
      const daemon = startDaemon(lab.balancer, {
        instance: `${lab.prefix}-main`,
        directory: lab.directory,
        config: JSON.stringify(config),
        pinDir,
      })
      await daemon.ready()
      return daemon
    },
  }
}

/** Waits until the record is so; it is returned in any case. */
const becomes = async (
  { records }: Site,
  address: string,
  isSo: (record: BackendRecord) => boolean,
  timeoutMs = 5000,
): Promise<BackendRecord> => {
  let record: BackendRecord | undefined
  for (let waited = 0; waited < timeoutMs; waited += 50) {
    record = await records.backend(address)
    if (record && isSo(record)) return record
    await sleep(50)
  }
  if (!record) throw new Error(`there is no record of ${address}`)
  return record
}

const linkOf = async (host: Host, device: string) => {
  const text = await host.run(['ip', '-j', 'link', 'show', 'dev', device])
  return (JSON.parse(text) as { address: string; ifindex: number }[])[0]!
}

/** One packet of this length to a VIP, DF set. */
const send = (host: Host, vip: string, length: number): Promise<unknown> => {
  const headers = vip.includes(':') ? 48 : 28
  return host.capture(['bash', '-c', `head -c ${length - headers} /dev/zero >/dev/udp/${vip}/7`])
}

/** The Ethernet destinations of the frames to an address that a device meets while something is done. */
const destinationsOf = async (host: Host, device: string, address: string, done: () => Promise<unknown>) => {
  const running = host.start(['tcpdump', '-i', device, '-e', '-n', '-l', '-c', '1', 'dst', 'host', address])
  for (let waited = 0; !running.output().stderr.includes('listening'); waited += 20) {
    if (waited > 10_000) throw new Error(`tcpdump does not listen: ${running.output().stderr}`)
    await sleep(20)
  }
  await done()
  for (let waited = 0; waited < 5000 && !running.output().stdout.includes('\n'); waited += 20) await sleep(20)
  await running.stop()
  return [...running.output().stdout.matchAll(/> ([0-9a-f:]{17}),/g)].map(([, mac]) => mac)
}

t.test("the gateway is a tunnel's next hop, and a route that changes is followed", { skip }, async t => {
  const site = await openSite(t)
  const { lab } = site
  const { balancer, client, routers } = lab
  const { address, address6 } = lab.backends[0]!
  await site.start()
  const [own, core, edge] = [
    await linkOf(balancer, 'eth1'),
    await linkOf(routers.core, 'back'),
    await linkOf(routers.edge, 'front'),
  ]

  for (const [vip, backend, source, mtu] of [
    [VIP, address, '10.2.0.2', 1480],
    [VIP6, address6, 'fd00:2::2', 1460],
  ] as const) {
    const record = await becomes(site, backend, ({ flags }) => (flags & RESOLVED) !== 0)
    t.equal(macText(record.dstMac), core.address)
    t.equal(macText(record.srcMac), own.address)
    t.equal(record.ifindex, own.ifindex)
    t.equal(record.mtu, mtu)
    t.equal(addressText(record.source), source)
    t.same(await destinationsOf(routers.core, 'back', backend, () => send(client, vip, 100)), [core.address])
  }

  // Another gateway on the same link: nobody is there, but its frames are seen.
  await balancer.ip(
    `neigh replace 10.2.0.253 lladdr ${OTHER_GATEWAY} dev eth1 nud permanent`,
    `neigh replace fd00:2::fd lladdr ${OTHER_GATEWAY} dev eth1 nud permanent`,
    'route replace 10.2.0.0/15 via 10.2.0.253 mtu 1400',
    'route replace fd00:3::/32 via fd00:2::fd mtu 1400',
  )
  for (const [vip, backend, mtu] of [
    [VIP, address, 1380],
    [VIP6, address6, 1360],
  ] as const) {
    const record = await becomes(site, backend, ({ dstMac }) => macText(dstMac) === OTHER_GATEWAY)
    t.equal(macText(record.dstMac), OTHER_GATEWAY)
    t.equal(record.mtu, mtu)
    t.same(await destinationsOf(routers.core, 'back', backend, () => send(client, vip, 100)), [OTHER_GATEWAY])
  }

  // By another interface; the routes that are left are the default ones.
  await balancer.ip('route del 10.2.0.0/15', 'route del fd00:3::/32')
  for (const [vip, backend, source] of [
    [VIP, address, '10.1.2.2'],
    [VIP6, address6, 'fd00:1:2::2'],
  ] as const) {
    const record = await becomes(site, backend, ({ dstMac }) => macText(dstMac) === edge.address)
    t.equal(macText(record.dstMac), edge.address)
    t.equal(addressText(record.source), source)
    t.same(await destinationsOf(routers.edge, 'front', backend, () => send(client, vip, 100)), [edge.address])
  }

  await balancer.ip(`route add blackhole ${address}`, `route add blackhole ${address6}`)
  for (const backend of [address, address6]) {
    const record = await becomes(site, backend, ({ flags }) => (flags & RESOLVED) === 0)
    t.equal(record.flags & RESOLVED, 0, 'a blackhole is no way')
  }
})

t.test("a device's MTU that changes is followed, of the way out and of the way in", { skip }, async t => {
  const site = await openSite(t)
  const { balancer, backends, routers } = site.lab
  await site.start()
  const { ifindex } = await linkOf(balancer, 'eth1')
  for (const mtu of [1400, 1500]) {
    await routers.core.ip(`link set back mtu ${mtu}`)
    await balancer.ip(`link set eth1 mtu ${mtu}`)
    const record = await becomes(site, backends[0]!.address, record => record.mtu === mtu - 20)
    t.equal(record.mtu, mtu - 20)
    let entry: number | undefined
    for (let waited = 0; waited < 5000 && entry !== mtu; waited += 50) {
      entry = (await site.records.interfaces()).find(one => one.ifindex === ifindex)?.mtu
      await sleep(50)
    }
    t.equal(entry, mtu)
  }
})

t.test(
  "what a router on the path says lowers the tunnel's MTU until the route changes",
  { skip },
  async t => {
    const site = await openSite(t)
    const { balancer, client, backends, routers, setMtu } = site.lab
    const { address, address6 } = backends[0]!
    const daemon = await site.start()
    await setMtu('mid', 1400)
    const families = [
      [VIP, address, 20],
      [VIP6, address6, 40],
    ] as const
    for (const [vip, backend, overhead] of families) {
      const fits = await destinationsOf(routers.rack, 'mid', backend, () =>
        send(client, vip, 1400 - overhead),
      )
      t.equal(fits.length, 1, 'what is as long as the path takes arrives')
      t.equal((await site.records.pathMtus()).get(backend), undefined)
      await send(client, vip, 1401 - overhead)
      const { mtu } = await becomes(site, backend, ({ mtu }) => mtu === 1400 - overhead)
      t.equal(mtu, 1400 - overhead)
    }
    t.same([...(await site.records.pathMtus())].sort(), [
      [address, 1400],
      [address6, 1400],
    ])

    // A daemon that starts again goes on with what the pinned map says.
    await daemon.stop('SIGKILL')
    await site.start()
    for (const [, backend, overhead] of families)
      t.equal((await site.records.backend(backend))?.mtu, 1400 - overhead)

    await balancer.ip('route replace 10.2.0.0/15 via 10.2.0.254 mtu 1490')
    const { mtu } = await becomes(site, address, ({ mtu }) => mtu === 1470)
    t.equal(mtu, 1470, 'another route is another path')
    t.same([...(await site.records.pathMtus())], [[address6, 1400]])
    t.equal((await site.records.backend(address6))?.mtu, 1360)
  },
)

t.test("no router's word makes a path take less than clients send anyway", { skip }, async t => {
  const site = await openSite(t)
  const { client, backends, setMtu } = site.lab
  const { address6 } = backends[0]!
  await site.start()
  await setMtu('mid', 1300)
  t.equal((await site.records.backend(address6))?.mtu, 1460)
  await send(client, VIP6, 1400)
  const { mtu } = await becomes(site, address6, ({ mtu }) => mtu < 1460)
  t.same([...(await site.records.pathMtus())], [[address6, 1300]])
  t.equal(mtu, 1280, 'not 1260: less is told to no IPv6 client with success')
})

t.test("what the balancer's own host has learnt of the path counts too", { skip }, async t => {
  const site = await openSite(t)
  const { balancer, backends, setMtu } = site.lab
  const { address } = backends[0]!
  await site.start()
  await setMtu('mid', 1400)
  await balancer.capture(['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1400', address])
  t.match(await balancer.run(['ip', 'route', 'get', address]), /mtu 1400/, 'the kernel has an exception')
  // Of which it tells nobody: it is asked for every ten seconds.
  const { mtu } = await becomes(site, address, ({ mtu }) => mtu === 1380, 20_000)
  t.equal(mtu, 1380)
  t.equal((await site.records.pathMtus()).size, 0)
})
