/** The packets that are measured, what must become of them, and what that may cost. */
import type { Verdict } from '../../src/dataplane/dataplane.js'
import { arp, fragment, frame, ipv4, ipv6, type Payload, type Tag } from '../../test/fixtures/frames.js'
import { tcp, tcpFlags, udp } from '../../test/fixtures/transport.js'
import { OUR_MAC, type ServiceToLoad } from './balancer.js'
import type { FlowFields, PacketKind } from './packet.js'

const VIP4 = '192.0.2.10'
const VIP6 = '2001:db8::10'
const AWAY4 = '192.0.2.20'
const AWAY6 = '2001:db8::20'
const DEAD4 = '192.0.2.30'
const CLIENT4 = '198.18.0.0'
const CLIENT6 = '2001:db8:c::'
const PAYLOAD = new Uint8Array(64)

export const services: readonly ServiceToLoad[] = [
  { name: 'tcp4', vip: VIP4, port: 80, protocol: 'tcp', way: 'entry' },
  { name: 'udp4', vip: VIP4, port: 53, protocol: 'udp', way: 'entry' },
  { name: 'tcp6', vip: VIP6, port: 80, protocol: 'tcp', way: 'entry' },
  { name: 'udp6', vip: VIP6, port: 53, protocol: 'udp', way: 'entry' },
  { name: 'away4', vip: AWAY4, port: 80, protocol: 'tcp', way: 'other' },
  { name: 'away6', vip: AWAY6, port: 80, protocol: 'tcp', way: 'other' },
  { name: 'dead4', vip: DEAD4, port: 80, protocol: 'tcp', way: null },
]

export interface Case extends PacketKind {
  readonly name: string
  readonly verdict: Verdict
  /** ns above the empty program. */
  readonly budget: number | null
  /** Measured by --quick too. */
  readonly isQuick: boolean
}

export const ALL_NEW = 2 ** 32

const inEthernet = (payload: Payload, tags: readonly Tag[] = []): Uint8Array =>
  frame({ to: OUR_MAC, from: '02:00:00:00:00:01', tags }, payload)

const segment = (port: number) => tcp({ from: 40000, to: port, flags: tcpFlags.ACK }, PAYLOAD)
const datagram = (port: number) => udp({ from: 40000, to: port }, PAYLOAD)

const fields4 = (tags = 0): FlowFields => ({ address: 26 + 4 * tags, ports: 34 + 4 * tags, isIpv6: false })
const fields6 = (tags = 0): FlowFields => ({ address: 30 + 4 * tags, ports: 54 + 4 * tags, isIpv6: true })

const tagsOf = (count: number): Tag[] => [{ tpid: 0x88a8, tci: 7 }, { tci: 42 }].slice(2 - count)

const flowsText = (flows: number): string =>
  flows === ALL_NEW ? 'all new' : flows === 1 ? '1 flow' : `${flows.toLocaleString('en')} flows`

interface Journey {
  readonly title: string
  readonly frame: Uint8Array
  readonly fields: FlowFields | null
  readonly verdict: Verdict
}

const journey = (
  title: string,
  payload: Payload,
  fields: FlowFields | null,
  verdict: Verdict,
  tags: readonly Tag[] = [],
): Journey => ({ title, frame: inEthernet(payload, tags), fields, verdict })

const to4 = (to: string, transport: ReturnType<typeof tcp>): Payload => ipv4({ from: CLIENT4, to }, transport)
const to6 = (to: string, transport: ReturnType<typeof tcp>): Payload => ipv6({ from: CLIENT6, to }, transport)

