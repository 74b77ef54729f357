/** Translating, the balancer is a router: a TTL that ends here is answered from its interface's own address. */
import t from 'tap'
import { concat, counting, sameBytes, u16 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { errorTo } from '../fixtures/errors.js'
import { type EthernetFields, frame, ipv4, ipv6, type Payload } from '../fixtures/frames.js'
import { families, fromBackend, inward, ip, natTables } from '../fixtures/nat-cases.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { CLIENT_MAC, entryInterface } from '../fixtures/tables.js'
import { icmp, icmpv6, tcp, tcpFlags, udp } from '../fixtures/transport.js'

const ACK = tcpFlags.ACK
type Family = 4 | 6

const request = (family: Family, ttl: number, body = counting(40)): Payload =>
  ip(
    { from: families[family].client, to: families[family].vip, ttl },
    tcp({ from: 40000, to: 80, flags: ACK }, body),
  )
const reply = (family: Family, ttl: number, body = counting(40)): Payload =>
  ip(
    { from: families[family].backend, to: families[family].client, ttl },
    tcp({ from: 8080, to: 40000, flags: ACK }, body),
  )

/** Both directions: the packet, and the host that its error goes to. */
const both = (family: Family, ttl: number, body?: Uint8Array) => [
  { what: request(family, ttl, body), from: inward, sender: families[family].client },
  { what: reply(family, ttl, body), from: fromBackend(1), sender: families[family].backend },
]

/** What the sender is told: in a frame back to where it came from. */
const timeExceeded = (
  ethernet: EthernetFields,
  family: Family,
  sender: string,
  quoted: Uint8Array,
): Uint8Array => {
  const back = { ...ethernet, to: ethernet.from, from: ethernet.to, padTo: 0 }
  const { node } = families[family]
  return family === 4
    ? frame(
        back,
        ipv4(
          { from: node, to: sender, dontFragment: true },
          icmp({ type: 11, code: 0 }, quoted.subarray(0, 548)),
        ),
      )
    : frame(back, ipv6({ from: node, to: sender }, icmpv6({ type: 3, code: 0 }, quoted.subarray(0, 1232))))
}

t.test('a TTL of 2 leaves as 1', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const)
    for (const { what, from } of both(family, 2)) {
      const { verdict, packet } = dataPlane.run(frame(from, what))
      t.match(verdict, /^TX_NAT/)
      t.equal(packet[14 + (family === 4 ? 8 : 7)], 1)
      t.same(wrongChecksums(packet), [])
    }
})

t.test(
  'a TTL of 1 or 0 is answered, quoting the packet as it came, from the interface’s address',
  async t => {
    const dataPlane = await instance(t, natTables)
    for (const family of [4, 6] as const)
      for (const ttl of [1, 0])
        for (const length of [0, 1, 40, 507, 508, 509, 1171, 1172, 1173, 1400])
          for (const tags of [[], [{ tci: 5 }], [{ tpid: 0x88a8, tci: 5 }, { tci: 6 }]])
            for (const { what, from, sender } of both(family, ttl, counting(length))) {
              const ethernet = { ...from, tags }
              const { verdict, packet } = dataPlane.run(frame(ethernet, what))
              t.equal(verdict, 'TX_TIME_EXCEEDED')
              t.ok(
                sameBytes(packet, timeExceeded(ethernet, family, sender, what.bytes)),
                `${family}, ${length} bytes`,
              )
            }
  },
)

t.test('what is behind the packet in its frame is not quoted', async t => {
  const dataPlane = await instance(t, natTables)
  for (const { what, from, sender } of both(4, 1, counting(0))) {
    const ethernet = { ...from, padTo: 60 }
    t.same(dataPlane.run(frame(ethernet, what)).packet, timeExceeded(ethernet, 4, sender, what.bytes))
  }
})

