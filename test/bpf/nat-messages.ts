/** ICMP errors through NAT: their addresses, what they quote, and every checksum, in both directions. */
import t from 'tap'
import { concat, counting, sameBytes, u16 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { errorKinds, ROUTER, ROUTER6 } from '../fixtures/errors.js'
import { destinationOptions, type EthernetFields, frame, type Payload } from '../fixtures/frames.js'
import {
  clients,
  families,
  fromBackend,
  inward,
  ip,
  NARROW_MTU,
  natServices,
  natTables,
  serviceId,
  toBackend,
  toGateway,
} from '../fixtures/nat-cases.js'
import { OUT_MAC } from '../fixtures/tables.js'
import { icmp, icmpv6, other, type Transport, tcp, tcpFlags, udp } from '../fixtures/transport.js'

const ACK = tcpFlags.ACK
const SOURCE = 40000
type Family = 4 | 6
type Service = (typeof natServices)[number]
const own = ({ port, toPort }: Service): number => toPort || port
const routerOf = (family: Family): string => (family === 4 ? ROUTER : ROUTER6)

const segment = ({ protocol }: Service, ports: { from: number; to: number }, body: Uint8Array): Transport =>
  protocol === 'tcp' ? tcp({ ...ports, seq: 7, ack: 9, flags: ACK }, body) : udp(ports, body)

const message = (family: Family, kind: (typeof errorKinds)[4][number], quote: Uint8Array): Transport =>
  family === 4 ? icmp(kind, quote) : icmpv6(kind, quote)

/** An error's frame from a router. */
const error = (
  ethernet: EthernetFields,
  ends: { from: string; to: string; ttl?: number },
  kind: (typeof errorKinds)[4][number],
  quote: Uint8Array,
): Uint8Array =>
  frame(ethernet, ip({ tos: 0xc0, ttl: 60, ...ends }, message(ends.to.includes(':') ? 6 : 4, kind, quote)))

/** What of a packet is quoted: so many bytes behind its IP header. */
const lengths = [4, 6, 8, 10, 15, 16, 18, 19, 20, 24, 25, 60, 400]
const cut = (family: Family, packet: Payload, length: number): Uint8Array =>
  packet.bytes.subarray(0, (family === 4 ? 20 : 40) + length)

const combined = ([4, 6] as const).flatMap(family =>
  natServices.flatMap(service => errorKinds[family].map(kind => ({ family, service, kind }))),
)

t.test('from outside, about a reply: to the backend, as if it were about what that has sent', async t => {
  const dataPlane = await instance(t, natTables)
  for (const { family, service, kind } of combined)
    for (const length of lengths) {
      const { vip, backend, client } = families[family]
      const id = serviceId(family, service.name) + 1
      const sent = (from: string, port: number): Uint8Array =>
        cut(
          family,
          ip(
            { from, to: client, ttl: 55, tos: 3 },
            segment(service, { from: port, to: SOURCE }, counting(500)),
          ),
          length,
        )
      const answer = dataPlane.run(
        error(inward, { from: routerOf(family), to: vip }, kind, sent(vip, service.port)),
      )
      const isFar = service.name === 'far'
      const name = `${family} ${service.name} ${kind.type}/${kind.code}, ${length} bytes`
      t.equal(answer.verdict, isFar ? 'REDIRECT_NAT' : 'TX_NAT', name)
      t.equal(answer.backend?.id, id)
      const ends = isFar ? { ...toBackend(id), from: OUT_MAC } : toBackend(id)
      const wanted = error(
        ends,
        { from: routerOf(family), to: backend, ttl: 59 },
        kind,
        sent(backend, own(service)),
      )
      t.ok(sameBytes(answer.packet, wanted), name)
    }
})

t.test('from inside, about a request: to the client, from the VIP', async t => {
  const dataPlane = await instance(t, natTables)
  for (const { family, service, kind } of combined)
    for (const length of lengths)
      for (const from of [families[family].backend, routerOf(family)]) {
        const { vip, backend, client } = families[family]
        const sent = (to: string, port: number): Uint8Array =>
          cut(
            family,
            ip(
              { from: client, to, ttl: 55, tos: 3 },
              segment(service, { from: SOURCE, to: port }, counting(500)),
            ),
            length,
          )
        const answer = dataPlane.run(
          error(fromBackend(1), { from, to: client }, kind, sent(backend, own(service))),
        )
        const name = `${family} ${service.name} ${kind.type}/${kind.code}, ${length} bytes`
        t.equal(answer.verdict, 'TX_NAT_REPLY', name)
        t.equal(answer.backend?.id, serviceId(family, service.name) + 1)
        const wanted = error(toGateway, { from: vip, to: client, ttl: 59 }, kind, sent(vip, service.port))
        t.ok(sameBytes(answer.packet, wanted), name)
      }
})

t.test('quoted IPv4 options, extension headers and an absent UDP checksum are kept', async t => {
  const dataPlane = await instance(t, natTables)
  const more = { options: counting(9).map(byte => byte | 0x80), extensions: [destinationOptions(3)] }
  for (const family of [4, 6] as const) {
    const { vip, backend, client } = families[family]
    const kind = errorKinds[family][3]!
    const query = (to: string, port: number): Uint8Array =>
      ip({ from: client, to, ...more }, udp({ from: SOURCE, to: port }, counting(50))).bytes
    const { verdict, packet } = dataPlane.run(
      error(fromBackend(2), { from: backend, to: client }, kind, query(backend, 5353)),
    )
    t.equal(verdict, 'TX_NAT_REPLY')
    t.same(packet, error(toGateway, { from: vip, to: client, ttl: 59 }, kind, query(vip, 53)))
  }
  const { vip, backend, client } = families[4]
  const unsummed = (to: string, port: number): Uint8Array =>
    ip({ from: client, to }, udp({ from: SOURCE, to: port, checksum: 0 }, counting(50))).bytes
  const kind = errorKinds[4][2]!
  const there = dataPlane.run(
    error(fromBackend(2), { from: backend, to: client }, kind, unsummed(backend, 5353)),
  )
  t.same(there.packet, error(toGateway, { from: vip, to: client, ttl: 59 }, kind, unsummed(vip, 53)))
})

t.test('a quoted UDP checksum that comes to 0 is 0xffff, not none', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const kind = errorKinds[4][2]!
  let met = 0
  for (let word = 0; word < 65536; word++) {
    const query = (to: string, port: number): Uint8Array =>
      ip({ from: client, to }, udp({ from: SOURCE, to: port }, u16(word))).bytes
    const wanted = query(vip, 53)
    if (wanted[26] !== 0xff || wanted[27] !== 0xff) continue
    met++
    const { packet } = dataPlane.run(
      error(fromBackend(2), { from: backend, to: client }, kind, query(backend, 5353)),
    )
    t.same(packet, error(toGateway, { from: vip, to: client, ttl: 59 }, kind, wanted))
  }
  t.ok(met > 0)
})

