/** The tunnels' frames against an independent build, scapy's, and an independent reader, tshark. */
import t from 'tap'
import { counting, fromHex, hex } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { parseEthernet } from '../fixtures/parse.js'
import { tsharkComplaints } from '../fixtures/pcap.js'
import { scapyFrames } from '../fixtures/scapy-frames.js'
import { BALANCER_MAC, backendEntry } from '../fixtures/tables.js'
import { type Transport, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, type Variant, VIPS, variants } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const dataPlane = await instance(t, tunnelTables())

interface Case {
  readonly title: string
  readonly variant: Variant
  readonly vip: string
  readonly bytes: Uint8Array
  readonly packet: Uint8Array
}

const transports = (port: number): Readonly<Record<string, Transport>> => ({
  syn: tcp({ from: 40000, to: port, seq: 1, options: fromHex('020405b4 01030307') }),
  data: tcp({ from: 40000, to: port, flags: tcpFlags.PSH | tcpFlags.ACK, ack: 9, seq: 2 }, counting(333)),
  datagram: udp({ from: 40001, to: port }, counting(64)),
  'odd datagram': udp({ from: 40002, to: port }, counting(65)),
})

const headers = [
  { tos: 0, dontFragment: true, tags: [] },
  {
    tos: 0xbb,
    dontFragment: false,
    tags: [
      { tpid: 0x88a8, tci: 0x2005 },
      { tpid: 0x8100, tci: 0x0006 },
    ],
  },
] as const

const cases: readonly Case[] = variants.flatMap(variant =>
  VIPS.flatMap(vip =>
    Object.entries(transports(variant.port)).flatMap(([name, transport]) =>
      headers.map(({ tos, tags, ...ip }) => {
        const bytes = sent(vip, transport, {
          ethernet: { tags },
          ip: { tos, trafficClass: tos, id: 7, ...ip },
        })
        const title = `${name} to ${vip} by ${variant.name}, TOS ${tos}`
        return { title, variant, vip, bytes, packet: dataPlane.run(bytes).packet }
      }),
    ),
  ),
)

/** The address as text, of hex digits. */
const text = (digits: string): string =>
  digits.length === 8 ? fromHex(digits).join('.') : (digits.match(/.{4}/g)?.join(':') ?? '')

/** What scapy is told; what is the hash's choice or chance, it is told as it came out. */
const request = ({ variant, vip, bytes, packet }: Case): object => {
  const { outer, udp: outerUdp } = unwrap(packet)
  const { tags, payloadAt } = parseEthernet(bytes)
  const { tunnel } = variant
  const isTagged = tags.length > 0
  const isFromPrefix = tunnel.spread > 0
  const inner = bytes.subarray(payloadAt)
  return {
    ...tunnel,
    toIsIpv6: tunnel.to.includes(':'),
    from: isFromPrefix ? text(outer.from) : tunnel.from,
    innerVersion: vip.includes(':') ? 6 : 4,
    inner: hex(inner),
    tos: isTagged ? 0xbb : 0,
    dontFragment: vip.includes(':') || !isTagged,
    id: outer.id,
    flowLabel: outer.flowLabel,
    sourcePort: outerUdp?.from,
    tags: tags.map(({ tpid, tci }) => [tpid, tci]),
    dstMac: backendEntry(variant.id, 0).nextHopMac,
    srcMac: BALANCER_MAC,
  }
}

t.test('every tunnel’s frames are those that scapy builds', async t => {
  const built = scapyFrames(cases.map(request))
  for (const [i, { title, packet }] of cases.entries()) t.equal(hex(packet), built[i], title)
})

t.test('tshark finds nothing malformed in them, and no wrong checksum', async t => {
  const packets = cases.map(({ packet }) => packet)
  t.same(tsharkComplaints(packets), [])
  const bare = cases.filter(({ variant, vip }) => variant.tunnel.isBare && !vip.includes(':'))
  t.same(
    tsharkComplaints(
      bare.map(({ packet }) => packet),
      ['udp.port==6080,ip'],
    ),
    [],
  )
})

t.test('tshark would find them', async t => {
  const [good] = cases
  const bad = Uint8Array.from(good!.packet)
  bad[24]! ^= 1
  const badInner = Uint8Array.from(good!.packet)
  badInner[badInner.length - 5]! ^= 1
  t.equal(tsharkComplaints([bad]).length, 1, 'the outer checksum')
  t.equal(tsharkComplaints([badInner]).length, 1, 'the inner checksum')
})
