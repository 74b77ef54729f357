/** RFC 9293 3.10.7.1: what a closed port answers. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { counting, hex } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, DOWN_VIP, DOWN_VIP6, instance, sent } from '../fixtures/cases.js'
import { destinationOptions, hopByHop } from '../fixtures/frames.js'
import { parseEthernet, parseIp, parseTcp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { type TcpFields, tcp, tcpFlags } from '../fixtures/transport.js'

const { FIN, SYN, RST, PSH, ACK, URG } = tcpFlags
const dataPlane = await instance(t)

const segment = (fields: Partial<TcpFields>, payload: Uint8Array = new Uint8Array(0)) =>
  tcp({ from: 40000, to: 80, seq: 1000, ack: 0x12345678, ...fields }, payload)

/** The TCP header of the answer. */
const answerTo = (vip: string, fields: Partial<TcpFields>, payload?: Uint8Array) => {
  const { packet } = dataPlane.run(sent(vip, segment(fields, payload)))
  return parseTcp(parseIp(packet.subarray(parseEthernet(packet).payloadAt)).payload)
}

for (const [vip, client] of [
  [DOWN_VIP, CLIENT],
  [DOWN_VIP6, CLIENT6],
] as const) {
  t.test(`${vip}: a SYN is answered by a reset that acknowledges it, in a fresh header`, async t => {
    const { action, verdict, service, backend, packet } = dataPlane.run(
      sent(vip, segment({ options: counting(20) })),
    )
    t.same({ action, verdict, backend }, { action: 'TX', verdict: 'TX_REJECT_RST', backend: null })
    t.equal(service?.name, 'down-web')
    const ethernet = parseEthernet(packet)
    t.match(ethernet, { to: CLIENT_MAC, from: BALANCER_MAC })
    const ip = parseIp(packet.subarray(ethernet.payloadAt))
    t.match(ip, {
      from: hex(address(vip)),
      to: hex(address(client)),
      protocol: 6,
      ttl: 64,
      tos: 0,
      id: 0,
      dontFragment: true,
      flowLabel: 0,
    })
    t.equal(ip.header.length, ip.version === 4 ? 20 : 40)
    t.equal(packet.length, ethernet.payloadAt + ip.length, 'nothing behind the packet')
    t.same(parseTcp(ip.payload), {
      from: 80,
      to: 40000,
      seq: 0,
      ack: 1001,
      dataOffset: 5,
      flags: RST | ACK,
      window: 0,
      urgent: 0,
    })
    t.equal(ip.payload.length, 20)
    t.same(wrongChecksums(packet), [])
  })

  t.test(
    `${vip}: with ACK set, the reset takes the packet’s ACK number and acknowledges nothing`,
    async t => {
      for (const flags of [ACK, ACK | PSH, ACK | SYN, ACK | FIN, ACK | URG | PSH])
        t.match(
          answerTo(vip, { flags }, counting(9)),
          { seq: 0x12345678, ack: 0, flags: RST },
          `flags ${flags}`,
        )
    },
  )

  t.test(`${vip}: without ACK, payload, SYN and FIN count for the segment’s length`, async t => {
    const lengths: readonly [number, number, number][] = [
      [SYN, 0, 1],
      [FIN, 0, 1],
      [SYN | FIN, 0, 2],
      [0, 0, 0],
      [0, 13, 13],
      [PSH, 1000, 1000],
      [SYN, 7, 8],
      [SYN | FIN | PSH, 7, 9],
    ]
    for (const [flags, payload, length] of lengths)
      t.match(
        answerTo(vip, { flags }, counting(payload)),
        { seq: 0, ack: 1000 + length, flags: RST | ACK },
        `flags ${flags}, ${payload} bytes`,
      )
  })

  t.test(`${vip}: TCP options do not count for the segment’s length`, async t => {
    for (const words of [1, 5, 10])
      t.match(answerTo(vip, { options: counting(words * 4) }, counting(3)), { ack: 1004 })
  })

  t.test(`${vip}: the acknowledgement number wraps around`, async t => {
    t.match(answerTo(vip, { seq: 0xffffffff }), { ack: 0 })
    t.match(answerTo(vip, { seq: 0xfffffff0, flags: 0 }, counting(32)), { ack: 16 })
  })

  t.test(`${vip}: Ethernet padding does not count, and is not sent back`, async t => {
    const bytes = sent(vip, segment({}), { ethernet: { padTo: 90 } })
    const { packet } = dataPlane.run(bytes)
    const ip = parseIp(packet.subarray(14))
    t.match(parseTcp(ip.payload), { ack: 1001 })
    t.equal(packet.length, 14 + ip.length)
  })

  t.test(`${vip}: VLAN tags are kept`, async t => {
    for (const tags of [[{ tci: 0x6064 }], [{ tpid: 0x88a8, tci: 7 }, { tci: 9 }]]) {
      const { verdict, packet } = dataPlane.run(sent(vip, segment({}), { ethernet: { tags } }))
      t.equal(verdict, 'TX_REJECT_RST')
      t.match(parseEthernet(packet).tags, tags)
      t.same(wrongChecksums(packet), [])
    }
  })

  t.test(`${vip}: a reset is never answered`, async t => {
    for (const flags of [RST, RST | ACK, RST | SYN, 0xff]) {
      const bytes = sent(vip, segment({ flags }))
      t.match(
        dataPlane.run(bytes),
        { action: 'DROP', verdict: 'DROP_NO_BACKEND', packet: bytes },
        `flags ${flags}`,
      )
    }
  })

  t.test(`${vip}: a data offset below 5 or beyond the packet is not answered`, async t => {
    for (const flags of [SYN, ACK])
      for (const dataOffset of [0, 4, 6, 15]) {
        const bytes = sent(vip, segment({ flags, dataOffset }), { ethernet: { padTo: 120 } })
        t.match(
          dataPlane.run(bytes),
          { action: 'DROP', verdict: 'DROP_NO_BACKEND', packet: bytes },
          `${dataOffset}`,
        )
      }
  })

  t.test(`${vip}: with no-backend: drop there is no answer`, async t => {
    const bytes = sent(vip, tcp({ from: 40000, to: 81 }))
    t.match(dataPlane.run(bytes), {
      verdict: 'DROP_NO_BACKEND',
      service: { name: 'silent-web' },
      packet: bytes,
    })
  })
}

t.test('IPv4 options are not sent back', async t => {
  const { packet } = dataPlane.run(sent(DOWN_VIP, segment({}), { ip: { options: counting(40), tos: 0xfc } }))
  t.equal(packet.length, 14 + 40)
  t.equal(parseTcp(parseIp(packet.subarray(14)).payload).ack, 1001)
  t.same(wrongChecksums(packet), [])
})

t.test('IPv6 extension headers are not sent back', async t => {
  const ip = { extensions: [hopByHop(1), destinationOptions(3)], trafficClass: 9, flowLabel: 0x12345 }
  const { packet } = dataPlane.run(sent(DOWN_VIP6, segment({ flags: FIN }, counting(5)), { ip }))
  t.equal(packet.length, 14 + 60)
  t.equal(parseTcp(parseIp(packet.subarray(14)).payload).ack, 1006)
  t.same(wrongChecksums(packet), [])
})
