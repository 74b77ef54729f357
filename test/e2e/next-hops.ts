import t from 'tap'
import type { Daemon } from '../../src/lab/daemon.js'
import { type Lab, VIP } from '../../src/lab/lab.js'
import {
  attachedXdp,
  type ConfigFile,
  fetchNames,
  openLab,
  openSite,
  siteConfig,
  skip,
  startOn,
} from '../fixtures/site.js'

const serving = async (client: Parameters<typeof fetchNames>[0], count = 40): Promise<string[]> =>
  [...new Set(await fetchNames(client, VIP, count))].sort()

/** Without a check a backend counts as up: only its next hop can keep it out. */
const unchecked = (backends: readonly object[]) => ({
  services: { web: { vip: VIP, port: 80, protocol: 'tcp', backends } },
})

/** Attached; whatever is not resolved stays so. */
const startReady = async (lab: Lab, config: ConfigFile): Promise<Daemon> => {
  const daemon = startOn(lab, config)
  await daemon.linimo('status', '--wait', '10s')
  return daemon
}

t.test('a backend that nobody answers for gets no packets, and status says so', { skip }, async t => {
  const lab = await openLab(t)
  const backends = [
    ...lab.backends.slice(0, 2).map(({ name, address }) => ({ name, address })),
    { name: 'ghost', address: '10.0.0.77' },
  ]
  const daemon = await startReady(lab, siteConfig(lab, unchecked(backends)))
  const row = await daemon.until(
    'web',
    'ghost',
    ({ reason }) => reason !== null && /does not answer/.test(reason),
    15_000,
  )
  t.equal(row.nextHop, null)
  t.equal(row.slots, 0)
  t.same(await serving(lab.client), ['b1', 'b2'])
})

t.test('a backend behind a gateway is no next hop for direct routing', { skip }, async t => {
  const lab = await openLab(t)
  await lab.balancer.ip('route add 10.9.0.0/16 via 10.0.0.12')
  const { name, address } = lab.backends[0]!
  const daemon = await startReady(
    lab,
    siteConfig(
      lab,
      unchecked([
        { name, address },
        { name: 'far', address: '10.9.0.5' },
      ]),
    ),
  )
  const row = await daemon.until('web', 'far', ({ reason }) => reason !== null)
  t.match(row.reason, /gateway/)
  t.same(await serving(lab.client), ['b1'])

  await lab.balancer.ip('route del 10.9.0.0/16', 'route add 10.9.0.0/16 dev eth0')
  await daemon.until('web', 'far', ({ reason }) => /does not answer|not resolved/.test(reason ?? ''), 10_000)
  t.pass('a route change is followed')
})

t.test(
  'packets of a service whose only backend has no next hop say so in their verdict',
  { skip },
  async t => {
    const lab = await openLab(t)
    const daemon = await startReady(
      lab,
      siteConfig(lab, unchecked([{ name: 'ghost', address: '10.0.0.77' }])),
    )
    await daemon.until('web', 'ghost', ({ reason }) => reason !== null)
    await lab.client.capture(['curl', '-s', '-m', '1', `http://${VIP}/`])
    const { verdicts } = await daemon.json<{ verdicts: Record<string, { packets: string }> }>('status')
    t.ok(Number(verdicts.DROP_NO_NEXT_HOP!.packets) > 0)
  },
)

t.test('a static next hop is used as given', { skip }, async t => {
  const lab = await openLab(t)
  const [first, second] = lab.backends
  const [link] = JSON.parse(await second!.run(['ip', '-j', 'link', 'show', 'dev', 'eth0'])) as {
    address: string
  }[]
  // The address is b1's, the MAC address b2's: who answers shows which of the two is used.
  const daemon = await startReady(
    lab,
    siteConfig(lab, unchecked([{ name: 'odd', address: first!.address, mac: link!.address }])),
  )
  const row = await daemon.until('web', 'odd', ({ slots }) => slots > 0)
  t.same(row.nextHop, { interface: 'eth0', mac: link!.address })
  t.same(await serving(lab.client, 5), ['b2'])
})

t.test('a MAC address that changes silently is followed', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const victim = lab.backends[0]!
  // No gratuitous ARP: only who asks learns of it.
  await victim.sysctl({ 'ipv4/conf/eth0/arp_notify': 0, 'ipv6/conf/eth0/ndisc_notify': 0 })
  await victim.run([
    'sh',
    '-c',
    'ip link set eth0 down; ip link set eth0 address 02:00:00:00:be:ef; ip link set eth0 up',
  ])
  const row = await daemon.until(
    'web4',
    'b1',
    ({ nextHop, slots }) => nextHop?.mac === '02:00:00:00:be:ef' && slots > 0,
    40_000,
  )
  t.equal(row.health, 'up')
  t.same(await serving(lab.client), ['b1', 'b2', 'b3'])
})

t.test("the balancer's own MAC address may change", { skip }, async t => {
  const { lab } = await openSite(t)
  await lab.balancer.ip('link set eth0 address 02:00:00:00:aa:aa')
  await lab.client.run(['ping', '-c', '1', '-W', '2', '10.0.0.2'])
  await lab.client.ip('neigh flush dev eth0')
  t.same(await serving(lab.client), ['b1', 'b2', 'b3'])
})

t.test('an interface that vanishes and returns by name is attached again', { skip }, async t => {
  const lab = await openLab(t)
  await lab.balancer.ip('link add tap0 type veth peer name tap1', 'link set tap0 up', 'link set tap1 up')
  const daemon = startOn(lab, siteConfig(lab, { interfaces: ['eth0', 'tap0'] }))
  await daemon.ready()
  const mode = async () =>
    (await daemon.json<{ interfaces: { name: string; mode: string | null }[] }>('status')).interfaces.find(
      ({ name }) => name === 'tap0',
    )?.mode
  const becomes = async (wanted: (mode: string | null | undefined) => boolean) => {
    for (let waited = 0; waited < 10_000; waited += 100) {
      if (wanted(await mode())) return true
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    return false
  }
  t.type(await mode(), 'string')
  await lab.balancer.ip('link del tap0')
  t.ok(await becomes(mode => mode === null), 'its loss is shown')
  t.same(await serving(lab.client), ['b1', 'b2', 'b3'], 'the other one goes on')
  await lab.balancer.ip('link add tap0 type veth peer name tap1', 'link set tap0 up', 'link set tap1 up')
  t.ok(await becomes(mode => typeof mode === 'string'))
  t.ok(await attachedXdp(lab.balancer, 'tap0'))
})
