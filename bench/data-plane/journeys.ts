/** Frames, and what becomes of each on its way through the data plane. */
import type { Verdict } from '../../src/dataplane/dataplane.js'
import { overheadOf } from '../../src/dataplane/encapsulation.js'
import { arp, fragment, frame, ipv4, ipv6, type Payload, type Tag } from '../../test/fixtures/frames.js'
import { icmp, icmpv6, type Transport, tcp, tcpFlags, udp } from '../../test/fixtures/transport.js'
import { OUR_MAC, type ServiceToLoad } from './balancer.js'
import { type FlowFields, HEAD, MACS, type Word } from './packet.js'
import { served } from './services.js'

const CLIENT4 = '198.18.0.0'
const CLIENT6 = '2001:db8:c::'
const PAYLOAD = new Uint8Array(64)

const inEthernet = (payload: Payload, tags: readonly Tag[] = []): Uint8Array =>
  frame({ to: OUR_MAC, from: '02:00:00:00:00:01', tags }, payload)

const segment = (port = 80) => tcp({ from: 40000, to: port, flags: tcpFlags.ACK }, PAYLOAD)
const datagram = (port = 53) => udp({ from: 40000, to: port }, PAYLOAD)

const fields4 = (tags = 0): FlowFields => ({ address: 26 + 4 * tags, ports: 34 + 4 * tags, isIpv6: false })
const fields6 = (tags = 0): FlowFields => ({ address: 30 + 4 * tags, ports: 54 + 4 * tags, isIpv6: true })

const tagsOf = (count: number): Tag[] => [{ tpid: 0x88a8, tci: 7 }, { tci: 42 }].slice(2 - count)

interface Journey {
  readonly title: string
  readonly frame: Uint8Array
  readonly fields: FlowFields | null
  readonly verdict: Verdict
  readonly rewritten: readonly Word[]
  readonly pushed: number
  readonly service: ServiceToLoad | null
}

const journey = (
  title: string,
  payload: Payload,
  fields: FlowFields | null,
  verdict: Verdict,
  more: Partial<Pick<Journey, 'rewritten' | 'pushed' | 'service'>> & { readonly tags?: readonly Tag[] } = {},
): Journey => ({
  title,
  frame: inEthernet(payload, more.tags),
  fields,
  verdict,
  rewritten: more.rewritten ?? (more.pushed ? HEAD : MACS),
  pushed: more.pushed ?? 0,
  service: more.service ?? null,
})

const to4 = (to: string, transport: Transport): Payload =>
  ipv4({ from: CLIENT4, to, dontFragment: true }, transport)
const to6 = (to: string, transport: Transport): Payload => ipv6({ from: CLIENT6, to }, transport)

/** A packet of a flow, to one of `served`. */
const forwarded = (
  title: string,
  service: ServiceToLoad,
  verdict: Verdict,
  tags: readonly Tag[] = [],
): Journey => {
  const transport = service.protocol === 'tcp' ? segment(service.port) : datagram(service.port)
  const isIpv6 = service.vip.includes(':')
  const version = service.outer ?? (isIpv6 ? 6 : 4)
  return journey(
    title,
    (isIpv6 ? to6 : to4)(service.vip, transport),
    (isIpv6 ? fields6 : fields4)(tags.length),
    verdict,
    {
      tags,
      service,
      pushed: overheadOf(service.forward ?? { mode: 'dr' }, version === 6 ? '::' : '0.0.0.0'),
      ...(service.forward && tags.length > 0 ? { rewritten: [...HEAD, [16, 4]] satisfies Word[] } : {}),
    },
  )
}

/** What a router says of a packet from a VIP to a client. */
const quote4 = (vip: string): Uint8Array =>
  ipv4({ from: vip, to: CLIENT4 }, tcp({ from: 80, to: 40000 })).bytes.slice(0, 28)
const quote6 = (vip: string): Uint8Array =>
  ipv6({ from: vip, to: CLIENT6 }, tcp({ from: 80, to: 40000 })).bytes
const unreachable4 = (vip: string): Payload =>
  ipv4({ from: '198.51.100.1', to: vip, dontFragment: true }, icmp({ type: 3, code: 1 }, quote4(vip)))
const unreachable6 = (vip: string): Payload =>
  ipv6({ from: '2001:db8:aa::1', to: vip }, icmpv6({ type: 1, code: 3 }, quote6(vip)))

const echo = { code: 0, rest: 0x0007_0001 }

