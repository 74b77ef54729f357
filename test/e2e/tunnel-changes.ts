/** Tunnels under traffic: routes and modes that change, and backends that take nothing apart. */
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import type { Running } from '../../src/lab/process.js'
import { leaveBackend } from '../fixtures/joined.js'
import type { StreamResult } from '../fixtures/pinned-site.js'
import {
  allCases,
  ECHO_PORT,
  openRoutedSite,
  reconfigure,
  type TunnelCase,
  tunnelConfig,
  tunnels,
} from '../fixtures/routed-site.js'
import { macOf } from '../fixtures/scapy.js'
import { countVerdicts, inUrl, serve, skip } from '../fixtures/site.js'

const FLOWS = 24
const PER_SECOND = 300
const named = (name: string): TunnelCase => allCases.find(one => one.name === name)!
/** One over IPv4, one over IPv6: their routes are changed together. */
const streamed = [named('ipip-4in4'), named('gue-4in6')] as const

t.test('tunnels under traffic', { skip }, async t => {
  const { lab, daemon } = await openRoutedSite(t, { vips: allCases.map(({ vip }) => vip) }, lab =>
    tunnelConfig(lab, streamed),
  )
  const { core } = lab.routers
  const start = () =>
    Promise.all(streamed.map(({ vip }) => serve(lab.client, 'udp-stream', vip, ECHO_PORT, FLOWS, PER_SECOND)))
  const end = async (running: Running): Promise<StreamResult> => {
    running.stdin.end()
    const { stdout } = await running.exited
    return JSON.parse(stdout.slice(stdout.indexOf('{'))) as StreamResult
  }
  const goes = async (device: string, mac: string) => {
    const isThere = ({ nextHop }: BackendRow) => nextHop?.interface === device && nextHop.mac === mac
    let rows: readonly BackendRow[] = []
    for (let tries = 0; tries < 50; tries++) {
      rows = await daemon.json<BackendRow[]>('backend', 'list')
      if (rows.every(isThere)) return
    }
    throw new Error(`not every backend is reached by ${device} and ${mac}: ${JSON.stringify(rows)}`)
  }
  const route = (gateway4: string, gateway6: string, device: string) =>
    lab.balancer.ip(
      `route replace 10.2.0.0/15 via ${gateway4} dev ${device}`,
      `route replace fd00:3::/32 via ${gateway6} dev ${device}`,
    )

  await t.test('routes: no packet is lost, on whichever way', async t => {
    // A second gateway on the same link.
    await core.sysctl({ 'ipv4/conf/all/arp_ignore': 1, 'ipv6/conf/back/keep_addr_on_down': 1 })
    await core.ip(
      'link add other link back type macvlan mode bridge',
      'addr add 10.2.0.253/32 dev other',
      'addr add fd00:2::253/128 dev other nodad',
      'link set other up',
    )
    const back = await macOf({ host: core, device: 'back' })
    const other = await macOf({ host: core, device: 'other' })
    const front = await macOf({ host: lab.routers.edge, device: 'front' })
    await goes('eth1', back)
    const streams = await start()
    const before = await countVerdicts(daemon)

    await route('10.2.0.253', 'fd00:2::253', 'eth1')
    await goes('eth1', other)
    await route('10.1.2.254', 'fd00:1:2::254', 'eth0')
    await goes('eth0', front)
    // Nothing goes by the old way any more.
    await core.ip('link set back down')
    await new Promise(resolve => setTimeout(resolve, 300))
    await core.ip('link set back up')
    await route('10.2.0.254', 'fd00:2::254', 'eth1')
    await goes('eth1', back)

    for (const [i, stream] of streams.entries()) {
      const { sent, lost, torn } = await end(stream)
      t.ok(sent > 100, `${streamed[i]!.name}: ${sent} sent`)
      t.same({ lost, torn }, { lost: 0, torn: 0 }, streamed[i]!.name)
    }
    const after = await countVerdicts(daemon)
    const grown = Object.keys(after).filter(name => after[name] !== before[name])
    t.same(grown.filter(name => !name.startsWith('PASS')).sort(), [
      'REDIRECT_GUE',
      'REDIRECT_IPIP',
      'TX_GUE',
      'TX_IPIP',
    ])
  })

  await t.test('modes: no packet is lost while they change, or when each backend has its own', async t => {
    const streams = await start()
    const before = await countVerdicts(daemon)
    for (const forward of [tunnels.gre, tunnels['gue-bare'], tunnels['gre-key'], tunnels.gue])
      await reconfigure(daemon, tunnelConfig(lab, streamed, { forward }))
    const own = (one: TunnelCase) =>
      lab.backends.map(({ name, address, address6 }, i) => ({
        name,
        address: one.outer === 4 ? address : address6,
        forward: i === 0 ? 'ipip' : tunnels['gre-key'],
      }))
    await reconfigure(daemon, tunnelConfig(lab, streamed, {}, own))
    for (const [i, stream] of streams.entries()) {
      const { sent, lost, torn } = await end(stream)
      t.ok(sent > 100, `${streamed[i]!.name}: ${sent} sent`)
      t.same({ lost, torn }, { lost: 0, torn: 0 }, streamed[i]!.name)
    }
    const after = await countVerdicts(daemon)
    const shrunk = Object.keys(before).filter(verdict => (after[verdict] ?? 0) < before[verdict]!)
    t.same(shrunk, [], 'what was counted by one mode stays so')
    for (const verdict of ['REDIRECT_IPIP', 'REDIRECT_GRE', 'REDIRECT_GUE'])
      t.ok(after[verdict]! > (before[verdict] ?? 0), verdict)
  })

  await t.test('a backend without a decapsulator: its clients are told, and it is counted', async t => {
    const [, deaf] = lab.backends
    await leaveBackend(lab, deaf!.name)
    await deaf!.sysctl({ 'ipv4/icmp_ratelimit': 0, 'ipv6/icmp/ratelimit': 0 })
    await reconfigure(
      daemon,
      tunnelConfig(lab, allCases, {}, ({ outer }) => [
        { name: 'deaf', address: outer === 4 ? deaf!.address : deaf!.address6 },
      ]),
    )
    const told = (await countVerdicts(daemon)).TX_TUNNEL_ERROR ?? 0
    const heard = await Promise.all(
      allCases.map(({ vip }) => lab.client.capture(['curl', '-sv', '-m', '10', `http://${inUrl(vip)}/`])),
    )
    for (const [i, { name }] of allCases.entries()) t.match(heard[i]!.stderr, /No route to host/, name)
    t.ok((await countVerdicts(daemon)).TX_TUNNEL_ERROR! >= told + allCases.length, 'TX_TUNNEL_ERROR')
  })
})
