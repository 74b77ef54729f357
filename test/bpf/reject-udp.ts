/** Port unreachable: RFC 792 (quote as RFC 1812 4.3.2.3), RFC 4443 3.1. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { concat, counting, fromHex, hex } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, DOWN_VIP, DOWN_VIP6, instance, sent } from '../fixtures/cases.js'
import { hopByHop } from '../fixtures/frames.js'
import { parseEthernet, parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const query = (size: number) => udp({ from: 40000, to: 53 }, counting(size))

interface Family {
  readonly vip: string
  readonly client: string
  readonly protocol: number
  /** Type, code and the unused word's place. */
  readonly head: string
  /** Bytes of headers before the quote, IP and ICMP. */
  readonly headers: number
  readonly most: number
}

const families: readonly Family[] = [
  { vip: DOWN_VIP, client: CLIENT, protocol: 1, head: '0303', headers: 28, most: 576 },
  { vip: DOWN_VIP6, client: CLIENT6, protocol: 58, head: '0104', headers: 48, most: 1280 },
]

for (const { vip, client, protocol, head, headers, most } of families) {
  t.test(`${vip}: UDP is answered by port unreachable from the VIP, quoting the whole packet`, async t => {
    const bytes = sent(vip, query(33))
    const { action, verdict, service, packet } = dataPlane.run(bytes)
    t.same(
      { action, verdict, service: service?.name },
      { action: 'TX', verdict: 'TX_REJECT_UNREACHABLE', service: 'down-dns' },
    )
    t.match(parseEthernet(packet), { to: CLIENT_MAC, from: BALANCER_MAC })
    const ip = parseIp(packet.subarray(14))
    t.match(ip, {
      from: hex(address(vip)),
      to: hex(address(client)),
      protocol,
      ttl: 64,
      tos: 0,
      id: 0,
      dontFragment: true,
      flowLabel: 0,
    })
    t.equal(hex(ip.payload.subarray(0, 2)), head)
    t.equal(hex(ip.payload.subarray(4, 8)), '00000000')
    t.same(ip.payload.subarray(8), bytes.subarray(14))
    t.equal(packet.length, 14 + ip.length)
    t.same(wrongChecksums(packet), [])
  })

  t.test(`${vip}: the checksums are right for every length of quote`, async t => {
    const frames = Array.from({ length: 1400 }, (_, size) => sent(vip, query(size)))
    for (const [size, { verdict, packet }] of dataPlane.runAll(frames).entries()) {
      if (verdict === 'TX_REJECT_UNREACHABLE' && wrongChecksums(packet).length === 0) continue
      t.fail(`${size} bytes of payload: ${verdict} ${wrongChecksums(packet)}`)
    }
  })

  t.test(`${vip}: the answer is at most ${most} bytes`, async t => {
    const quote = most - headers
    const own = headers // of the packet itself, IP and UDP: as many
    for (const size of [quote - own - 1, quote - own, quote - own + 1, quote - own + 2, 1400]) {
      const bytes = sent(vip, query(size))
      const { packet } = dataPlane.run(bytes)
      const quoted = packet.subarray(14 + headers)
      t.equal(quoted.length, Math.min(quote, bytes.length - 14), `${size} bytes of payload`)
      t.same(quoted, bytes.subarray(14, 14 + quoted.length))
    }
  })

  t.test(`${vip}: Ethernet padding is not quoted`, async t => {
    const bytes = sent(vip, query(0), { ethernet: { padTo: 100 } })
    const { packet } = dataPlane.run(bytes)
    const own = sent(vip, query(0))
    t.equal(packet.length, 14 + headers + own.length - 14)
    t.same(packet.subarray(14 + headers), own.subarray(14))
    t.same(wrongChecksums(packet), [])
  })

  t.test(`${vip}: a packet that the frame cuts is quoted as far as it goes`, async t => {
    const bytes = sent(vip, query(100))
    const cut = bytes.subarray(0, bytes.length - 51)
    const { verdict, packet } = dataPlane.run(cut)
    t.equal(verdict, 'TX_REJECT_UNREACHABLE')
    t.same(packet.subarray(14 + headers), cut.subarray(14))
    t.same(wrongChecksums(packet), [])
  })

  t.test(`${vip}: VLAN tags are kept`, async t => {
    for (const tags of [[{ tci: 0x6064 }], [{ tpid: 0x88a8, tci: 7 }, { tci: 9 }]])
      for (const size of [0, 33, 1400]) {
        const bytes = sent(vip, query(size), { ethernet: { tags } })
        const { verdict, packet } = dataPlane.run(bytes)
        t.equal(verdict, 'TX_REJECT_UNREACHABLE')
        t.match(parseEthernet(packet), { to: CLIENT_MAC, from: BALANCER_MAC, tags })
        const at = parseEthernet(packet).payloadAt
        t.same(packet.subarray(at + headers, at + headers + 20), bytes.subarray(at, at + 20))
        t.same(wrongChecksums(packet), [])
      }
  })

  t.test(`${vip}: with no-backend: drop there is no answer`, async t => {
    const bytes = sent(vip, udp({ from: 40000, to: 54 }))
    t.match(dataPlane.run(bytes), {
      verdict: 'DROP_NO_BACKEND',
      service: { name: 'silent-dns' },
      packet: bytes,
    })
  })
}

t.test('IPv4 options are quoted, and not used in the answer', async t => {
  const bytes = sent(DOWN_VIP, query(5), { ip: { options: counting(24), tos: 8 } })
  const { packet } = dataPlane.run(bytes)
  t.equal(parseIp(packet.subarray(14)).header.length, 20)
  t.same(packet.subarray(14 + 28), bytes.subarray(14))
  t.same(wrongChecksums(packet), [])
})

t.test('IPv6 extension headers are quoted, and not used in the answer', async t => {
  const bytes = sent(DOWN_VIP6, query(5), { ip: { extensions: [hopByHop(2)], flowLabel: 77 } })
  const { packet } = dataPlane.run(bytes)
  t.equal(parseIp(packet.subarray(14)).protocol, 58)
  t.same(packet.subarray(14 + 48), bytes.subarray(14))
  t.same(wrongChecksums(packet), [])
})

t.test('a UDP length of zero is quoted as it came', async t => {
  const bytes = sent(DOWN_VIP, udp({ from: 40000, to: 53, length: 0 }, fromHex('01')))
  t.same(dataPlane.run(bytes).packet.subarray(42), concat(bytes.subarray(14)))
})
