/** A VIP of one family, backends of the other: the IP header is exchanged (RFC 7915), in both directions, errors too. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { concat, counting, readU16, sameBytes, u16 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { type End, endsOf, segment } from '../fixtures/connection-cases.js'
import { connectionTables } from '../fixtures/connection-tables.js'
import { errorKinds, ROUTER, ROUTER6 } from '../fixtures/errors.js'
import { destinationOptions, type EthernetFields, frame, hopByHop, type Payload } from '../fixtures/frames.js'
import {
  families,
  fromBackend,
  inward,
  ip,
  NODE,
  NODE6,
  toBackend,
  toGateway,
} from '../fixtures/nat-cases.js'
import { parseEthernet, parseIp, wrongChecksums } from '../fixtures/parse.js'
import { icmp, icmpv6, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { type Kind, to4, to6 } from '../model/crossed.js'

const { SYN, ACK } = tcpFlags
const tables = connectionTables({ isCrossed: true })
type Family = 4 | 6
const otherOf = (family: Family): Family => (family === 4 ? 6 : 4)

/** Of the client's family: the services whose backends are of the other. */
const cases = [
  { family: 4, protocol: 'tcp', port: 86 },
  { family: 6, protocol: 'tcp', port: 84 },
  { family: 4, protocol: 'udp', port: 56 },
  { family: 6, protocol: 'udp', port: 54 },
] as const
type Case = (typeof cases)[number]

const begin = async (t: Parameters<typeof instance>[0], changes: Partial<typeof tables> = {}) => {
  const dataPlane = await instance(t, { ...tables, ...changes })
  dataPlane.setSeconds(1000)
  return dataPlane
}

/** The packet with what a translator may choose taken from `got`: id and DF of IPv4, the flow label. */
const withChoices = (wanted: Uint8Array, got: Uint8Array): Uint8Array => {
  const at = parseEthernet(wanted).payloadAt
  const bytes = Uint8Array.from(wanted)
  if (bytes.length !== got.length || bytes[at]! >> 4 !== got[at]! >> 4) return bytes
  if (bytes[at]! >> 4 === 6) {
    bytes[at + 1] = (bytes[at + 1]! & 0xf0) | (got[at + 1]! & 0x0f)
    bytes.set(got.subarray(at + 2, at + 4), at + 2)
    return bytes
  }
  bytes.set(got.subarray(at + 4, at + 8), at + 4)
  bytes.set(got.subarray(at + 10, at + 12), at + 10)
  return bytes
}

interface Flow {
  readonly it: Case
  readonly client: End
  readonly vip: End
  readonly local: End
  readonly server: End
  readonly backend: number
}

const open = (
  t: { fail(text: string, extra: object): unknown },
  dataPlane: Awaited<ReturnType<typeof begin>>,
  it: Case,
): Flow | null => {
  const { client, vip } = families[it.family]
  const [from, to] = [
    { host: client, port: 40000 },
    { host: vip, port: it.port },
  ]
  const { verdict, packet, backend } = dataPlane.run(
    frame(inward, ip({ from: client, to: vip }, segment(it, from, to, undefined, SYN))),
  )
  if (verdict !== 'TX_FULLNAT') {
    t.fail(`${it.family} ${it.protocol}`, { verdict })
    return null
  }
  const ends = endsOf(packet)
  return { it, client: from, vip: to, local: ends.from, server: ends.to, backend: backend!.id }
}

const packetOf = (
  { it }: Flow,
  from: End,
  to: End,
  body: Uint8Array,
  more: object = {},
  flags: number = ACK,
): Payload => ip({ from: from.host, to: to.host, tos: 0x2a, ...more }, segment(it, from, to, body, flags))

