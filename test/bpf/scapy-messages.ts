/** The balancer's own ICMP errors against scapy's, and all that it says of and to clients under tshark's eyes. */
import t from 'tap'
import { counting, fromHex, hex } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, instance, sent } from '../fixtures/cases.js'
import { errorKinds, errorTo, familyOf, minimal, packet } from '../fixtures/errors.js'
import { answered, ipvsCases } from '../fixtures/ipvs.js'
import { tsharkComplaints } from '../fixtures/pcap.js'
import { scapyFrames } from '../fixtures/scapy-frames.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { icmp, icmpv6, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, type Variant, VIPS, variants } from '../fixtures/tunnels.js'

const tables = tunnelTables({ clampsMss: true })
const down = new Set(variants.slice(-1).map(({ port }) => port))
const dataPlane = await instance(t, {
  ...tables,
  services: tables.services.map(service =>
    down.has(service.port) ? { ...service, slots: service.slots.map(() => 0) } : service,
  ),
  vips: VIPS.map(vip => ({ vip, ping: 'answer' })),
})
const alive = variants.filter(({ port }) => !down.has(port))
const clientOf = (vip: string): string => (familyOf(vip) === 4 ? CLIENT : CLIENT6)
const MTU = 1500

interface Case {
  readonly title: string
  readonly verdict: string
  readonly packet: Uint8Array
  readonly request: object
}

const request = (vip: string, mtu: number | null, code: number, quote: Uint8Array): object => ({
  mode: 'error',
  from: vip,
  to: clientOf(vip),
  type: 3,
  code,
  mtu,
  quote: hex(quote.subarray(0, familyOf(vip) === 4 ? 548 : 1232)),
  dstMac: CLIENT_MAC,
  srcMac: BALANCER_MAC,
})

const tooBig = (variant: Variant, vip: string, isUdp: boolean): Case => {
  const body = counting(MTU - (familyOf(vip) === 4 ? 20 : 40) - (isUdp ? 8 : 20))
  const ports = { from: 40000, to: variant.port }
  const bytes = sent(vip, isUdp ? udp(ports, body) : tcp({ ...ports, flags: tcpFlags.ACK }, body), {
    ip: { dontFragment: true },
  })
  const mtu = MTU - variant.overhead
  return {
    title: `too big: ${isUdp ? 'UDP' : 'TCP'} to ${vip} by ${variant.name}`,
    ...dataPlane.run(bytes),
    request: request(vip, mtu, 4, bytes.subarray(14)),
  }
}

/** A router's error about what the balancer has sent into the tunnel. */
const told = (variant: Variant, vip: string, size: number, isAboutSize: boolean): Case => {
  const bytes = sent(vip, udp({ from: 40000, to: variant.port }, counting(size)), {
    ip: { dontFragment: true },
  })
  const outer = dataPlane.run(bytes).packet.subarray(14)
  const isOver4 = outer[0]! >> 4 === 4
  const source = isOver4
    ? outer.subarray(12, 16).join('.')
    : (hex(outer.subarray(8, 24)).match(/.{4}/g)?.join(':') ?? '')
  const fields = isAboutSize
    ? { type: isOver4 ? 3 : 2, code: isOver4 ? 4 : 0, rest: 1400 }
    : { type: isOver4 ? 11 : 3, code: 0 }
  const quoted = outer.subarray(0, isOver4 ? 548 : 1232)
  const mtu = isAboutSize ? 1400 - variant.overhead : null
  const code = isAboutSize ? 4 : familyOf(vip) === 4 ? 1 : 3
  return {
    title: `${isAboutSize ? 'size' : 'time exceeded'}, ${size} bytes to ${vip} by ${variant.name}`,
    ...dataPlane.run(errorTo(source, fields, quoted)),
    request: request(vip, mtu, code, quoted.subarray(variant.overhead)),
  }
}

const cases: readonly Case[] = alive.flatMap(variant =>
  VIPS.flatMap(vip => [
    tooBig(variant, vip, true),
    tooBig(variant, vip, false),
    ...[0, 33, 1300].flatMap(size => [told(variant, vip, size, true), told(variant, vip, size, false)]),
  ]),
)

t.test('every error of ours is the one that scapy builds', async t => {
  const built = scapyFrames(cases.map(found => found.request))
  for (const [i, { title, verdict, packet }] of cases.entries()) {
    t.match(verdict, /^TX_(TOO_BIG|TUNNEL_ERROR)$/, title)
    t.equal(hex(packet), built[i], title)
  }
})

/** tshark adds up a quoted segment as if it were whole: it says so of a kernel's own errors, too. */
const isCutQuote = (line: string): boolean => /icmp(:ip|v6:ipv6):tcp:data\tBad checksum/.test(line)

t.test('tshark finds nothing wrong with what clients are told', async t => {
  const ofKernel = ipvsCases().filter(({ name }) => name === 'too-long')
  t.ok(tsharkComplaints(ofKernel.map(answered)).every(isCutQuote))
  t.equal(tsharkComplaints(ofKernel.map(answered)).length, ofKernel.length)
  const own = cases.map(({ packet }) => packet)
  const pongs = VIPS.map(vip =>
    familyOf(vip) === 4
      ? icmp({ type: 8, code: 0, rest: 1 }, counting(57))
      : icmpv6({ type: 128, code: 0, rest: 1 }, counting(57)),
  ).map((echo, i) => dataPlane.run(sent(VIPS[i]!, echo)).packet)
  const refused = VIPS.flatMap(vip =>
    [...down].flatMap(port =>
      [tcp({ from: 40000, to: port }), udp({ from: 40000, to: port }, counting(9))].map(
        transport => dataPlane.run(sent(vip, transport)).packet,
      ),
    ),
  )
  const complaints = tsharkComplaints([...own, ...pongs, ...refused])
  t.same(
    complaints.filter(line => !isCutQuote(line)),
    [],
  )
})

t.test('tshark finds nothing wrong with clamped SYNs and relayed errors in their tunnels', async t => {
  const options = fromHex('01 020423280101080a0000000000000000')
  const inTunnels = alive.flatMap(({ port }) =>
    VIPS.flatMap(vip => {
      const reply = packet(vip, clientOf(vip), tcp({ from: port, to: 40000 }, counting(200)))
      const errors = errorKinds[familyOf(vip)].flatMap(fields =>
        [reply, minimal(reply)].map(quote => errorTo(vip, fields, quote)),
      )
      return [sent(vip, tcp({ from: 40000, to: port, options })), ...errors].map(bytes =>
        dataPlane.run(bytes),
      )
    }),
  )
  for (const { verdict } of inTunnels) t.match(verdict, /^TX_(IPIP|GRE|GUE)$/)
  t.same(tsharkComplaints(inTunnels.map(found => found.packet)), [])
})
