/** FULLNAT: backends in any network, of any family, on any port; what they answer goes to local addresses of the balancer. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, type TranslatedBackend, type TranslatedLab, WEB_PORT } from '../../src/lab/translated.js'
import { startCapture } from '../fixtures/capture.js'
import { readFlowPackets } from '../fixtures/flow-packets.js'
import { complaintsAboutCapture } from '../fixtures/pcap.js'
import { countVerdicts, inUrl, serve, skip } from '../fixtures/site.js'
import { bothLegs, compareLegs } from '../fixtures/translated-legs.js'
import {
  askNames,
  askWho,
  CROSSED_VIP,
  CROSSED_VIP6,
  DNS_PORT,
  FILE,
  isOfPool,
  isWhole,
  makeTransferFile,
  openTranslatedSite,
  rows,
  seenBy,
  soundly,
  translatedServices,
  VIP,
  VIP6,
} from '../fixtures/translated-site.js'

const ECHO_PORT = 7
const backendsOf = ({ inside, routed }: TranslatedLab): readonly TranslatedBackend[] => [...inside, ...routed]

/** HTTP without TOA, so that packets stay as they are; the same with it at port 81. */
const config = (lab: TranslatedLab) => {
  const plain = translatedServices(
    backendsOf(lab),
    { forward: 'fullnat' },
    { isCrossed: true, web: { toa: false } },
  )
  const withToa = Object.entries(plain)
    .filter(([name]) => name.startsWith('web'))
    .map(([name, { health, ...service }]) => [
      name.replace('web', 'toa'),
      { ...service, port: 81, toa: true },
    ])
  const echo = {
    vip: VIP,
    port: ECHO_PORT,
    protocol: 'udp',
    forward: 'fullnat',
    'ring-size': 251,
    backends: rows(backendsOf(lab), 4, ECHO_PORT),
  }
  return {
    interfaces: ['eth0', 'eth1'],
    'local-addresses': lab.balancer.pools,
    services: { ...plain, ...Object.fromEntries(withToa), echo },
  }
}

const ways = [
  { name: '4', vip: VIP, client: 0, family: 4, isCrossed: false },
  { name: '6', vip: VIP6, client: 1, family: 6, isCrossed: false },
  { name: '46', vip: CROSSED_VIP, client: 0, family: 6, isCrossed: true },
  { name: '64', vip: CROSSED_VIP6, client: 1, family: 4, isCrossed: true },
] as const