t.test('requests and replies: the other header, the same segment, every checksum right', async t => {
  const dataPlane = await begin(t)
  for (const it of cases) {
    const flow = open(t, dataPlane, it)
    if (flow === null) continue
    t.equal(flow.local.host.includes(':'), it.family === 4, 'a local address of the backend’s family')
    for (const length of [0, 1, 33, 1200])
      for (const tags of [[], [{ tci: 9 }]]) {
        const body = counting(length)
        const run = (ethernet: EthernetFields, what: Payload, wanted: Uint8Array, verdict: string): void => {
          const answer = dataPlane.run(frame({ ...ethernet, tags }, what))
          t.equal(answer.verdict, verdict, `${it.family} ${it.protocol}`)
          t.same(wrongChecksums(answer.packet), [])
          t.same(answer.packet, withChoices(wanted, answer.packet))
          t.equal(
            readU16(answer.packet, parseEthernet(answer.packet).payloadAt - 2),
            answer.packet[parseEthernet(answer.packet).payloadAt]! >> 4 === 4 ? 0x0800 : 0x86dd,
          )
        }
        run(
          inward,
          packetOf(flow, flow.client, flow.vip, body),
          frame(
            { ...toBackend(flow.backend), tags },
            packetOf(flow, flow.local, flow.server, body, { ttl: 63 }),
          ),
          'TX_FULLNAT',
        )
        run(
          fromBackend(flow.backend),
          packetOf(flow, flow.server, flow.local, body),
          frame({ ...toGateway, tags }, packetOf(flow, flow.vip, flow.client, body, { ttl: 63 })),
          'TX_FULLNAT_REPLY',
        )
      }
  }
})

t.test('UDP without a checksum gets one where IPv6 wants it', async t => {
  const dataPlane = await begin(t)
  for (const it of cases.filter(({ protocol }) => protocol === 'udp')) {
    const flow = open(t, dataPlane, it)
    if (flow === null) continue
    const [from, to, ethernet] =
      it.family === 4 ? [flow.client, flow.vip, inward] : [flow.server, flow.local, fromBackend(flow.backend)]
    for (const length of [0, 1, 40, 999]) {
      const what = ip(
        { from: from.host, to: to.host },
        udp({ from: from.port, to: to.port, checksum: 0 }, counting(length)),
      )
      const { verdict, packet } = dataPlane.run(frame(ethernet, what))
      t.match(verdict, /^TX_FULLNAT/)
      t.same(wrongChecksums(packet), [])
      t.not(readU16(packet, 14 + 40 + 6), 0)
    }
  }
})

t.test('options and extension headers are not carried over', async t => {
  const dataPlane = await begin(t)
  for (const it of cases) {
    const flow = open(t, dataPlane, it)
    if (flow === null) continue
    const body = counting(20)
    const extra =
      it.family === 4
        ? { options: counting(8).map(() => 1) }
        : { extensions: [hopByHop(), destinationOptions(1)] }
    const { verdict, packet } = dataPlane.run(
      frame(inward, packetOf(flow, flow.client, flow.vip, body, extra)),
    )
    t.equal(verdict, 'TX_FULLNAT', `${it.family} ${it.protocol}`)
    t.same(wrongChecksums(packet), [])
    const wanted = frame(toBackend(flow.backend), packetOf(flow, flow.local, flow.server, body, { ttl: 63 }))
    t.same(packet, withChoices(wanted, packet))
  }
})

t.test(
  'lengths are by the client’s packet: what the path takes, less or more what the headers differ by',
  async t => {
    const path = 1400
    const services = tables.services.map(service => ({ ...service, clampsMss: true }))
    for (const family of [4, 6] as const) {
      const mtu = family === 4 ? path - 20 : path + 20
      const dataPlane = await begin(t, {
        services,
        backends: tables.backends.map(backend => ({ ...backend, mtu })),
      })
      for (const it of cases.filter(one => one.family === family)) {
        const flow = open(t, dataPlane, it)
        if (flow === null) continue
        const headers = (family === 4 ? 20 : 40) + (it.protocol === 'tcp' ? 20 : 8)
        const ofLength = (length: number): Uint8Array =>
          frame(inward, packetOf(flow, flow.client, flow.vip, counting(length - headers)))
        const fits = dataPlane.run(ofLength(mtu))
        t.equal(fits.verdict, 'TX_FULLNAT')
        t.equal(fits.packet.length, 14 + path, 'and fills the path')
        const over = dataPlane.run(ofLength(mtu + 1))
        t.equal(over.verdict, 'TX_TOO_BIG')
        t.equal(readU16(parseIp(over.packet.subarray(14)).payload, 6), mtu)
        if (it.protocol === 'udp') continue
        const options = Uint8Array.of(2, 4, 0xff, 0xff)
        const syn = ip(
          { from: flow.client.host, to: flow.vip.host },
          tcp({ from: 40009, to: it.port, options }),
        )
        const { packet } = dataPlane.run(frame(inward, syn))
        t.equal(readU16(packet, 14 + (family === 4 ? 40 : 20) + 22), mtu - (family === 4 ? 40 : 60))
      }
    }
  },
)