export const journeys = {
  tcp4: forwarded('DR IPv4 TCP', served.tcp4, 'TX_DR'),
  udp4: forwarded('DR IPv4 UDP', served.udp4, 'TX_DR'),
  tcp6: forwarded('DR IPv6 TCP', served.tcp6, 'TX_DR'),
  udp6: forwarded('DR IPv6 UDP', served.udp6, 'TX_DR'),
  vlan1: forwarded('DR IPv4 TCP, VLAN tag', served.tcp4, 'TX_DR', tagsOf(1)),
  vlan2: forwarded('DR IPv4 TCP, 2 VLAN tags', served.tcp4, 'TX_DR', tagsOf(2)),
  vlan2v6: forwarded('DR IPv6 TCP, 2 VLAN tags', served.tcp6, 'TX_DR', tagsOf(2)),
  away4: forwarded('DR IPv4 TCP, by devmap', served.away4, 'REDIRECT_DR'),
  away6: forwarded('DR IPv6 TCP, by devmap', served.away6, 'REDIRECT_DR'),
  ipip44: forwarded('IPIP 4in4', served.ipip44, 'TX_IPIP'),
  ipip66: forwarded('IPIP 6in6', served.ipip66, 'TX_IPIP'),
  ipip46: forwarded('IPIP 4in6', served.ipip46, 'TX_IPIP'),
  ipip64: forwarded('IPIP 6in4', served.ipip64, 'TX_IPIP'),
  ipipVlan: forwarded('IPIP 4in4, VLAN tag', served.ipip44, 'TX_IPIP', tagsOf(1)),
  ipipAway4: forwarded('IPIP 4in4, by devmap', served.ipipAway4, 'REDIRECT_IPIP'),
  ipipAway6: forwarded('IPIP 6in6, by devmap', served.ipipAway6, 'REDIRECT_IPIP'),
  gre44: forwarded('GRE 4in4', served.gre44, 'TX_GRE'),
  gre66: forwarded('GRE 6in6', served.gre66, 'TX_GRE'),
  greKey44: forwarded('GRE with key 4in4', served.greKey44, 'TX_GRE'),
  gue44: forwarded('GUE 4in4', served.gue44, 'TX_GUE'),
  gue64: forwarded('GUE 6in4', served.gue64, 'TX_GUE'),
  gue46: forwarded('GUE 4in6', served.gue46, 'TX_GUE'),
  gue66: forwarded('GUE 6in6', served.gue66, 'TX_GUE'),
  bare44: forwarded('GUE bare 4in4', served.bare44, 'TX_GUE'),
  bare66: forwarded('GUE bare 6in6', served.bare66, 'TX_GUE'),
  gueAway4: forwarded('GUE 4in4, by devmap', served.gueAway4, 'REDIRECT_GUE'),
  gueAway6: forwarded('GUE 6in6, by devmap', served.gueAway6, 'REDIRECT_GUE'),
  host4: journey('no service, IPv4 TCP', to4('192.0.2.99', segment(443)), fields4(), 'PASS_NOT_A_SERVICE'),
  host6: journey('no service, IPv6 TCP', to6('2001:db8::99', segment(443)), fields6(), 'PASS_NOT_A_SERVICE'),
  arp: journey(
    'ARP',
    arp({ operation: 1, senderMac: '02:00:00:00:00:01', sender: CLIENT4, target: served.tcp4.vip }),
    null,
    'PASS_NOT_IP',
  ),
  fragment4: journey(
    'fragment, IPv4',
    ipv4({ from: CLIENT4, to: served.tcp4.vip, moreFragments: true }, datagram()),
    fields4(),
    'PASS_FRAGMENT',
  ),
  fragment6: journey(
    'fragment, IPv6',
    ipv6({ from: CLIENT6, to: served.tcp6.vip, extensions: [fragment(0, true)] }, datagram()),
    null,
    'PASS_FRAGMENT',
  ),
  dead4: journey(
    'no backend alive, IPv4 TCP',
    to4(served.dead4.vip, segment()),
    fields4(),
    'DROP_NO_BACKEND',
  ),
  hostPing4: journey(
    'echo request to the host, ICMP',
    to4('192.0.2.99', icmp({ type: 8, ...echo }, PAYLOAD)),
    null,
    'PASS_NOT_A_SERVICE',
  ),
  ping4: journey(
    'echo request answered, ICMP',
    to4(served.tcp4.vip, icmp({ type: 8, ...echo }, PAYLOAD)),
    null,
    'TX_PING',
    // TTL and header checksum; addresses; type and checksum.
    { rewritten: [...MACS, [22, 4], [26, 4], [30, 4], [34, 4]] },
  ),
  ping6: journey(
    'echo request answered, ICMPv6',
    to6(served.tcp6.vip, icmpv6({ type: 128, ...echo }, PAYLOAD)),
    null,
    'TX_PING',
    { rewritten: [...MACS, [18, 4], [22, 8], [30, 8], [38, 8], [46, 8], [54, 4]] },
  ),
  error4: journey('ICMP error about a flow, DR', unreachable4(served.tcp4.vip), null, 'TX_DR', {
    service: served.tcp4,
  }),
  error6: journey('ICMPv6 error about a flow, DR', unreachable6(served.tcp6.vip), null, 'TX_DR', {
    service: served.tcp6,
  }),
  errorIpip: journey('ICMP error about a flow, IPIP 4in4', unreachable4(served.ipip44.vip), null, 'TX_IPIP', {
    service: served.ipip44,
    pushed: 20,
  }),
  tooBig4: journey('too big answered, ICMP', to4(served.narrow4.vip, segment()), fields4(), 'TX_TOO_BIG', {
    pushed: 28,
  }),
  tooBig6: journey('too big answered, ICMPv6', to6(served.narrow6.vip, segment()), fields6(), 'TX_TOO_BIG', {
    pushed: 48,
  }),
} satisfies Record<string, Journey>

export type JourneyName = keyof typeof journeys
