/** NAT: real servers on other ports behind the balancer, which is their gateway. */
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, type ClientName, type TranslatedLab, WEB_PORT } from '../../src/lab/translated.js'
import { startCapture } from '../fixtures/capture.js'
import { readFlowPackets } from '../fixtures/flow-packets.js'
import { complaintsAboutCapture } from '../fixtures/pcap.js'
import { send } from '../fixtures/scapy.js'
import { ask, countVerdicts, inUrl, serve, skip } from '../fixtures/site.js'
import { bothLegs, compareLegs } from '../fixtures/translated-legs.js'
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

t.test('NAT', { skip }, async t => {
  const site = await openTranslatedSite(t, config)
  const { lab, daemon } = site
  const { near, far1 } = lab.clients
  makeTransferFile(lab)
  makeFile(seenBy(lab, near), 'small', 1 << 20)

  await t.test('clients on the same network, behind a gateway, and behind another one', t =>
    soundly(t, lab, async () => {
      for (const name of clientNames)
        for (const { vip, index } of families) {
          const title = `${name}, ${vip}`
          const web = await askWho(lab.clients[name], vip, 20)
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
    const capture = await startCapture(lab.directory, bothLegs(near, lab.inside))
    for (const { vip } of families) {
      await askWho(near, vip, 20)
      await askNames(near, vip, 20)
      await near.capture(['curl', '-sS', '-o', '/dev/null', '-m', '20', `http://${inUrl(vip)}/files/small`])
    }
    const files = await capture.end()
    for (const { vip, family, index } of families) {
      const from = ADDRESSES.near[index]
      const backends = lab.inside.map(({ name, address, address6 }) => ({
        name,
        address: family === 4 ? address : address6,
        file: files[name]!,
      }))
      for (const [what, port, to] of [
        ['HTTP', 80, WEB_PORT],
        ['DNS', 53, DNS_PORT],
      ] as const) {
        const title = `${what} of ${vip}`
        const isSource = (address: string): boolean => address === from
        const legs = { title, client: files.client!, backends, from, vip, port, to, isSource, hops: 1 }
        const flows = compareLegs(t, legs)
        t.same([...new Set(flows.map(({ backend }) => backend))].sort(), ['b1', 'b2'])
        t.ok(
          flows.every(({ client, seen }) => client.port === seen.port),
          `${title}: the client's own ports`,
        )
      }
    }
    const strangers = readFlowPackets(files.client!)
      .flatMap(({ from, to }) => [from, to])
      .filter(({ address }) => ![VIP, VIP6, ...ADDRESSES.near].includes(address))
    t.same(strangers, [], 'the client meets nobody but the VIPs')
    for (const [end, file] of Object.entries(files)) t.same(complaintsAboutCapture(file), [], end)
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
    const capture = await startCapture(lab.directory, { far1: { host: far1, device: 'eth0' } })
    await send(
      { host: b1!, device: 'eth0' },
      { host: lab.balancer, device: 'eth1' },
      families.map(({ family, index }) => {
        const [from, to] = [family === 4 ? b1!.address : b1!.address6, ADDRESSES.far1[index]]
        const ip = `${family === 4 ? 'IP' : 'IPv6'}(src="${from}",dst="${to}")`
        return `${ip}/TCP(sport=${WEB_PORT},dport=9999,flags="S")`
      }),
    )
    const { far1: file } = await capture.end()
    t.same(
      readFlowPackets(file!)
        .filter(({ isSyn }) => isSyn)
        .map(({ from }) => from),
      [b1!.address, b1!.address6].map(address => ({ address, port: WEB_PORT })),
    )
  })
})
