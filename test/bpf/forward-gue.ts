/** GUE: draft-ietf-intarea-gue, variants 0 and 1; the UDP checksum of RFC 768 and 8200. */
import t from 'tap'
import { counting, u16 } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variantsOf } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const dataPlane = await instance(t, tunnelTables())
const gue = variantsOf('gue')
const isOver6 = (to: string): boolean => to.includes(':')

t.test('variant 0 has a header of four bytes that names the packet’s family, variant 1 has none', async t => {
  for (const { port, name, tunnel } of gue)
    for (const vip of VIPS) {
      const { verdict, packet } = dataPlane.run(sent(vip, tcp({ from: 40000, to: port })))
      const { outer, udp, gue: header } = unwrap(packet)
      t.equal(verdict, 'TX_GUE')
      t.equal(outer.protocol, 17)
      t.equal(header, tunnel.isBare ? '' : vip.includes(':') ? '00290000' : '00040000', name)
      t.equal(udp?.to, tunnel.port, name)
      t.equal(udp?.length, outer.payload.length, name)
    }
})

t.test('the source port is the flow’s, from 49152 on', async t => {
  for (const { port, name } of gue)
    for (const vip of VIPS) {
      const source = (from: number): number =>
        unwrap(dataPlane.run(sent(vip, tcp({ from, to: port }))).packet).udp!.from
      const ports = Array.from({ length: 300 }, (_, i) => source(30000 + i))
      t.ok(Math.min(...ports) >= 49152, name)
      t.ok(new Set(ports).size > 270, `${name}: ${new Set(ports).size} ports of 300 flows`)
      t.ok(Math.max(...ports) - Math.min(...ports) > 15000, `${name}: over all of the range`)
      t.equal(source(30000), ports[0], 'the same for the same flow')
    }
})

const bodies = [
  ...Array.from({ length: 40 }, (_, size) => counting(size)),
  ...[1000, 1001, 1380].map(counting),
]

t.test('there is no UDP checksum over IPv4, and a right one over IPv6', async t => {
  for (const { port, name, tunnel } of gue)
    for (const vip of VIPS)
      for (const body of bodies)
        for (const transport of [
          tcp({ from: 40000, to: port, flags: tcpFlags.ACK, options: counting(body.length % 30) }, body),
          udp({ from: 40000, to: port }, body),
          udp({ from: 40000, to: port, checksum: 0 }, body),
        ]) {
          const { packet, verdict } = dataPlane.run(sent(vip, transport))
          if (verdict !== 'TX_GUE') continue // too long
          const sum = unwrap(packet).udp?.checksum ?? 0
          t.equal(sum !== 0, isOver6(tunnel.to), name)
          t.same(wrongChecksums(packet), [], `${name}, ${body.length} bytes`)
        }
})

t.test('a checksum that comes out as 0 is sent as ffff', async t => {
  for (const { port, name } of gue.filter(({ tunnel }) => isOver6(tunnel.to))) {
    // UDP without a checksum: its payload's last word makes the outer sum what is wanted
    const datagram = (word: number): Uint8Array =>
      sent(VIPS[0], udp({ from: 40000, to: port, checksum: 0 }, u16(word)))
    const before = unwrap(dataPlane.run(datagram(0)).packet).udp!.checksum
    // ~(x + word) = 0 where ~x = before: word = before
    t.equal(unwrap(dataPlane.run(datagram(before)).packet).udp?.checksum, 0xffff, name)
    t.same(wrongChecksums(dataPlane.run(datagram(before)).packet), [], name)
  }
})