t.test('the client’s address goes along, of its own family, where the path has room', async t => {
  const telling = connectionTables({ isCrossed: true, tellsClient: true })
  const path = 1400
  for (const family of [4, 6] as const) {
    const mtu = family === 4 ? path - 20 : path + 20
    const dataPlane = await instance(t, {
      ...telling,
      backends: telling.backends.map(backend => ({ ...backend, mtu })),
    })
    dataPlane.setSeconds(1000)
    const it = cases.find(one => one.family === family && one.protocol === 'tcp')!
    const { client, vip } = families[family]
    const host = address(client)
    const option = concat(Uint8Array.of(254, 4 + host.length), u16(40000), host)
    const headers = family === 4 ? 40 : 60
    for (const [n, length] of [
      0,
      33,
      mtu - headers - option.length,
      mtu - headers - option.length + 1,
    ].entries()) {
      const body = counting(length)
      const sent = ip(
        { from: client, to: vip },
        tcp({ from: 40000, to: it.port, flags: n === 0 ? SYN : ACK }, body),
      )
      const { verdict, packet } = dataPlane.run(frame(inward, sent))
      t.equal(verdict, 'TX_FULLNAT')
      t.same(wrongChecksums(packet), [])
      const { payload } = parseIp(packet.subarray(14))
      const end = (payload[12]! >> 4) * 4
      t.same(payload.subarray(20, end), n < 3 ? option : new Uint8Array(0), `${family}, ${length} bytes`)
      t.same(payload.subarray(end), body)
      t.ok(packet.length <= 14 + path)
    }
  }
})

t.test('a TTL that ends here is answered in the sender’s own family', async t => {
  const dataPlane = await begin(t)
  for (const it of cases) {
    const flow = open(t, dataPlane, it)
    if (flow === null) continue
    for (const [ethernet, from, to] of [
      [inward, flow.client, flow.vip],
      [fromBackend(flow.backend), flow.server, flow.local],
    ] as const) {
      const { verdict, packet } = dataPlane.run(
        frame(ethernet, packetOf(flow, from, to, counting(9), { ttl: 1 })),
      )
      t.equal(verdict, 'TX_TIME_EXCEEDED')
      const { from: who } = endsOf(packet)
      t.equal(who.host, from.host.includes(':') ? NODE6 : NODE)
      t.same(wrongChecksums(packet), [])
    }
  }
})

/** RFC 7915: all that has a counterpart, and some that have none. */
const kinds: Readonly<Record<Family, readonly Kind[]>> = {
  4: [
    ...errorKinds[4].map(kind => ({ rest: 0, ...kind })),
    ...Array.from({ length: 17 }, (_, code) => ({ type: 3, code, rest: code === 4 ? 1400 : 0 })),
    { type: 3, code: 4, rest: 576 },
    ...Array.from({ length: 21 }, (_, pointer) => ({ type: 12, code: 0, rest: pointer << 24 })),
    { type: 12, code: 1, rest: 0 },
    { type: 12, code: 2, rest: 0 },
  ],
  6: [
    ...errorKinds[6].map(kind => ({ rest: 0, ...kind })),
    ...Array.from({ length: 8 }, (_, code) => ({ type: 1, code, rest: 0 })),
    { type: 2, code: 0, rest: 1280 },
    { type: 2, code: 0, rest: 9000 },
    ...Array.from({ length: 42 }, (_, pointer) => ({ type: 4, code: 0, rest: pointer })),
    { type: 4, code: 1, rest: 6 },
    { type: 4, code: 2, rest: 6 },
  ],
}

