/** FULLNAT: ICMP errors in both directions, TTLs that end on the way, and paths that take less than what is sent. */
import t from 'tap'
import type { Host } from '../../src/lab/namespaces.js'
import { download, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, WEB_PORT } from '../../src/lab/translated.js'
import { PYTHON, pythonProgram } from '../fixtures/capture.js'
import { knownMtu } from '../fixtures/path-mtu-site.js'
import { inUrl, skip } from '../fixtures/site.js'
import { sendErrors } from '../fixtures/translated-errors.js'
import {
  CROSSED_VIP,
  CROSSED_VIP6,
  DNS_PORT,
  FILE,
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

const NARROW = 1400
/** How much longer a packet is as IPv6. */
const LONGER = 20
const ways = [
  { name: '4', vip: VIP, client: 4, backend: 4, own: '10.1.0.2', gate: '10.1.1.254' },
  { name: '6', vip: VIP6, client: 6, backend: 6, own: 'fd00:1::2', gate: 'fd00:1:1::fe' },
  { name: '46', vip: CROSSED_VIP, client: 4, backend: 6, own: '10.1.0.2', gate: '10.1.1.254' },
  { name: '64', vip: CROSSED_VIP6, client: 6, backend: 4, own: 'fd00:1::2', gate: 'fd00:1:1::fe' },
] as const
/** What a client is told when its packets become others' of this length. */
const toldTo = (client: 4 | 6, mtu: number, backend: 4 | 6): number =>
  client === backend ? mtu : client === 4 ? mtu - LONGER : mtu + LONGER

type Hop = readonly [by: string | null, what: string]
const trace = async (host: Host, to: string, port: number, protocol: 'udp' | 'tcp'): Promise<Hop[]> =>
  JSON.parse(await host.run([PYTHON, pythonProgram('trace'), to, String(port), protocol, '6'])) as Hop[]

t.test('FULLNAT and ICMP', { skip }, async t => {
  const { lab } = await openTranslatedSite(
    t,
    lab => ({
      interfaces: ['eth0', 'eth1'],
      'local-addresses': lab.balancer.pools,
      services: {
        ...translatedServices(lab.routed, { forward: 'fullnat' }, { isCrossed: true }),
        ...Object.fromEntries(
          ways.map(({ name, vip, backend }) => [
            `closed${name}`,
            {
              vip,
              port: 54,
              protocol: 'udp',
              forward: 'fullnat',
              'ring-size': 251,
              backends: rows(lab.routed, backend, 5454),
            },
          ]),
        ),
      },
    }),
    { inside: 0, routed: 2, vips: [VIP, VIP6, CROSSED_VIP, CROSSED_VIP6] },
  )
  const { far1 } = lab.clients
  makeTransferFile(lab)

  for (const side of ['outside', 'inside'] as const)
    await t.test(`errors from ${side} are translated with what they quote`, t =>
      soundly(t, lab, async () => {
        const { heard, complaints } = await sendErrors(lab, lab.routed, side)
        for (const { one, flow, errors } of heard) {
          const backend = lab.routed.find(({ name }) => name === flow?.place)
          if (!backend || !flow) {
            t.fail(`${one.title}: its flow reached nobody`)
            continue
          }
          const { family, protocol, port } = one
          const client = { address: ADDRESSES.far1[family === 4 ? 0 : 1], port }
          const rip = {
            address: family === 4 ? backend.address : backend.address6,
            port: protocol === 'tcp' ? WEB_PORT : DNS_PORT,
          }
          const local = flow.packet.from
          const vip = { address: family === 4 ? VIP : VIP6, port: protocol === 'tcp' ? 80 : 53 }
          const expected =
            side === 'outside'
              ? { place: backend.name, to: rip.address, quoted: [rip, local] }
              : { place: 'client', from: vip.address, to: client.address, quoted: [client, vip] }
          t.match(errors, [{ ...expected, wrong: [] }], one.title)
          t.equal(errors.length, 1, `${one.title}: once`)
        }
        t.same(complaints, [], 'no checksum of any packet is wrong')
      }),
    )

  await t.test('TTLs that end: at the balancer, and behind it', async t => {
    for (const { name, vip, own, gate } of ways)
      for (const [port, protocol] of [
        [80, 'tcp'],
        [54, 'udp'], // where nobody listens
      ] as const) {
        const hops = await trace(far1, vip, port, protocol)
        const isTcp = protocol === 'tcp'
        const of = (by: string): Hop => [isTcp ? null : by, 'EHOSTUNREACH']
        const last = isTcp ? [vip, 'answer'] : [vip, 'ECONNREFUSED']
        t.same(hops.slice(0, 4), [of(gate), of(own), of(vip), last], `${name}, ${protocol}`)
      }
  })

  const forget = async () => {
    for (const host of [far1, ...lab.routed])
      await host.run(['sh', '-c', 'ip -4 route flush cache; ip -6 route flush cache'])
  }
  const knownTo = async (hosts: readonly Host[], address: string) =>
    (await Promise.all(hosts.map(host => knownMtu(host, address)))).filter(mtu => mtu !== null)
  /** What any backend knows of the way to any local address: the pool's, in turn. */
  const knownOfPool = async (family: 4 | 6) => {
    const script =
      family === 4
        ? 'for i in $(seq 0 15); do ip -j route get 10.2.8.$i; done'
        : 'for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do ip -j route get fd00:2:8::$i; done'
    const texts = await Promise.all(lab.routed.map(host => host.run(['sh', '-c', script])))
    return [...texts.join('').matchAll(/"mtu":(\d+)/g)].map(([, mtu]) => Number(mtu))
  }

  await t.test(`20 MB, and a hop of ${NARROW} on the clients' side`, t =>
    soundly(t, lab, async () => {
      await lab.setMtu('far1', NARROW)
      for (const { name, vip, client, backend } of ways) {
        await forget()
        t.match(await download(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${name}, download`)
        const told = toldTo(backend, NARROW, client)
        t.same([...new Set(await knownOfPool(backend))], [told], `${name}: the backend is told ${told}`)
        t.match(await upload(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${name}, upload`)
      }
      await lab.setMtu('far1', 1500)
    }),
  )

  await t.test(`20 MB, and a hop of ${NARROW} on the backends' side`, t =>
    soundly(t, lab, async () => {
      for (const network of ['home1', 'home2'] as const) await lab.setMtu(network, NARROW)
      for (const { name, vip, client, backend } of ways) {
        await forget()
        t.match(await upload(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${name}, upload`)
        const told = toldTo(client, NARROW, backend)
        t.same(await knownTo([far1], vip), [told], `${name}: the client is told ${told}`)
        t.match(await download(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${name}, download`)
      }
      for (const network of ['home1', 'home2'] as const) await lab.setMtu(network, 1500)
    }),
  )
})
