/** NAT: real servers on other ports behind the balancer, which is their gateway. */
import t, { type Test } from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { download, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, type ClientName, type TranslatedLab, WEB_PORT } from '../../src/lab/translated.js'
import { startCapture } from '../fixtures/capture.js'
import { type FlowPacket, inOrder, isEnd, readFlowPackets } from '../fixtures/flow-packets.js'
import { complaintsAbout } from '../fixtures/pcap.js'
import { ask, countVerdicts, inUrl, serve, skip } from '../fixtures/site.js'
import {
  askNames,
  askWho,
  DNS_PORT,
  FILE,
  isWhole,
  makeTransferFile,
  openTranslatedSite,
  seenBy,
  soundly,
  type TranslatedSite,
  translatedServices,
  VIP,
  VIP6,
} from '../fixtures/translated-site.js'

const config = (lab: TranslatedLab) => ({
  interfaces: ['eth0', 'eth1'],
  services: translatedServices(lab.inside, { forward: 'nat' }),
})
const families = [
  { family: 4, vip: VIP, index: 0 },
  { family: 6, vip: VIP6, index: 1 },
] as const
const clientNames: readonly ClientName[] = ['near', 'far1', 'far2']

/** As it leaves the balancer for the backend, and for the client. */
const translated = (packet: FlowPacket, ends: Partial<Pick<FlowPacket, 'from' | 'to'>>): FlowPacket => ({
  ...packet,
  ...ends,
  ttl: packet.ttl - 1,
})

/** What a client and the backends had on their wires, of one service: the same packets, translated. */
const compareLegs = (
  t: Test,
  site: TranslatedSite,
  files: Readonly<Record<string, string>>,
  { client, vip, port, to }: { client: string; vip: string; port: number; to: number },
): void => {
  const outside = readFlowPackets(files.client!).filter(({ from, to }) =>
    [from, to].some(end => isEnd(end, vip, port)),
  )
  const requests = outside.filter(packet => isEnd(packet.to, vip, port))
  const replies = outside.filter(packet => isEnd(packet.from, vip, port))
  t.ok(requests.length > 2 && replies.length > 2, `${requests.length} requests, ${replies.length} replies`)
  t.ok(outside.every(({ from, to }) => [from, to].some(end => isEnd(end, client))))
  const backends = site.lab.inside.map(({ name, address, address6 }) => ({
    address: vip.includes(':') ? address6 : address,
    packets: readFlowPackets(files[name]!),
  }))
  const inside = backends.flatMap(({ packets, address }) =>
    packets.filter(
      ({ from, to: end }) =>
        (isEnd(from, client) && isEnd(end, address, to)) || (isEnd(end, client) && isEnd(from, address, to)),
    ),
  )
  const backendOf = new Map(
    inside.filter(({ from }) => isEnd(from, client)).map(({ from, to: end }) => [from.port, end]),
  )
  t.ok(new Set([...backendOf.values()].map(({ address }) => address)).size > 1, 'each backend had some')
  t.same(
    inOrder(inside.filter(({ from }) => isEnd(from, client))),
    inOrder(requests.map(packet => translated(packet, { to: backendOf.get(packet.from.port)! }))),
    'requests: only the destination is another, and the TTL one less',
  )
  t.same(
    inOrder(replies),
    inOrder(
      inside
        .filter(({ to: end }) => isEnd(end, client))
        .map(packet => translated(packet, { from: { address: vip, port } })),
    ),
    'replies: only the source is another, and the TTL one less',
  )
}

