import t from 'tap'
import { counting, fromHex } from '../fixtures/bytes.js'
import { instance, OTHER6, sent, toDirect, VIP6 } from '../fixtures/cases.js'
import {
  authentication,
  destinationOptions,
  type Extension,
  fragment,
  hopByHop,
  type Ipv6Fields,
  routing,
} from '../fixtures/frames.js'
import { icmpv6, other, tcp, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const segment = tcp({ from: 40000, to: 80 }, counting(50))
const verdictOf = (ip: Partial<Ipv6Fields>, transport = segment): string =>
  dataPlane.run(sent(VIP6, transport, { ip })).verdict

const followed: Record<string, (size: number) => Extension> = {
  'hop-by-hop options': hopByHop,
  'destination options': destinationOptions,
  'a routing header without segments left': units => routing(0, units),
  'an authentication header': words => authentication(words),
}

t.test('TCP and UDP to a service go to its backend', async t => {
  for (const transport of [segment, udp({ from: 40000, to: 53 }, counting(33))]) {
    const bytes = sent(VIP6, transport)
    const { action, verdict, packet } = dataPlane.run(bytes)
    t.same({ action, verdict }, { action: 'TX', verdict: 'TX_DR' })
    t.same(packet, toDirect(bytes))
  }
})

for (const [name, extension] of Object.entries(followed))
  t.test(`${name} of any length: followed and kept`, async t => {
    for (const size of [0, 1, 2, 5, 31, 100]) {
      const bytes = sent(VIP6, segment, { ip: { extensions: [extension(size)] } })
      const { verdict, packet } = dataPlane.run(bytes)
      t.equal(verdict, 'TX_DR', `size ${size}`)
      t.same(packet, toDirect(bytes))
    }
  })

t.test('four extension headers are followed, in any order', async t => {
  const four = [hopByHop(1), routing(0), authentication(4), destinationOptions(2)]
  t.equal(verdictOf({ extensions: four }), 'TX_DR')
  t.equal(verdictOf({ extensions: four.toReversed() }), 'TX_DR')
  t.equal(verdictOf({ extensions: four }, udp({ from: 40000, to: 53 })), 'TX_DR')
})

t.test('a fifth extension header of any kind ends the journey', async t => {
  for (const [name, extension] of Object.entries(followed)) {
    const extensions = [...Array.from({ length: 4 }, () => hopByHop()), extension(1)]
    const bytes = sent(VIP6, segment, { ip: { extensions } })
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict: 'PASS_EXTENSION_HEADERS', packet: bytes }, name)
  }
})

t.test('a routing header with segments left is the host’s', async t => {
  for (const segmentsLeft of [1, 2, 255])
    t.equal(verdictOf({ extensions: [routing(segmentsLeft, 2)] }), 'PASS_EXTENSION_HEADERS')
  t.equal(verdictOf({ extensions: [hopByHop(), routing(1)] }), 'PASS_EXTENSION_HEADERS')
})

t.test('a fragment header is found wherever it stands among the first five', async t => {
  for (let before = 0; before <= 4; before++) {
    const extensions = [...Array.from({ length: before }, () => destinationOptions()), fragment(0, true)]
    const bytes = sent(VIP6, segment, { ip: { extensions } })
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict: 'PASS_FRAGMENT', service: null, packet: bytes })
  }
})

t.test('an atomic, a middle and a last fragment are fragments', async t => {
  for (const header of [fragment(0, false), fragment(100, true), fragment(8191, false)])
    t.equal(verdictOf({ extensions: [header] }), 'PASS_FRAGMENT')
})

t.test('what follows a fragment header is not looked at', async t => {
  t.equal(verdictOf({ extensions: [fragment(0, true)], payloadLength: 0 }), 'PASS_FRAGMENT')
})

t.test('an extension header that the packet does not hold is truncated', async t => {
  for (const [name, extension] of Object.entries(followed)) {
    const ip = { extensions: [extension(4)] }
    t.equal(verdictOf({ ...ip, payloadLength: 7 }), 'PASS_TRUNCATED', `${name}: not 8 bytes`)
    t.equal(verdictOf({ ...ip, payloadLength: 20 }), 'PASS_TRUNCATED', `${name}: cut`)
    t.equal(verdictOf({ ...ip, payloadLength: 0 }), 'PASS_TRUNCATED', `${name}: no payload at all`)
  }
})

t.test('the payload length says where the packet ends, not the frame', async t => {
  t.equal(verdictOf({ payloadLength: 0 }), 'PASS_TRUNCATED')
  t.equal(verdictOf({ payloadLength: 3 }), 'PASS_TRUNCATED')
  t.equal(verdictOf({ payloadLength: 4 }), 'DROP_TRUNCATED')
  t.equal(verdictOf({ payloadLength: 19 }), 'DROP_TRUNCATED')
  t.equal(verdictOf({ payloadLength: 20 }), 'TX_DR')
  t.equal(verdictOf({ payloadLength: 7 }, udp({ from: 40000, to: 53 })), 'DROP_TRUNCATED')
  t.equal(verdictOf({ payloadLength: 8 }, udp({ from: 40000, to: 53 })), 'TX_DR')
})

t.test('another version is no IP', async t => {
  for (const version of [0, 4, 5, 7, 15]) t.equal(verdictOf({ version }), 'PASS_NOT_IP', `version ${version}`)
})

t.test('traffic class, flow label and hop limit do not matter', async t => {
  t.equal(verdictOf({ trafficClass: 255, flowLabel: 0xfffff, hopLimit: 0 }), 'TX_DR')
})

t.test('ICMPv6 and other next headers are the host’s', async t => {
  const looksLikePorts = fromHex('9c400050 00000000 00000000 50020000 00000000')
  const kinds = [
    icmpv6({ type: 135, code: 0 }, counting(20)),
    ...[4, 41, 47, 50, 59, 132, 135, 255].map(n => other(n, looksLikePorts)),
  ]
  for (const transport of kinds) {
    const bytes = sent(VIP6, transport)
    t.match(dataPlane.run(bytes), {
      action: 'PASS',
      verdict: 'PASS_NOT_A_SERVICE',
      service: null,
      packet: bytes,
    })
    t.equal(
      verdictOf({ extensions: [hopByHop()] }, transport),
      'PASS_NOT_A_SERVICE',
      'behind an extension header',
    )
  }
})

t.test('a packet to another address is the host’s, extension headers and all', async t => {
  const bytes = sent(OTHER6, segment, { ip: { extensions: [hopByHop(), destinationOptions()] } })
  t.match(dataPlane.run(bytes), {
    action: 'PASS',
    verdict: 'PASS_NOT_A_SERVICE',
    service: null,
    packet: bytes,
  })
})
