/** NAT: ICMP errors in both directions, TTLs that end on the way, and paths that take less than what is sent. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Host } from '../../src/lab/namespaces.js'
import { download, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, type TranslatedBackend, type TranslatedLab, WEB_PORT } from '../../src/lab/translated.js'
import { PYTHON, pythonProgram } from '../fixtures/capture.js'
import { knownMtu } from '../fixtures/path-mtu-site.js'
import { inUrl, skip } from '../fixtures/site.js'
import { ROUTER, sendErrors } from '../fixtures/translated-errors.js'
import {
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
/** A VIP whose UDP ports are all one service: traceroute's probes go to one after the other. */
const EVERY = '192.0.2.20'
const EVERY6 = '2001:db8::20'
const families = [
  { family: 4, vip: VIP, every: EVERY, index: 0, own: '10.1.0.2', gate: '10.1.1.254' },
  { family: 6, vip: VIP6, every: EVERY6, index: 1, own: 'fd00:1::2', gate: 'fd00:1:1::fe' },
] as const

/** Backends behind the core, whose default route leads over it to the balancer. */
const openRouted = (t: Test) =>
  openTranslatedSite(
    t,
    lab => ({
      interfaces: ['eth0', 'eth1'],
      services: {
        ...translatedServices(lab.routed, { forward: 'nat' }),
        ...Object.fromEntries(
          families.map(({ family, every }) => [
            `every${family}`,
            {
              vip: every,
              port: 0,
              protocol: 'udp',
              forward: 'nat',
              'ring-size': 251,
              backends: rows(lab.routed, family, 0).map(({ name, address }) => ({ name, address })),
            },
          ]),
        ),
      },
    }),
    { inside: 0, routed: 2, vips: [VIP, VIP6, EVERY, EVERY6], coreBy: 'balancer' },
  )

const backendsOf = (lab: TranslatedLab): readonly TranslatedBackend[] => lab.routed
const addressOf = ({ address, address6 }: TranslatedBackend, family: 4 | 6): string =>
  family === 4 ? address : address6
type Hop = readonly [by: string | null, what: string]
const trace = async (host: Host, to: string, port: number, protocol: 'udp' | 'tcp'): Promise<Hop[]> =>
  JSON.parse(await host.run([PYTHON, pythonProgram('trace'), to, String(port), protocol, '6'])) as Hop[]

t.test('NAT and ICMP', { skip }, async t => {
  const { lab } = await openRouted(t)
  const { far1 } = lab.clients
  makeTransferFile(lab)

  for (const side of ['outside', 'inside'] as const)
    await t.test(`errors from ${side} are translated with what they quote`, t =>
      soundly(t, lab, async () => {
        const { heard, complaints } = await sendErrors(lab, lab.routed, side)
        for (const { one, flow, errors } of heard) {
          const backend = backendsOf(lab).find(({ name }) => name === flow?.place)
          if (!backend) {
            t.fail(`${one.title}: its flow reached nobody`)
            continue
          }
          const { family, protocol, port } = one
          const client = { address: ADDRESSES.far1[family === 4 ? 0 : 1], port }
          const rip = { address: addressOf(backend, family), port: protocol === 'tcp' ? WEB_PORT : DNS_PORT }
          const vip = { address: family === 4 ? VIP : VIP6, port: protocol === 'tcp' ? 80 : 53 }
          const expected =
            side === 'outside'
              ? { place: backend.name, from: ROUTER[family], to: rip.address, quoted: [rip, client] }
              : { place: 'client', from: vip.address, to: client.address, quoted: [client, vip] }
          t.match(errors, [{ ...expected, wrong: [] }], one.title)
          t.equal(errors.length, 1, `${one.title}: once`)
        }
        t.same(complaints, [], 'no checksum of any packet is wrong')
      }),
    )

  await t.test('TTLs that end: at the balancer, and behind it', async t => {
    for (const { vip, own, gate, every } of families) {
      for (const [port, protocol] of [
        [80, 'tcp'],
        [53, 'udp'],
      ] as const) {
        const hops = await trace(far1, vip, port, protocol)
        const isTcp = protocol === 'tcp'
        const of = (by: string): Hop => [isTcp ? null : by, 'EHOSTUNREACH']
        const last = isTcp ? [vip, 'answer'] : [null, 'silence'] // a DNS server says nothing to what is no query
        t.same(hops.slice(0, 4), [of(gate), of(own), of(vip), last], `${protocol} to ${vip}`)
      }
      const { stdout } = await far1.capture(
        [
          'busybox',
          every.includes(':') ? 'traceroute6' : 'traceroute',
          '-n',
          '-q',
          '1',
          '-w',
          '2',
          '-m',
          '8',
          every,
        ],
        { timeoutMs: 20_000 },
      )
      const met = [...stdout.matchAll(/^ *\d+ +(\S+) +.*$/gm)].map(([, hop]) => hop)
      t.same(met, [gate, own, every, every], `traceroute to ${every}: ${stdout}`)
    }
  })

  /** Routes are followed: a moment is enough. */
  const daemonHasSeen = () => sleep(1000)
  const forget = async () => {
    for (const host of [far1, ...lab.routed])
      await host.run(['sh', '-c', 'ip -4 route flush cache; ip -6 route flush cache'])
  }
  for (const [title, narrow] of [
    ["on the clients' side", ['far1']],
    ["on the backends' side", ['home1', 'home2']],
  ] as const)
    await t.test(`20 MB, and a hop of ${NARROW} ${title}`, t =>
      soundly(t, lab, async () => {
        for (const network of narrow) await lab.setMtu(network, NARROW)
        for (const { vip, family, index } of families) {
          await forget()
          t.match(await download(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${vip}, download`)
          t.match(await upload(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${vip}, upload`)
          const client = ADDRESSES.far1[index]
          const known =
            narrow[0] === 'far1'
              ? await Promise.all(lab.routed.map(backend => knownMtu(backend, client)))
              : [await knownMtu(far1, vip)]
          t.same([...new Set(known.filter(mtu => mtu !== null))], [NARROW], `IPv${family}: who sends is told`)
        }
        for (const network of narrow) await lab.setMtu(network, 1500)
      }),
    )

  await t.test("20 MB, and the balancer's own routes take less", t =>
    soundly(t, lab, async () => {
      const routes = {
        clients: ['default via 10.1.0.254', '::/0 via fd00:1::fe'],
        backends: ['10.3.0.0/16 via 10.2.0.254', 'fd00:3::/32 via fd00:2::fe'],
      } as const
      for (const side of ['clients', 'backends'] as const) {
        await lab.balancer.ip(...routes[side].map(route => `route replace ${route} mtu ${NARROW}`))
        await daemonHasSeen()
        for (const { vip, index } of families) {
          await forget()
          t.match(await download(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${vip}, ${side}, download`)
          t.match(await upload(seenBy(lab, far1), inUrl(vip), FILE), isWhole, `${vip}, ${side}, upload`)
          const client = ADDRESSES.far1[index]
          const known =
            side === 'clients'
              ? await Promise.all(lab.routed.map(backend => knownMtu(backend, client)))
              : [await knownMtu(far1, vip)]
          t.same([...new Set(known.filter(mtu => mtu !== null))], [NARROW], `${vip}, ${side}: told`)
        }
        await lab.balancer.ip(...routes[side].map(route => `route replace ${route}`))
      }
    }),
  )
})