t.test('half a quoted checksum stays, and the message’s own is right', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { vip, backend, client } = families[family]
    const kind = errorKinds[family][0]!
    const quote = (to: string, port: number): Uint8Array =>
      cut(family, ip({ from: client, to }, tcp({ from: SOURCE, to: port })), 17)
    const sent = quote(backend, 8080)
    const { packet } = dataPlane.run(error(fromBackend(1), { from: backend, to: client }, kind, sent))
    const wanted = concat(quote(vip, 80).subarray(0, -1), sent.subarray(-1))
    t.same(packet, error(toGateway, { from: vip, to: client, ttl: 59 }, kind, wanted))
  }
})

t.test('in a longer frame, what is behind the message is left alone', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const kind = errorKinds[4][0]!
  const trailer = counting(40)
  for (const length of [8, 12, 15])
    for (const [from, to, build] of [
      [fromBackend(1), toGateway, true],
      [inward, toBackend(1), false],
    ] as const) {
      const before = build
        ? cut(4, ip({ from: client, to: backend }, tcp({ from: SOURCE, to: 8080 })), length)
        : cut(4, ip({ from: vip, to: client }, tcp({ from: 80, to: SOURCE, flags: ACK })), length)
      const after = build
        ? cut(4, ip({ from: client, to: vip }, tcp({ from: SOURCE, to: 80 })), length)
        : cut(4, ip({ from: backend, to: client }, tcp({ from: 8080, to: SOURCE, flags: ACK })), length)
      const sent = error(from, { from: ROUTER, to: build ? client : vip }, kind, before)
      const wanted = error(
        to,
        { from: build ? vip : ROUTER, to: build ? client : backend, ttl: 59 },
        kind,
        after,
      )
      const { packet } = dataPlane.run(concat(sent, trailer))
      t.same(packet, concat(wanted, trailer))
    }
})