t.test('a SYN is quoted as it came, though its MSS would have been lowered', async t => {
  const services = natTables.services.map(service => ({ ...service, clampsMss: true }))
  const backends = natTables.backends.map(backend => ({ ...backend, mtu: 1400 }))
  const dataPlane = await instance(t, { ...natTables, services, backends })
  for (const family of [4, 6] as const) {
    const { client, vip } = families[family]
    const options = concat(Uint8Array.of(2, 4), u16(8960))
    const syn = (ttl: number): Payload =>
      ip({ from: client, to: vip, ttl }, tcp({ from: 40000, to: 80, options }))
    t.equal(dataPlane.run(frame(inward, syn(2))).packet.at(-2), (1400 - (family === 4 ? 40 : 60)) >> 8)
    const { verdict, packet } = dataPlane.run(frame(inward, syn(1)))
    t.equal(verdict, 'TX_TIME_EXCEEDED')
    t.same(packet, timeExceeded(inward, family, client, syn(1).bytes))
  }
})

t.test('nobody is told: a group, no host, an error, an interface without address', async t => {
  const dataPlane = await instance(t, natTables)
  const unanswered = (sent: Uint8Array, name: string): void => {
    const { verdict, packet } = dataPlane.run(sent)
    t.equal(verdict, 'DROP_TTL_EXPIRED', name)
    t.ok(sameBytes(packet, sent), `${name}: nothing has changed`)
  }
  for (const family of [4, 6] as const) {
    const { client, vip, backend } = families[family]
    for (const { what, from } of both(family, 1))
      unanswered(frame({ ...from, from: '03:00:00:00:00:01' }, what), 'group')
    for (const source of family === 4 ? ['0.0.0.1', '127.0.0.1', '224.0.0.1'] : ['::', '::1', 'ff02::1'])
      unanswered(
        frame(inward, ip({ from: source, to: vip, ttl: 1 }, tcp({ from: 40000, to: 80, flags: ACK }))),
        source,
      )
    const sentByVip = ip({ from: vip, to: client }, tcp({ from: 80, to: 40000, flags: ACK }))
    const error = errorTo(vip, family === 4 ? { type: 3, code: 1 } : { type: 1, code: 0 }, sentByVip.bytes)
    error[14 + (family === 4 ? 8 : 7)] = 1
    unanswered(error, 'an error from outside')
    const sentInside = ip({ from: client, to: backend }, tcp({ from: 40000, to: 8080, flags: ACK }))
    const inside = errorTo(
      client,
      family === 4 ? { type: 3, code: 1 } : { type: 1, code: 0 },
      sentInside.bytes,
    )
    inside[14 + (family === 4 ? 8 : 7)] = 1
    unanswered(inside, 'an error from inside')
  }
  const nameless = await instance(t, { ...natTables, interfaces: [entryInterface] })
  for (const family of [4, 6] as const) {
    const sent = frame(fromBackend(1), reply(family, 1))
    const { verdict, packet } = nameless.run(sent)
    t.equal(verdict, 'DROP_TTL_EXPIRED', 'not in the client’s name')
    t.ok(sameBytes(packet, sent))
  }
})

t.test('answers are limited', async t => {
  const dataPlane = await instance(t, natTables, { answersPerSecond: 1 })
  for (const [i, family] of ([4, 6, 4] as const).entries()) {
    const { verdict } = dataPlane.run(frame(inward, request(family, 1)))
    t.equal(verdict, i < 2 ? 'TX_TIME_EXCEEDED' : 'DROP_TTL_LIMITED')
  }
})

t.test('what goes to the host itself, or to no service, keeps its TTL', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { backend, client, node } = families[family]
    const toHost = ip({ from: backend, to: node, ttl: 1 }, tcp({ from: 8080, to: 40000, flags: ACK }))
    const own = ip({ from: backend, to: client, ttl: 1 }, udp({ from: 9, to: 40000 }))
    for (const what of [toHost, own]) {
      const sent = frame({ ...fromBackend(1) }, what)
      const { verdict, packet } = dataPlane.run(sent)
      t.equal(verdict, 'PASS_NOT_A_SERVICE')
      t.ok(sameBytes(packet, sent))
    }
    const flewBy = frame({ ...fromBackend(1), to: CLIENT_MAC }, reply(family, 1))
    t.equal(dataPlane.run(flewBy).verdict, 'PASS_OTHER_HOST')
  }
})
