/** A packet longer than its path takes: RFC 1191 4, RFC 8201; the quote by RFC 1812 4.3.2.3, RFC 4443 2.4 (c). */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { counting, hex, readU32 } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, caseTables, instance, sent, VIP, VIP6 } from '../fixtures/cases.js'
import { parseEthernet, parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC, entryInterface } from '../fixtures/tables.js'
import { icmp, icmpv6, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'
import type { Tables } from '../model/tables.js'

const is6 = (vip: string): boolean => vip.includes(':')
const ENTRY_MTU = 1500
const tables: Tables = { ...tunnelTables(), interfaces: [{ ...entryInterface, mtu: ENTRY_MTU }] }
const dataPlane = await instance(t, tables)

/** A packet of so many bytes in all, IP header included. */
const ofLength = (
  vip: string,
  port: number,
  length: number,
  changes: Parameters<typeof sent>[2] = {},
): Uint8Array =>
  sent(vip, tcp({ from: 40000, to: port, flags: tcpFlags.ACK }, counting(length - (is6(vip) ? 60 : 40))), {
    ...changes,
    ip: { dontFragment: true, ...changes.ip },
  })

const errorOf = (vip: string) =>
  is6(vip)
    ? { protocol: 58, head: '0200', headers: 48, most: 1280, client: CLIENT6 }
    : { protocol: 1, head: '0304', headers: 28, most: 576, client: CLIENT }

t.test('what fits the path goes, and one byte more is answered, by every tunnel', async t => {
  for (const { port, name, overhead, tunnel } of variants)
    for (const vip of VIPS) {
      const mtu = ENTRY_MTU - overhead
      const fits = dataPlane.run(ofLength(vip, port, mtu))
      t.equal(fits.verdict, `TX_${tunnel.mode.toUpperCase()}`, `${vip}, ${name}`)
      t.equal(fits.packet.length, 14 + ENTRY_MTU, 'and fills what the way out takes')
      t.equal(dataPlane.run(ofLength(vip, port, mtu + 1)).verdict, 'TX_TOO_BIG', `${vip}, ${name}`)
    }
})

t.test('the answer says what is left for the packet, from the VIP, and quotes the packet', async t => {
  for (const { port, name, overhead } of variants)
    for (const vip of VIPS) {
      const { protocol, head, headers, most, client } = errorOf(vip)
      const bytes = ofLength(vip, port, ENTRY_MTU, { ip: { tos: 0x28, trafficClass: 0x28 } })
      const { action, packet } = dataPlane.run(bytes)
      t.equal(action, 'TX')
      t.match(parseEthernet(packet), { to: CLIENT_MAC, from: BALANCER_MAC })
      const ip = parseIp(packet.subarray(14))
      t.match(
        ip,
        { from: hex(address(vip)), to: hex(address(client)), protocol, ttl: 64, tos: 0, id: 0, length: most },
        name,
      )
      t.equal(hex(ip.payload.subarray(0, 2)), head)
      t.equal(readU32(ip.payload, 4), ENTRY_MTU - overhead, name)
      t.equal(hex(ip.payload.subarray(8)), hex(bytes.subarray(14, 14 + most - headers)))
      t.equal(packet.length, 14 + most)
      t.same(wrongChecksums(packet), [], name)
    }
})

t.test('a short path is told as it is, and a short packet quoted whole', async t => {
  for (const mtu of [68, 576, 1000, 1279, 1280]) {
    const short = await instance(t, tunnelTables({ mtu: () => mtu }))
    for (const vip of VIPS) {
      const bytes = ofLength(vip, variants[0]!.port, mtu + 1)
      const { verdict, packet } = short.run(bytes)
      t.equal(verdict, 'TX_TOO_BIG')
      const { payload } = parseIp(packet.subarray(14))
      t.equal(readU32(payload, 4), mtu)
      const { headers, most } = errorOf(vip)
      t.equal(payload.length - 8, Math.min(mtu + 1, most - headers))
      t.same(wrongChecksums(packet), [], `${vip}, MTU ${mtu}`)
    }
  }
})

t.test('direct routing has an MTU as well', async t => {
  const backends = caseTables.backends.map(backend => ({ ...backend, mtu: 1400 }))
  const direct = await instance(t, { ...caseTables, backends })
  for (const vip of [VIP, VIP6])
    for (const port of [80, 82]) {
      t.match(direct.run(ofLength(vip, port, 1400)).verdict, /_DR$/)
      const { verdict, packet } = direct.run(ofLength(vip, port, 1401))
      t.equal(verdict, 'TX_TOO_BIG')
      t.equal(readU32(parseIp(packet.subarray(14)).payload, 4), 1400)
    }
})

t.test('VLAN tags are not counted, and stay', async t => {
  const tags = [{ tpid: 0x88a8, tci: 7 }, { tci: 0xe009 }]
  const { port, overhead } = variants[0]!
  for (const vip of VIPS) {
    t.equal(
      dataPlane.run(ofLength(vip, port, ENTRY_MTU - overhead, { ethernet: { tags } })).verdict,
      'TX_IPIP',
    )
    const { verdict, packet } = dataPlane.run(ofLength(vip, port, ENTRY_MTU, { ethernet: { tags } }))
    t.equal(verdict, 'TX_TOO_BIG')
    t.match(parseEthernet(packet), { tags, to: CLIENT_MAC })
    t.same(wrongChecksums(packet), [])
  }
})

t.test('IPv4 without DF is dropped: nobody fragments it here', async t => {
  for (const { port } of variants) {
    const bytes = ofLength(VIP, port, ENTRY_MTU, { ip: { dontFragment: false } })
    t.match(dataPlane.run(bytes), { action: 'DROP', verdict: 'DROP_TOO_BIG', packet: bytes })
  }
})

t.test('no answer goes to a group, to no host, or to the VIP itself', async t => {
  const { port } = variants[0]!
  const silent = (vip: string, changes: Parameters<typeof sent>[2]): void => {
    const bytes = ofLength(vip, port, ENTRY_MTU, changes)
    t.match(dataPlane.run(bytes), { verdict: 'DROP_TOO_BIG', packet: bytes }, JSON.stringify(changes))
  }
  for (const from of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', VIP])
    silent(VIP, { ip: { from } })
  for (const from of ['::', '::1', 'ff02::1', VIP6]) silent(VIP6, { ip: { from } })
  for (const vip of VIPS) silent(vip, { ethernet: { from: '01:00:5e:00:00:01' } })
})

t.test('an ICMP error is never answered by another', async t => {
  const { port } = variants[0]!
  const quoted = (vip: string): Uint8Array => {
    const [from, to] = is6(vip) ? [VIP6, CLIENT6] : [VIP, CLIENT]
    return sent(to, tcp({ from: port, to: 40000 }, counting(1000)), {
      ip: { from, dontFragment: true },
    }).subarray(14)
  }
  const short = await instance(t, tunnelTables({ mtu: () => 600 }))
  for (const vip of VIPS) {
    const error = is6(vip)
      ? icmpv6({ type: 3, code: 0 }, quoted(vip))
      : icmp({ type: 11, code: 0 }, quoted(vip))
    const bytes = sent(vip, error, { ip: { dontFragment: true } })
    t.match(short.run(bytes), { verdict: 'DROP_TOO_BIG', packet: bytes })
    t.match(dataPlane.run(bytes).verdict, /^TX_IPIP$/)
  }
})

t.test('what is longer than its own interface takes has been merged, and is dropped as such', async t => {
  const { port } = variants[0]!
  for (const vip of VIPS)
    for (const dontFragment of [true, false]) {
      const bytes = ofLength(vip, port, ENTRY_MTU + 1, { ip: { dontFragment } })
      t.match(dataPlane.run(bytes), { action: 'DROP', verdict: 'DROP_AGGREGATED', packet: bytes })
    }
})

t.test('answers beyond the rate limit are not given, and counted', async t => {
  const limited = await instance(t, tables, { answersPerSecond: 3 })
  const frames = VIPS.flatMap(vip => [0, 1, 2, 3].map(() => ofLength(vip, variants[0]!.port, ENTRY_MTU)))
  const verdicts = limited.runAll(frames).map(({ verdict }) => verdict)
  t.equal(verdicts[0], 'TX_TOO_BIG')
  t.ok(verdicts.includes('DROP_TOO_BIG_LIMITED'), verdicts.join(' '))
  t.same(new Set(verdicts), new Set(['TX_TOO_BIG', 'DROP_TOO_BIG_LIMITED']))
  t.equal(
    limited.run(sent(VIP, udp({ from: 1, to: variants[0]!.port }))).verdict,
    'TX_IPIP',
    'what fits goes on',
  )
})