t.test('an error to a client takes that client’s way, and none to the host itself', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { vip, backend } = families[family]
    const { far, local, lost } = clients[family]
    const kind = errorKinds[family][2]!
    const about = (client: string, to: string, port: number): Uint8Array =>
      ip({ from: client, to }, tcp({ from: SOURCE, to: port })).bytes
    const run = (client: string) =>
      dataPlane.run(error(fromBackend(1), { from: backend, to: client }, kind, about(client, backend, 8080)))
    const answer = run(far)
    t.equal(answer.verdict, 'REDIRECT_NAT_REPLY')
    t.same(
      answer.packet,
      error(
        { to: '02:00:00:00:01:0a', from: OUT_MAC },
        { from: vip, to: far, ttl: 59 },
        kind,
        about(far, vip, 80),
      ),
    )
    t.equal(run(lost).verdict, 'DROP_NO_NEXT_HOP')
    t.equal(run(local).verdict, 'PASS_NOT_A_SERVICE', 'about the host’s own probe')
  }
})

t.test('other messages between clients and backends pass untouched', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { backend, client } = families[family]
    const kind = errorKinds[family][2]!
    const about = (to: string, transport: Transport): Uint8Array => ip({ from: client, to }, transport).bytes
    const stranger = family === 4 ? '10.9.0.99' : '2001:db8:9::99'
    const cases = {
      'another port': error(
        fromBackend(1),
        { from: backend, to: client },
        kind,
        about(backend, tcp({ from: SOURCE, to: 8079 })),
      ),
      'another protocol': error(
        fromBackend(1),
        { from: backend, to: client },
        kind,
        about(backend, other(132, counting(20))),
      ),
      'another host': error(
        fromBackend(1),
        { from: backend, to: client },
        kind,
        about(stranger, tcp({ from: SOURCE, to: 8080 })),
      ),
      'another client’s': error(
        fromBackend(1),
        { from: backend, to: clients[family].far },
        kind,
        about(backend, tcp({ from: SOURCE, to: 8080 })),
      ),
      'an echo reply': frame(
        fromBackend(1),
        ip(
          { from: backend, to: client },
          family === 4 ? icmp({ type: 0, code: 0 }) : icmpv6({ type: 129, code: 0 }),
        ),
      ),
    }
    for (const [name, sent] of Object.entries(cases)) {
      const { verdict, packet } = dataPlane.run(sent)
      t.equal(verdict, 'PASS_NOT_A_SERVICE', `${family}: ${name}`)
      t.ok(sameBytes(packet, sent))
    }
  }
})

t.test('an error longer than its way is dropped', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const kind = errorKinds[4][2]!
  const reply = ip({ from: vip, to: client }, udp({ from: 8082, to: SOURCE }, counting(NARROW_MTU))).bytes
  t.equal(dataPlane.run(error(inward, { from: ROUTER, to: vip }, kind, reply)).verdict, 'DROP_TOO_BIG')
  const { narrow } = clients[4]
  const request = ip(
    { from: narrow, to: backend },
    tcp({ from: SOURCE, to: 8080 }, counting(NARROW_MTU)),
  ).bytes
  t.equal(
    dataPlane.run(error(fromBackend(1), { from: backend, to: narrow }, kind, request)).verdict,
    'DROP_TOO_BIG',
  )
})