const journeys = {
  tcp4: journey('DR IPv4 TCP', to4(VIP4, segment(80)), fields4(), 'TX_DR'),
  udp4: journey('DR IPv4 UDP', to4(VIP4, datagram(53)), fields4(), 'TX_DR'),
  tcp6: journey('DR IPv6 TCP', to6(VIP6, segment(80)), fields6(), 'TX_DR'),
  udp6: journey('DR IPv6 UDP', to6(VIP6, datagram(53)), fields6(), 'TX_DR'),
  vlan1: journey('DR IPv4 TCP, VLAN tag', to4(VIP4, segment(80)), fields4(1), 'TX_DR', tagsOf(1)),
  vlan2: journey('DR IPv4 TCP, 2 VLAN tags', to4(VIP4, segment(80)), fields4(2), 'TX_DR', tagsOf(2)),
  vlan2v6: journey('DR IPv6 TCP, 2 VLAN tags', to6(VIP6, segment(80)), fields6(2), 'TX_DR', tagsOf(2)),
  away4: journey('DR IPv4 TCP, by devmap', to4(AWAY4, segment(80)), fields4(), 'REDIRECT_DR'),
  away6: journey('DR IPv6 TCP, by devmap', to6(AWAY6, segment(80)), fields6(), 'REDIRECT_DR'),
  host4: journey('no service, IPv4 TCP', to4('192.0.2.99', segment(443)), fields4(), 'PASS_NOT_A_SERVICE'),
  host6: journey('no service, IPv6 TCP', to6('2001:db8::99', segment(443)), fields6(), 'PASS_NOT_A_SERVICE'),
  arp: journey(
    'ARP',
    arp({ operation: 1, senderMac: '02:00:00:00:00:01', sender: CLIENT4, target: VIP4 }),
    null,
    'PASS_NOT_IP',
  ),
  fragment4: journey(
    'fragment, IPv4',
    ipv4({ from: CLIENT4, to: VIP4, moreFragments: true }, datagram(53)),
    fields4(),
    'PASS_FRAGMENT',
  ),
  fragment6: journey(
    'fragment, IPv6',
    ipv6({ from: CLIENT6, to: VIP6, extensions: [fragment(0, true)] }, datagram(53)),
    null,
    'PASS_FRAGMENT',
  ),
  dead4: journey('no backend alive, IPv4 TCP', to4(DEAD4, segment(80)), fields4(), 'DROP_NO_BACKEND'),
} satisfies Record<string, Journey>

type JourneyName = keyof typeof journeys

const of = (name: JourneyName, flows: number, budget: number | null, isQuick = false): Case => {
  const { title, frame: bytes, fields, verdict } = journeys[name]
  return {
    name: fields ? `${title}, ${flowsText(flows)}` : title,
    frame: bytes,
    flows,
    flowFields: fields,
    verdict,
    budget,
    isQuick,
  }
}

const byFlows = (name: JourneyName, atOne: number, atMany: number): Case[] => [
  of(name, 1, atOne, true),
  of(name, 65536, atMany),
  of(name, 1048576, atMany, true),
  of(name, ALL_NEW, null),
]

export const cases: readonly Case[] = [
  ...byFlows('tcp4', 17, 19),
  ...byFlows('udp4', 17, 19),
  ...byFlows('tcp6', 18, 21),
  ...byFlows('udp6', 18, 21),
  of('vlan1', 1, null),
  of('vlan2', 1, null),
  of('vlan2v6', 1, null),
  of('away4', 1, null, true),
  of('away4', 1048576, null),
  of('away6', 1, null),
  of('host4', 1, 12, true),
  of('host4', 1048576, 12),
  of('host6', 1, 12, true),
  of('host6', 1048576, 12),
  of('arp', 1, 6, true),
  of('fragment4', 1, null),
  of('fragment6', 1, null),
  of('dead4', 1, null, true),
]

/** The one service of the tracked cases. */
export const trackedServices: readonly ServiceToLoad[] = services.filter(({ name }) => name === 'tcp4')

const trackedCase = (what: string, name: JourneyName, flows: number, budget: number | null): Case => {
  const one = of(name, flows, budget, true)
  return { ...one, name: `${what}, ${flowsText(flows)}` }
}

/** Every slot tracked. A flow that is known hits; one that is new finds an empty cache, or a full one. */
export const trackedCases = {
  known: [
    trackedCase('tracked DR, hit', 'tcp4', 1, 35),
    trackedCase('tracked DR, hit', 'tcp4', 1048576, 160),
  ],
  remembered: [trackedCase('tracked DR, remembered', 'tcp4', ALL_NEW, 175)],
  refused: [trackedCase('tracked DR, no place', 'tcp4', ALL_NEW, 175)],
} satisfies Record<string, readonly Case[]>

/** For frames that travel: out by another interface than they came in. */
export const liveKinds: readonly (PacketKind & { readonly name: string })[] = (
  [
    ['away4', 1000],
    ['away4', 1048576],
    ['away6', 1000],
    ['away6', 1048576],
  ] as const
).map(([name, flows]) => {
  const { title, frame: bytes, fields } = journeys[name]
  return { name: `${title}, ${flowsText(flows)}`, frame: bytes, flows, flowFields: fields }
})