t.test('FULLNAT', { skip }, async t => {
  const site = await openTranslatedSite(t, config, {
    inside: 1,
    routed: 2,
    vips: [VIP, VIP6, CROSSED_VIP, CROSSED_VIP6],
  })
  const { lab, daemon } = site
  const backends = backendsOf(lab)
  const { near, far1 } = lab.clients
  makeTransferFile(lab)
  makeFile(seenBy(lab, near), 'small', 1 << 20)

  for (const { name, vip } of ways)
    await t.test(`${name}: clients here and there; backends see local addresses`, t =>
      soundly(t, lab, async () => {
        for (const client of ['near', 'far1', 'far2'] as const) {
          const web = await askWho(lab.clients[client], vip, 30)
          t.ok(
            web.every(who => who !== undefined && isOfPool(who.address)),
            `${client}, HTTP: ${JSON.stringify(web.find(who => !who || !isOfPool(who.address)) ?? web[0])}`,
          )
          t.same([...new Set(web.map(who => who?.backend))].sort(), ['b1', 'r1', 'r2'], `${client}: of each`)
          const names = await askNames(lab.clients[client], vip, 40)
          t.ok(
            names.every(who => who !== undefined && isOfPool(who.address)),
            `${client}, DNS: ${JSON.stringify(names.find(who => !who || !isOfPool(who.address)) ?? names[0])}`,
          )
          t.same([...new Set(names.map(who => who?.backend))].sort(), ['b1', 'r1', 'r2'])
        }
      }),
    )

  await t.test('on the wires: addresses, ports, TTL, and nothing else', async t => {
    const capture = await startCapture(lab.directory, bothLegs(near, backends))
    for (const { vip } of ways) {
      await askWho(near, vip, 24)
      await askNames(near, vip, 24)
      await near.capture(['curl', '-sS', '-o', '/dev/null', '-m', '20', `http://${inUrl(vip)}/files/small`])
    }
    const files = await capture.end()
    for (const { name, vip, family, client, isCrossed } of ways)
      for (const [what, port, to] of [
        ['HTTP', 80, WEB_PORT],
        ['DNS', 53, DNS_PORT],
      ] as const) {
        // A backend inside is one hop away, one behind the core two.
        const known = await Promise.all(
          [lab.inside, lab.routed].map(async (some, i) =>
            compareLegs(t, {
              title: `${what} ${name}, ${i === 0 ? 'inside' : 'routed'}`,
              client: files.client!,
              backends: some.map(host => ({
                name: host.name,
                address: family === 4 ? host.address : host.address6,
                file: files[host.name]!,
              })),
              from: ADDRESSES.near[client],
              vip,
              port,
              to,
              isSource: isOfPool,
              hops: 1 + i,
              isCrossed,
              isPart: true,
            }),
          ),
        )
        const flows = known.flat()
        t.equal(new Set(flows.map(({ backend }) => backend)).size, 3, `${what} ${name}: each backend`)
        t.equal(new Set(flows.map(({ client }) => client.port)).size, what === 'HTTP' ? 25 : 24)
      }
    const strangers = readFlowPackets(files.client!)
      .flatMap(({ from, to }) => [from, to])
      .filter(({ address }) => ![VIP, VIP6, CROSSED_VIP, CROSSED_VIP6, ...ADDRESSES.near].includes(address))
    t.same(strangers, [], 'the client meets nobody but the VIPs')
    for (const [end, file] of Object.entries(files)) t.same(complaintsAboutCapture(file), [], end)
  })

  await t.test('20 MB both ways, with the client in an option and without', t =>
    soundly(t, lab, async () => {
      const before = await countVerdicts(daemon)
      for (const { vip, name } of ways)
        for (const port of [80, 81]) {
          const client = seenBy(lab, far1)
          t.match(
            await download(client, `${inUrl(vip)}:${port}`, FILE),
            isWhole,
            `${name}, ${port}, download`,
          )
          t.match(await upload(client, `${inUrl(vip)}:${port}`, FILE), isWhole, `${name}, ${port}, upload`)
        }
      const after = await countVerdicts(daemon)
      const grown = Object.keys(after).filter(verdict => after[verdict] !== (before[verdict] ?? 0))
      t.match(
        grown.filter(verdict => verdict.startsWith('DROP_')),
        [],
        'nothing is dropped',
      )
    }),
  )

  await t.test('UDP: many packets a flow', async t => {
    await Promise.all(backends.map(host => serve(host, 'udp-echo', host.name, ECHO_PORT, host.address)))
    const stream = await serve(far1, 'udp-stream', VIP, ECHO_PORT, 60, 600)
    await sleep(3000)
    stream.stdin.end()
    const { stdout } = await stream.exited
    t.match(JSON.parse(stdout.slice(stdout.indexOf('{'))), { lost: 0, torn: 0, backends: ['b1', 'r1', 'r2'] })
  })

  await t.test("the balancer's own traffic with backends is nobody's", async t => {
    for (const { name, address, address6 } of backends)
      for (const host of [address, address6]) {
        const url = `http://${inUrl(host)}:${WEB_PORT}/who?token=own`
        t.match(await lab.balancer.run(['curl', '-sS', '-m', '5', url]), new RegExp(`^${name} .* own`))
      }
    const health = (await daemon.json<BackendRow[]>('backend', 'list')).filter(({ service }) =>
      service.startsWith('web'),
    )
    t.ok(health.length === 12 && health.every(row => row.health === 'up' && row.reason === null))
  })
})
