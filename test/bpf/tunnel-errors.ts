/** ICMP errors about the outer packet, of a router on the tunnel's path: told to the client, and noted. */
import t from 'tap'
import { address, mappedAddress } from '../fixtures/addresses.js'
import { concat, counting, hex, readU32, u16 } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, caseTables, instance, sent } from '../fixtures/cases.js'
import { errorKinds, errorTo, familyOf, packet } from '../fixtures/errors.js'
import { parseEthernet, parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { other, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import {
  BACKEND,
  BACKEND6,
  NODE,
  NODE6,
  tunnelTables,
  type Variant,
  VIPS,
  variants,
} from '../fixtures/tunnels.js'

const dataPlane = await instance(t, tunnelTables())
const TOO_BIG = { 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, code: 0, rest: 1400 } } as const
const UNREACHABLE = { 4: { type: 3, code: 1 }, 6: { type: 1, code: 3 } } as const

const text = (bytes: Uint8Array): string =>
  bytes.length === 4 ? bytes.join('.') : (hex(bytes).match(/.{4}/g)?.join(':') ?? '')

/** What the balancer sends into the tunnel for this packet, from the outer IP header on, and the packet. */
const sentInto = (variant: Variant, vip: string, size = 100) => {
  const bytes = sent(vip, tcp({ from: 40000, to: variant.port, flags: tcpFlags.ACK }, counting(size)), {
    ip: { dontFragment: true },
  })
  return { inner: bytes.subarray(14), outer: dataPlane.run(bytes).packet.subarray(14) }
}
/** The tunnel's source, which is whom routers write to. */
const sourceOf = (outer: Uint8Array): string =>
  text(outer[0]! >> 4 === 4 ? outer.subarray(12, 16) : outer.subarray(8, 24))
const clientOf = (vip: string): string => (familyOf(vip) === 4 ? CLIENT : CLIENT6)

t.test('an error about size tells the client what is left for its packet', async t => {
  for (const variant of variants)
    for (const vip of VIPS) {
      const title = `${vip} by ${variant.name}`
      const { inner, outer } = sentInto(variant, vip)
      const bytes = errorTo(sourceOf(outer), TOO_BIG[familyOf(variant.tunnel.to)], outer)
      const { action, verdict, backend, packet: answer } = dataPlane.run(bytes)
      t.same(
        { action, verdict, id: backend?.id },
        { action: 'TX', verdict: 'TX_TUNNEL_ERROR', id: variant.id },
        title,
      )
      t.match(parseEthernet(answer), {
        to: CLIENT_MAC,
        from: BALANCER_MAC,
        etherType: familyOf(vip) === 4 ? 0x0800 : 0x86dd,
      })
      const ip = parseIp(answer.subarray(14))
      t.match(ip, { from: hex(address(vip)), to: hex(address(clientOf(vip))), ttl: 64, tos: 0, id: 0 }, title)
      t.equal(hex(ip.payload.subarray(0, 2)), familyOf(vip) === 4 ? '0304' : '0200', title)
      t.equal(readU32(ip.payload, 4), 1400 - variant.overhead, title)
      t.equal(hex(ip.payload.subarray(8)), hex(inner), `${title}: the client's packet is quoted`)
      t.same(wrongChecksums(answer), [], title)
    }
})

t.test('all other errors say that the host cannot be reached', async t => {
  for (const variant of variants)
    for (const vip of VIPS)
      for (const fields of errorKinds[familyOf(variant.tunnel.to)]) {
        if (fields.rest === 1300) continue // about size
        const { inner, outer } = sentInto(variant, vip)
        const { verdict, packet: answer, pathMtu } = dataPlane.run(errorTo(sourceOf(outer), fields, outer))
        const title = `${vip} by ${variant.name}, type ${fields.type}, code ${fields.code}`
        t.equal(verdict, 'TX_TUNNEL_ERROR', title)
        const { payload } = parseIp(answer.subarray(14))
        t.equal(hex(payload.subarray(0, 2)), familyOf(vip) === 4 ? '0301' : '0103', title)
        t.equal(readU32(payload, 4), 0)
        t.equal(hex(payload.subarray(8)), hex(inner), title)
        t.equal(pathMtu, null)
        t.same(wrongChecksums(answer), [], title)
      }
})

t.test('what a router says of the MTU is noted for the outer destination, whatever it quotes', async t => {
  for (const variant of variants)
    for (const vip of VIPS) {
      const { outer } = sentInto(variant, vip)
      const isOver4 = familyOf(variant.tunnel.to) === 4
      const noted = { end: hex(mappedAddress(isOver4 ? BACKEND : BACKEND6)), mtu: 1400 }
      for (const quoted of [outer.length, (isOver4 ? 20 : 40) + 8, 90]) {
        const bytes = errorTo(sourceOf(outer), TOO_BIG[isOver4 ? 4 : 6], outer.subarray(0, quoted))
        const { pathMtu } = dataPlane.run(bytes)
        t.same(pathMtu, noted, `${vip} by ${variant.name}, ${quoted} bytes quoted`)
      }
    }
})

t.test('without the client’s packet in the quote, nobody is told', async t => {
  for (const variant of variants)
    for (const vip of VIPS) {
      const { outer } = sentInto(variant, vip)
      const needed = variant.overhead + (familyOf(vip) === 4 ? 20 : 40) + 4
      for (const [quoted, verdict] of [
        [needed, 'TX_TUNNEL_ERROR'],
        [needed - 1, 'PASS_TUNNEL_ERROR'],
        [variant.overhead + 1, 'PASS_TUNNEL_ERROR'],
      ] as const) {
        const fields = TOO_BIG[familyOf(variant.tunnel.to)]
        const bytes = errorTo(sourceOf(outer), fields, outer.subarray(0, quoted))
        const answer = dataPlane.run(bytes)
        t.equal(answer.verdict, verdict, `${vip} by ${variant.name}, ${quoted} bytes quoted`)
        if (verdict === 'PASS_TUNNEL_ERROR') t.same(answer.packet, bytes)
        else t.equal(answer.packet.length, 14 + (familyOf(vip) === 4 ? 28 : 48) + needed - variant.overhead)
      }
    }
})

t.test('the quote is as long as the error may be', async t => {
  const [variant] = variants
  for (const vip of VIPS) {
    const { inner, outer } = sentInto(variant!, vip, 1350)
    const { packet: answer } = dataPlane.run(errorTo(sourceOf(outer), TOO_BIG[4], outer))
    const ip = parseIp(answer.subarray(14))
    t.equal(ip.payload.length - 8, 548 - 20, 'all that the router’s error had of it')
    t.equal(hex(ip.payload.subarray(8)), hex(inner.subarray(0, 528)))
    t.same(wrongChecksums(answer), [])
  }
  const over6 = variants.find(({ tunnel }) => familyOf(tunnel.to) === 6)!
  const { inner, outer } = sentInto(over6, VIPS[0], 1350)
  const { packet: answer } = dataPlane.run(errorTo(sourceOf(outer), TOO_BIG[6], outer))
  const ip = parseIp(answer.subarray(14))
  t.equal(ip.length, 576, 'an IPv4 error of an IPv6 one')
  t.equal(hex(ip.payload.subarray(8)), hex(inner.subarray(0, 548)))
})

t.test('an extension behind the quote (RFC 4884) is not quoted', async t => {
  for (const variant of variants.slice(0, 2))
    for (const vip of VIPS) {
      const { inner, outer } = sentInto(variant, vip, 20)
      const isOver4 = familyOf(variant.tunnel.to) === 4
      const quoted = concat(outer, new Uint8Array(128)).subarray(0, 128)
      const extension = concat(u16(0x2000), u16(0), u16(8), u16(0x0101), counting(4))
      const fields = isOver4
        ? { type: 11, code: 0, rest: (128 / 4) << 16 }
        : { type: 3, code: 0, rest: (128 / 8) << 24 }
      const { verdict, packet: answer } = dataPlane.run(
        errorTo(sourceOf(outer), fields, concat(quoted, extension)),
      )
      t.equal(verdict, 'TX_TUNNEL_ERROR')
      const { payload } = parseIp(answer.subarray(14))
      t.equal(payload.length - 8, 128 - variant.overhead)
      t.equal(
        hex(payload.subarray(8)),
        hex(concat(inner, new Uint8Array(128)).subarray(0, 128 - variant.overhead)),
      )
      const short = { ...fields, rest: fields.rest / 16 }
      t.equal(
        dataPlane.run(errorTo(sourceOf(outer), short, concat(quoted, extension))).verdict,
        'PASS_TUNNEL_ERROR',
        'a length that leaves nothing of the client’s packet',
      )
    }
})

t.test('an MTU that leaves the packet nothing is not told', async t => {
  for (const variant of variants)
    for (const vip of VIPS) {
      const { outer } = sentInto(variant, vip)
      const family = familyOf(variant.tunnel.to)
      const run = (mtu: number) =>
        dataPlane.run(errorTo(sourceOf(outer), { ...TOO_BIG[family], rest: mtu }, outer))
      const title = `${vip} by ${variant.name}`
      t.match(run(0), { verdict: 'PASS_TUNNEL_ERROR', pathMtu: null }, title)
      t.equal(run(variant.overhead + 67).verdict, 'PASS_TUNNEL_ERROR', title)
      t.equal(run(variant.overhead + 68).verdict, 'TX_TUNNEL_ERROR', title)
    }
})

t.test('what is made up is not believed', async t => {
  const [variant] = variants
  const passes = (bytes: Uint8Array, why: string, verdict = 'PASS_TUNNEL_ERROR'): void => {
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict, packet: bytes }, why)
  }
  for (const vip of VIPS) {
    const { inner } = sentInto(variant!, vip)
    const protocol = familyOf(vip) === 4 ? 4 : 41
    const carrying = (bytes: Uint8Array, to = BACKEND, by = protocol): Uint8Array =>
      packet(NODE, to, other(by, bytes))
    const about = (outer: Uint8Array): Uint8Array => errorTo(NODE, TOO_BIG[4], outer)
    t.equal(dataPlane.run(about(carrying(inner))).verdict, 'TX_TUNNEL_ERROR')
    passes(about(carrying(inner, '10.9.0.99')), 'another outer destination')
    const toOther = packet(clientOf(vip), vip, tcp({ from: 1, to: 9 }))
    passes(about(carrying(toOther)), 'of no service', 'PASS_NOT_A_SERVICE')
    passes(about(carrying(inner, BACKEND, 50)), 'by no tunnel of ours', 'PASS_NOT_A_SERVICE')
    passes(
      about(packet(NODE, BACKEND, udp({ from: 1024, to: 6080 }, inner))),
      'UDP of the host',
      'PASS_NOT_A_SERVICE',
    )
    passes(errorTo('10.9.0.2', TOO_BIG[4], carrying(inner)), 'to somebody else', 'PASS_NOT_A_SERVICE')
    for (const from of familyOf(vip) === 4 ? ['224.0.0.1', '127.0.0.1', vip] : ['ff02::1', '::1', vip])
      passes(about(carrying(packet(from, vip, tcp({ from: 40000, to: variant!.port })))), `of ${from}`)
    passes(
      errorTo(NODE, TOO_BIG[4], carrying(inner), { ethernet: { to: '02:00:00:00:00:ff' } }),
      'to another host',
      'PASS_OTHER_HOST',
    )
  }
})

