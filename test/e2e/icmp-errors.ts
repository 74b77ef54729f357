/** ICMP errors about a flow reach the flow's own backend, in its mode, and nobody else. */
import t from 'tap'
import type { RoutedLab } from '../../src/lab/routed.js'
import { startCapture } from '../fixtures/capture.js'
import { isFrom, quotedPort, readPackets, sourcePort } from '../fixtures/captured-packets.js'
import { backendAddresses, type Family, openRoutedSite, tunnels } from '../fixtures/routed-site.js'
import { send } from '../fixtures/scapy.js'
import { skip } from '../fixtures/site.js'

const modes = ['dr', 'ipip', 'gue'] as const
/** DR keeps the family; the tunnels here go once by the other one. */
const ways = modes.flatMap((mode, i) =>
  ([4, 6] as const).map(inner => ({
    mode,
    inner,
    outer: mode === 'gue' ? ((10 - inner) as Family) : inner,
    name: `${mode}${inner}`,
    vip: inner === 4 ? `192.0.2.${10 + i}` : `2001:db8::${10 + i}`,
  })),
)

const config = (lab: RoutedLab) => ({
  interfaces: ['eth0', 'eth1'],
  services: Object.fromEntries(
    ways.flatMap(({ name, mode, vip, inner, outer }) =>
      (['tcp', 'udp'] as const).map(protocol => [
        `${name}-${protocol}`,
        {
          vip,
          port: protocol === 'tcp' ? 80 : 7,
          protocol,
          forward: mode === 'dr' ? 'dr' : tunnels[mode],
          'ring-size': 251,
          backends:
            mode === 'dr'
              ? lab.backends.map(({ name, near, near6 }) => ({ name, address: inner === 4 ? near : near6 }))
              : backendAddresses(lab, outer),
        },
      ]),
    ),
  ),
})

const CLIENT = { 4: '10.1.0.1', 6: 'fd00:1::1' } as const
/** Some router, anywhere; the client, whom the answers to its packets surprise, sends errors too. */
const ROUTER = { 4: '203.0.113.9', 6: '2001:db8:ffff::9' } as const
const kinds = {
  4: {
    unreachable: 'ICMP(type=3,code=1)',
    'fragmentation needed': 'ICMP(type=3,code=4,nexthopmtu=1400)',
    'time exceeded': 'ICMP(type=11,code=0)',
    'parameter problem': 'ICMP(type=12,code=0,ptr=1)',
  },
  6: {
    unreachable: 'ICMPv6DestUnreach(code=0)',
    'packet too big': 'ICMPv6PacketTooBig(mtu=1300)',
    'time exceeded': 'ICMPv6TimeExceeded(code=0)',
    'parameter problem': 'ICMPv6ParamProblem(code=0,ptr=6)',
  },
} as const

interface Wanted {
  readonly title: string
  readonly inner: Family
  readonly port: number
  readonly flow: string
  readonly error: string
}

let nextPort = 21_000
const wanted: readonly Wanted[] = ways.flatMap(({ name, vip, inner }) =>
  (['tcp', 'udp'] as const).flatMap(protocol =>
    Object.entries(kinds[inner]).flatMap(([kind, icmp]) =>
      (['minimal', 'full'] as const).map(quote => {
        const port = nextPort++
        const ip = inner === 4 ? 'IP' : 'IPv6'
        const [request, answer] =
          protocol === 'tcp'
            ? [`TCP(sport=${port},dport=80,flags="S")`, `TCP(sport=80,dport=${port},flags="A",seq=7)`]
            : [`UDP(sport=${port},dport=7)/Raw(b"?")`, `UDP(sport=7,dport=${port})`]
        const from = `${ip}(src="${CLIENT[inner]}",dst="${vip}")`
        const quoted = `${ip}(src="${vip}",dst="${CLIENT[inner]}")/${answer}/Raw(b"q"*400)`
        const bytes = quote === 'minimal' ? (inner === 4 ? 28 : 48) : inner === 4 ? 428 : 440
        return {
          title: `${name}, ${protocol}, ${kind}, ${quote} quote`,
          inner,
          port,
          flow: `${from}/${request}`,
          error: `${ip}(src="${ROUTER[inner]}",dst="${vip}")/${icmp}/Raw(raw(${quoted})[:${bytes}])`,
        }
      }),
    ),
  ),
)

t.test('errors about a flow reach its backend', { skip }, async t => {
  const { lab } = await openRoutedSite(
    t,
    { vips: ways.map(({ vip }) => vip), isNear: true, backends: 3 },
    config,
  )
  const [client, access] = lab.links.get('lan')!
  const [core, balancer] = lab.links.get('back')!
  const front = lab.links.get('front')!
  const arrivals = Object.fromEntries(
    lab.backends.flatMap(host =>
      ['eth0', 'eth1'].map(device => [`${host.name} ${device}`, { host, device }]),
    ),
  )

  const deliver = async (from: typeof client, to: typeof client) => {
    const capture = await startCapture(lab.directory, { ...arrivals, sent: from, front: front[0] })
    await send(
      client,
      access,
      wanted.map(({ flow }) => flow),
    )
    await send(
      from,
      to,
      wanted.map(({ error }) => error),
    )
    const files = await capture.end()
    const found = Object.entries(files).map(([place, file]) => ({ place, packets: readPackets(file) }))
    return (isIt: (packet: Uint8Array) => boolean) =>
      found.flatMap(({ place, packets }) =>
        packets.filter(isIt).map(packet => ({ place, bytes: Buffer.from(packet).toString('hex') })),
      )
  }

  for (const [title, from, to] of [
    ["from the clients' side", client, access],
    ["from the backends' side", core, balancer],
  ] as const)
    await t.test(title, async t => {
      const where = await deliver(from, to)
      for (const { title, port, inner } of wanted) {
        const flow = where(packet => sourcePort(packet) === port)
        const errors = where(packet => quotedPort(packet) === port && isFrom(packet, ROUTER[inner]))
        const backend = flow.filter(({ place }) => place in arrivals).map(({ place }) => place)
        const reached = errors.filter(({ place }) => place in arrivals)
        t.ok(backend.length >= 1 && new Set(backend).size === 1, `${title}: its flow has a backend`)
        const sent = errors.find(({ place }) => place === (from === client ? 'front' : 'sent'))
        t.same(
          reached,
          [{ place: backend[0], bytes: sent?.bytes }],
          `${title}: it reaches that backend alone, as it came`,
        )
      }
    })
})