t.test('errors cross too, with what they quote', async t => {
  const dataPlane = await begin(t)
  for (const it of cases) {
    const flow = open(t, dataPlane, it)
    if (flow === null) continue
    const sides = [
      // from the client's side, about a reply; from the backend's side, about a request
      {
        family: it.family,
        ethernet: inward,
        about: [flow.vip, flow.client],
        becomes: [flow.server, flow.local],
        to: flow.vip,
        out: toBackend(flow.backend),
        from: [flow.local],
        onTo: flow.server,
        verdict: 'TX_FULLNAT',
      },
      {
        family: otherOf(it.family),
        ethernet: fromBackend(flow.backend),
        about: [flow.local, flow.server],
        becomes: [flow.client, flow.vip],
        to: flow.local,
        out: toGateway,
        from: [flow.vip],
        onTo: flow.client,
        verdict: 'TX_FULLNAT_REPLY',
      },
    ] as const
    for (const side of sides)
      for (const kind of kinds[side.family])
        for (const length of [8, 20, 33, 300]) {
          const quote = (family: Family, [from, to]: readonly [End, End]): Uint8Array =>
            packetOf(flow, from, to, counting(400), { ttl: 50 }).bytes.subarray(
              0,
              (family === 4 ? 20 : 40) + length,
            )
          const router = side.family === 4 ? ROUTER : ROUTER6
          const message = (family: Family, { type, code, rest }: Kind, quoted: Uint8Array) =>
            (family === 4 ? icmp : icmpv6)({ type, code, rest }, quoted)
          const sent = frame(
            side.ethernet,
            ip(
              { from: router, to: side.to.host, ttl: 60, tos: 0xc0 },
              message(side.family, kind, quote(side.family, side.about)),
            ),
          )
          const { verdict, packet } = dataPlane.run(sent)
          const name = `${it.family} ${it.protocol} ${kind.type}/${kind.code} ${kind.rest}, ${length} bytes`
          const crossed = side.family === 4 ? to6(kind) : to4(kind)
          if (crossed === null) {
            t.equal(verdict, 'DROP_UNTRANSLATABLE', name)
            t.ok(sameBytes(packet, sent))
            continue
          }
          t.equal(verdict, side.verdict, name)
          t.same(wrongChecksums(packet), [], name)
          const other = otherOf(side.family)
          const wanted = frame(
            side.out,
            ip(
              { from: side.from[0].host, to: side.onTo.host, ttl: 59, tos: 0xc0 },
              message(other, crossed, quote(other, side.becomes)),
            ),
          )
          const at = 14 + (other === 4 ? 20 : 40)
          // type, code and second word; then the quoted packet, but for what a translator chooses of its header
          t.same([packet[at], packet[at + 1]], [crossed.type, crossed.code], name)
          t.same(packet.subarray(at + 4, at + 8), wanted.subarray(at + 4, at + 8), name)
          const got = parseIp(packet.subarray(14))
          const want = parseIp(wanted.subarray(14))
          t.match(got, { from: want.from, to: want.to, ttl: 59 }, name)
          const [gotQuote, wantQuote] = [got.payload.subarray(8), want.payload.subarray(8)]
          t.equal(gotQuote.length, wantQuote.length, name)
          if (gotQuote.length !== wantQuote.length) continue
          const [asFrame, wantFrame] = [gotQuote, wantQuote].map(quoted =>
            frame(side.out, { etherType: other === 4 ? 0x0800 : 0x86dd, bytes: quoted }),
          ) as [Uint8Array, Uint8Array]
          t.ok(sameBytes(asFrame, withChoices(wantFrame, asFrame)), `${name}: the quote`)
        }
  }
})