t.test('a flow that goes without a tunnel has no error about one', async t => {
  const direct = await instance(t, caseTables)
  for (const vip of ['192.0.2.10', '2001:db8:ffff::10']) {
    const inner = packet(clientOf(vip), vip, tcp({ from: 40000, to: 80 }))
    for (const [from, to] of [
      [NODE, BACKEND],
      [NODE6, BACKEND6],
    ] as const) {
      const outer = packet(from, to, other(familyOf(vip) === 4 ? 4 : 41, inner))
      const bytes = errorTo(from, UNREACHABLE[familyOf(from)], outer)
      t.match(direct.run(bytes), { verdict: 'PASS_TUNNEL_ERROR', packet: bytes })
    }
  }
})

t.test('errors beyond the rate limit are left to the host', async t => {
  const limited = await instance(t, tunnelTables(), { answersPerSecond: 3 })
  const { outer } = sentInto(variants[0]!, VIPS[0])
  const bytes = errorTo(sourceOf(outer), TOO_BIG[4], outer)
  const answers = limited.runAll(Array.from({ length: 20 }, () => bytes))
  t.same(new Set(answers.map(({ verdict }) => verdict)), new Set(['TX_TUNNEL_ERROR', 'PASS_TUNNEL_ERROR']))
  t.ok(
    answers.every(({ pathMtu }) => pathMtu?.mtu === 1400),
    'and noted all the same',
  )
})