t.test('NAT', { skip }, async t => {
  const site = await openTranslatedSite(t, config)
  const { lab, daemon } = site
  const { near, far1 } = lab.clients
  makeTransferFile(lab)

  await t.test('clients on the same network, behind a gateway, and behind another one', t =>
    soundly(t, lab, async () => {
      for (const name of clientNames)
        for (const { vip, index } of families) {
          const title = `${name}, ${vip}`
          const web = await askWho(lab.clients[name], vip, 12)
          t.ok(
            web.every(who => who?.address === ADDRESSES[name][index]),
            `${title}: the servers see the client itself`,
          )
          t.same([...new Set(web.map(who => who?.backend))].sort(), ['b1', 'b2'], `${title}: from both`)
          const names = await askNames(lab.clients[name], vip, 24)
          t.ok(
            names.every(who => who?.address === ADDRESSES[name][index]),
            `${title}: DNS ${JSON.stringify(names[0])}`,
          )
          t.same([...new Set(names.map(who => who?.backend))].sort(), ['b1', 'b2'])
        }
    }),
  )

  await t.test('on the wires: addresses, ports, TTL, and nothing else', async t => {
    const ends = {
      client: { host: near, device: 'eth0' },
      ...Object.fromEntries(lab.inside.map(host => [host.name, { host, device: 'eth0' }])),
    }
    const capture = await startCapture(lab.directory, ends)
    for (const { vip } of families) {
      await askWho(near, vip, 12)
      await askNames(near, vip, 12)
      await near.capture(['curl', '-sS', '-o', '/dev/null', '-m', '20', `http://${inUrl(vip)}/files/${FILE}`])
    }
    const files = await capture.end()
    for (const { vip, index } of families) {
      const client = ADDRESSES.near[index]
      await t.test(`HTTP of ${vip}`, async t =>
        compareLegs(t, site, files, { client, vip, port: 80, to: WEB_PORT }),
      )
      await t.test(`DNS of ${vip}`, async t =>
        compareLegs(t, site, files, { client, vip, port: 53, to: DNS_PORT }),
      )
    }
    const strangers = readFlowPackets(files.client!)
      .flatMap(({ from, to }) => [from, to])
      .filter(({ address }) => ![VIP, VIP6, ...ADDRESSES.near].includes(address))
    t.same(strangers, [], 'the client meets nobody but the VIPs')
    for (const [end, file] of Object.entries(files)) t.same(complaintsAbout(file), [], end)
  })

  await t.test('20 MB both ways, and no packet but those of the services was touched', t =>
    soundly(t, lab, async () => {
      const before = await countVerdicts(daemon)
      for (const client of [near, far1])
        for (const { vip } of families) {
          t.match(await download(seenBy(lab, client), inUrl(vip), FILE), isWhole, `${vip}, download`)
          t.match(await upload(seenBy(lab, client), inUrl(vip), FILE), isWhole, `${vip}, upload`)
        }
      const after = await countVerdicts(daemon)
      const grown = Object.keys(after).filter(name => after[name] !== (before[name] ?? 0))
      t.same(
        grown.filter(name => !name.startsWith('PASS_')).sort(),
        ['REDIRECT_NAT', 'REDIRECT_NAT_REPLY'],
        'all of it came by translation',
      )
    }),
  )

  await t.test("the balancer's own traffic with backends, and theirs with its host, is nobody's", async t => {
    for (const { name, address, address6 } of lab.inside)
      for (const host of [address, address6]) {
        const url = `http://${inUrl(host)}:${WEB_PORT}/who?token=own`
        t.match(await lab.balancer.run(['curl', '-sS', '-m', '5', url]), new RegExp(`^${name} .* own`))
      }
    await serve(lab.balancer, 'udp-echo', 'host', 7777, '10.2.0.2', 'fd00:2::2')
    for (const to of ['10.2.0.2', 'fd00:2::2'])
      t.equal(await ask(lab.inside[0]!, 'udp-ask', to, 7777, 1, 32), '["host"]')
    const health = (await daemon.json<BackendRow[]>('backend', 'list')).filter(({ service }) =>
      service.startsWith('web'),
    )
    t.ok(health.length === 4 && health.every(row => row.health === 'up' && row.reason === null))
  })

  await t.test("a backend's own connections pass, and the host's kernel routes them", async t => {
    await lab.balancer.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })
    for (const gate of [lab.gates.gate1, near])
      await gate.ip('route add 10.2.0.0/24 via 10.1.0.2', 'route add fd00:2::/64 via fd00:1::2')
    await serve(far1, 'tcp-named', 'far1', 9000)
    await serve(far1, 'udp-echo', 'far1', 9001, ...ADDRESSES.far1)
    const [b1] = lab.inside
    for (const to of ADDRESSES.far1) {
      t.equal(await ask(b1!, 'tcp-connect', to, 9000), 'connected', to)
      t.equal(await ask(b1!, 'udp-ask', to, 9001, 1, 100), '["far1"]', to)
    }
    // From the very port that serves: a SYN is no reply.
    const [v4] = ADDRESSES.far1
    await b1!.web.stop()
    const own = await b1!.capture(
      ['curl', '-sS', '-m', '3', '--local-port', String(WEB_PORT), `telnet://${v4}:9000`],
      {
        input: 'hello\n',
        timeoutMs: 4000,
      },
    )
    t.match(own.stdout, /^far1 hello/, `a connection of its own from the service's port: ${own.stderr}`)
    await b1!.web.start()
    await daemon.until('web4', 'b1', ({ health }) => health === 'up')
    t.equal((await askWho(far1, VIP, 6)).filter(Boolean).length, 6, 'and the service goes on')
  })
})
