/** Echo requests to a VIP: RFC 792, RFC 4443 4.2. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { concat, counting, hex, readU16 } from '../fixtures/bytes.js'
import {
  CLIENT,
  CLIENT6,
  caseTables,
  DOWN_VIP,
  DOWN_VIP6,
  instance,
  OTHER,
  OTHER6,
  sent,
  VIP,
  VIP6,
} from '../fixtures/cases.js'
import { destinationOptions, hopByHop } from '../fixtures/frames.js'
import { parseEthernet, parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC, entryInterface } from '../fixtures/tables.js'
import { icmp, icmpv6, type Transport } from '../fixtures/transport.js'
import type { Tables, VipEntry } from '../model/tables.js'

const VIPS = [VIP, VIP6] as const
const is6 = (vip: string): boolean => vip.includes(':')
const tablesWith = (ping: VipEntry['ping']): Tables => ({
  ...caseTables,
  vips: [VIP, VIP6].map(vip => ({ vip, ping })),
})
const dataPlane = await instance(t, tablesWith('answer'))

const echo = (
  vip: string,
  size = 56,
  fields: { type?: number; code?: number; checksum?: number } = {},
): Transport => {
  const request = { type: is6(vip) ? 128 : 8, code: 0, rest: 0x12345678, ...fields }
  return (is6(vip) ? icmpv6 : icmp)(request, counting(size))
}

t.test('the reply goes back with all that was asked', async t => {
  for (const vip of VIPS)
    for (const size of [0, 1, 8, 56, 57, 1400]) {
      const bytes = sent(vip, echo(vip, size), {
        ip: { ttl: 3, hopLimit: 3, tos: 0x2a, trafficClass: 0x2a, id: 99, flowLabel: 7 },
      })
      const { action, verdict, packet } = dataPlane.run(bytes)
      t.same({ action, verdict }, { action: 'TX', verdict: 'TX_PING' })
      t.match(parseEthernet(packet), { to: CLIENT_MAC, from: BALANCER_MAC })
      const [reply, request] = [parseIp(packet.subarray(14)), parseIp(bytes.subarray(14))]
      t.match(reply, {
        from: hex(address(vip)),
        to: hex(address(is6(vip) ? CLIENT6 : CLIENT)),
        ttl: 64,
        tos: 0x2a,
        id: request.id,
        flowLabel: request.flowLabel,
        length: request.length,
      })
      t.equal(hex(reply.payload.subarray(0, 2)), is6(vip) ? '8100' : '0000')
      t.equal(
        hex(reply.payload.subarray(4)),
        hex(request.payload.subarray(4)),
        'identifier, sequence number, data',
      )
      t.equal(packet.length, bytes.length)
      t.same(wrongChecksums(packet), [], `${vip}, ${size} bytes`)
    }
})

t.test('the checksum is right whatever it was', async t => {
  for (const vip of VIPS)
    for (let word = 0; word < 65536; word += 37) {
      const body = concat(Uint8Array.of(word >> 8, word), counting(2))
      const request = (is6(vip) ? icmpv6 : icmp)({ type: is6(vip) ? 128 : 8, code: 0 }, body)
      const { packet } = dataPlane.run(sent(vip, request))
      if (wrongChecksums(packet).length > 0) t.fail(`${vip}: ${hex(packet)}`)
    }
})

t.test('a request whose checksum is wrong gets a reply whose checksum is wrong', async t => {
  for (const vip of VIPS) {
    const right = readU16(parseIp(sent(vip, echo(vip)).subarray(14)).payload, 2)
    const { packet } = dataPlane.run(sent(vip, echo(vip, 56, { checksum: right ^ 0x0100 })))
    t.same(wrongChecksums(packet), [is6(vip) ? 'icmpv6' : 'icmp'])
  }
})

t.test('VLAN tags and padding stay', async t => {
  const tags = [{ tpid: 0x88a8, tci: 7 }, { tci: 0xe009 }]
  for (const vip of VIPS) {
    const bytes = sent(vip, echo(vip, 2), { ethernet: { tags, padTo: 90 } })
    const { verdict, packet } = dataPlane.run(bytes)
    t.equal(verdict, 'TX_PING')
    t.match(parseEthernet(packet), { tags, to: CLIENT_MAC })
    t.equal(packet.length, bytes.length)
    t.same(wrongChecksums(packet), [])
  }
})

t.test('drop and pass leave the frame as it is', async t => {
  for (const [ping, action, verdict] of [
    ['drop', 'DROP', 'DROP_PING'],
    ['pass', 'PASS', 'PASS_PING'],
  ] as const) {
    const other = await instance(t, tablesWith(ping))
    for (const vip of VIPS) {
      const bytes = sent(vip, echo(vip))
      t.match(other.run(bytes), { action, verdict, packet: bytes })
    }
  }
})

t.test('only echo requests to a VIP, to this host, are answered', async t => {
  for (const [vip, other, down] of [
    [VIP, OTHER, DOWN_VIP],
    [VIP6, OTHER6, DOWN_VIP6],
  ] as const) {
    const passes = (bytes: Uint8Array, verdict = 'PASS_NOT_A_SERVICE'): void => {
      t.match(dataPlane.run(bytes), { action: 'PASS', verdict, packet: bytes })
    }
    passes(sent(other, echo(vip)))
    passes(sent(down, echo(vip)))
    passes(sent(vip, echo(vip, 56, { code: 1 })))
    passes(sent(vip, echo(vip, 56, { type: is6(vip) ? 129 : 0 })))
    passes(sent(vip, echo(vip, 56, { type: is6(vip) ? 135 : 13 })))
    passes(sent(vip, (is6(vip) ? icmp : icmpv6)({ type: is6(vip) ? 8 : 128, code: 0 })))
    passes(sent(vip, echo(vip), { ethernet: { to: '02:00:00:00:00:ff' } }), 'PASS_OTHER_HOST')
    passes(sent(vip, echo(vip), { ethernet: { to: 'ff:ff:ff:ff:ff:ff' } }), 'PASS_OTHER_HOST')
  }
  const none = await instance(t, { ...tablesWith('answer'), interfaces: [{ ...entryInterface, ifindex: 2 }] })
  t.equal(none.run(sent(VIP, echo(VIP))).verdict, 'PASS_OTHER_HOST')
})

t.test('fragments, options and extension headers are the host’s', async t => {
  for (const ip of [{ moreFragments: true }, { fragmentOffset: 100 }])
    t.equal(dataPlane.run(sent(VIP, echo(VIP), { ip })).verdict, 'PASS_FRAGMENT')
  t.equal(dataPlane.run(sent(VIP, echo(VIP), { ip: { options: counting(4) } })).verdict, 'PASS_PING')
  for (const extensions of [[hopByHop()], [destinationOptions(), hopByHop()]])
    t.equal(dataPlane.run(sent(VIP6, echo(VIP6), { ip: { extensions } })).verdict, 'PASS_PING')
})

t.test('a request that is cut is dropped, and one without a header is the host’s', async t => {
  for (const vip of VIPS) {
    const bytes = sent(vip, echo(vip))
    t.equal(dataPlane.run(bytes.subarray(0, bytes.length - 1)).verdict, 'DROP_TRUNCATED')
    t.equal(dataPlane.run(bytes.subarray(0, 14 + (is6(vip) ? 40 : 20) + 7)).verdict, 'PASS_NOT_A_SERVICE')
  }
})

t.test('no reply goes to a group, to no host, or to the VIP itself', async t => {
  const silent = (vip: string, changes: Parameters<typeof sent>[2]): void => {
    const bytes = sent(vip, echo(vip), changes)
    t.match(dataPlane.run(bytes), { verdict: 'DROP_PING', packet: bytes }, JSON.stringify(changes))
  }
  for (const from of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', VIP])
    silent(VIP, { ip: { from } })
  for (const from of ['::', '::1', 'ff02::1', VIP6]) silent(VIP6, { ip: { from } })
  for (const vip of VIPS) silent(vip, { ethernet: { from: '01:00:5e:00:00:01' } })
})

t.test('replies beyond the rate limit are not given, and all are counted', async t => {
  const limited = await instance(t, tablesWith('answer'), { answersPerSecond: 3 })
  const frames = VIPS.flatMap(vip => Array.from({ length: 20 }, () => sent(vip, echo(vip))))
  const verdicts = limited.runAll(frames).map(({ verdict }) => verdict)
  t.equal(verdicts[0], 'TX_PING')
  t.same(new Set(verdicts), new Set(['TX_PING', 'DROP_PING_LIMITED']))
  const counts = limited.verdictCounts()
  t.equal((counts.TX_PING?.packets ?? 0) + (counts.DROP_PING_LIMITED?.packets ?? 0), frames.length)
})
