import t from 'tap'
import { counting, fromHex } from '../fixtures/bytes.js'
import { instance, OTHER, sent, toDirect, VIP } from '../fixtures/cases.js'
import type { Ipv4Fields } from '../fixtures/frames.js'
import { icmp, other, tcp, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const segment = tcp({ from: 40000, to: 80 }, counting(50))
const verdictOf = (ip: Partial<Ipv4Fields>, transport = segment): string =>
  dataPlane.run(sent(VIP, transport, { ip })).verdict

t.test('TCP and UDP to a service go to its backend', async t => {
  for (const transport of [segment, udp({ from: 40000, to: 53 }, counting(33))]) {
    const bytes = sent(VIP, transport)
    const { action, verdict, packet } = dataPlane.run(bytes)
    t.same({ action, verdict }, { action: 'TX', verdict: 'TX_DR' })
    t.same(packet, toDirect(bytes))
  }
})

t.test('options of every length are skipped and kept', async t => {
  for (let words = 1; words <= 10; words++) {
    const bytes = sent(VIP, segment, { ip: { options: counting(words * 4) } })
    const { verdict, packet } = dataPlane.run(bytes)
    t.equal(verdict, 'TX_DR', `${words} words`)
    t.same(packet, toDirect(bytes))
  }
})

t.test('an option’s bytes are not taken for ports', async t => {
  const portsOfAService = fromHex('9c400050 00000000')
  t.equal(verdictOf({ options: portsOfAService }, tcp({ from: 40000, to: 4444 })), 'PASS_NOT_A_SERVICE')
})

t.test('the first, a middle and the last fragment are the host’s, byte for byte', async t => {
  const kinds = [{ moreFragments: true }, { moreFragments: true, fragmentOffset: 185 }, { fragmentOffset: 1 }]
  for (const ip of [...kinds, { fragmentOffset: 0x1000 }, { fragmentOffset: 0x1fff }]) {
    const bytes = sent(VIP, segment, { ip })
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict: 'PASS_FRAGMENT', service: null, packet: bytes })
  }
})

t.test('DF and the reserved bit make no fragment', async t => {
  const bytes = Uint8Array.from(sent(VIP, segment))
  for (const flags of [0x40, 0x80, 0xc0]) {
    bytes[20] = flags
    t.equal(dataPlane.run(bytes).verdict, 'TX_DR')
  }
})

t.test('another version or a header length below 5 is no IP', async t => {
  for (const version of [0, 3, 5, 6, 15]) t.equal(verdictOf({ version }), 'PASS_NOT_IP', `version ${version}`)
  for (let headerLength = 0; headerLength < 5; headerLength++)
    t.equal(verdictOf({ headerLength }), 'PASS_NOT_IP', `IHL ${headerLength}`)
})

t.test('a header longer than the packet is truncated', async t => {
  const short = tcp({ from: 40000, to: 80 })
  t.equal(verdictOf({ totalLength: 19 }), 'PASS_TRUNCATED')
  t.equal(verdictOf({ totalLength: 0 }), 'PASS_TRUNCATED')
  t.equal(verdictOf({ headerLength: 15 }, short), 'PASS_TRUNCATED')
  t.equal(verdictOf({ headerLength: 6, totalLength: 23 }), 'PASS_TRUNCATED')
})

t.test('the total length says where the packet ends, not the frame', async t => {
  t.equal(verdictOf({ totalLength: 20 }), 'PASS_TRUNCATED', 'no ports')
  t.equal(verdictOf({ totalLength: 23 }), 'PASS_TRUNCATED', 'half the ports')
  t.equal(verdictOf({ totalLength: 24 }), 'DROP_TRUNCATED', 'the ports')
  t.equal(verdictOf({ totalLength: 39 }), 'DROP_TRUNCATED', 'all but one byte of the TCP header')
  t.equal(verdictOf({ totalLength: 40 }), 'TX_DR', 'the TCP header')
})

t.test('a UDP header cut by the total length is dropped', async t => {
  const query = udp({ from: 40000, to: 53 }, counting(20))
  t.equal(verdictOf({ totalLength: 27 }, query), 'DROP_TRUNCATED')
  t.equal(verdictOf({ totalLength: 28 }, query), 'TX_DR')
})

t.test('a total length beyond the frame changes nothing for a backend’s packet', async t => {
  const bytes = sent(VIP, segment, { ip: { totalLength: 65535 } })
  const { verdict, packet } = dataPlane.run(bytes)
  t.equal(verdict, 'TX_DR')
  t.same(packet, toDirect(bytes))
})

t.test('Ethernet padding goes along', async t => {
  const bytes = sent(VIP, udp({ from: 40000, to: 53 }), { ethernet: { padTo: 60 } })
  t.equal(bytes.length, 60)
  t.same(dataPlane.run(bytes).packet, toDirect(bytes))
})

t.test('neither header checksum, TTL nor TOS is looked at', async t => {
  t.equal(verdictOf({ checksum: 0xdead }), 'TX_DR')
  t.equal(verdictOf({ ttl: 0 }), 'TX_DR')
  t.equal(verdictOf({ tos: 255 }), 'TX_DR')
})

t.test('ICMP and other protocols to a VIP are the host’s, ports or not', async t => {
  const looksLikePorts = fromHex('9c400050 00000000 00000000 50020000 00000000')
  for (const transport of [
    icmp({ type: 8, code: 0 }, counting(56)),
    ...[0, 2, 47, 50, 51, 132, 255].map(n => other(n, looksLikePorts)),
  ]) {
    const bytes = sent(VIP, transport)
    t.match(dataPlane.run(bytes), {
      action: 'PASS',
      verdict: 'PASS_NOT_A_SERVICE',
      service: null,
      packet: bytes,
    })
  }
})

t.test('a packet to another address is the host’s, options and all', async t => {
  const bytes = sent(OTHER, segment, { ip: { options: counting(12) } })
  t.match(dataPlane.run(bytes), {
    action: 'PASS',
    verdict: 'PASS_NOT_A_SERVICE',
    service: null,
    packet: bytes,
  })
})
