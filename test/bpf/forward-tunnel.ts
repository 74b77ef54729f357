/** What all tunnels have in common: the outer IP header (RFC 2003, 2473, 4213, 6040), and the packet that it carries. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { counting, hex } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { difference, modelAnswer } from '../fixtures/compare.js'
import { parseEthernet, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, backendEntry, OUT_MAC } from '../fixtures/tables.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { BACKEND, BACKEND6, NODE, NODE6, tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const tables = tunnelTables()
const dataPlane = await instance(t, tables)
const data = (to: number, from = 40000) => tcp({ from, to, flags: tcpFlags.ACK }, counting(100))
const is6 = (text: string): boolean => text.includes(':')
const pairs = variants.flatMap(variant =>
  VIPS.map(vip => ({ variant, vip, title: `IPv${is6(vip) ? 6 : 4} by ${variant.name}` })),
)

t.test('the packet arrives in the tunnel as it came, its TTL and options included', async t => {
  for (const { variant, vip, title } of pairs)
    for (const size of [0, 1, 7, 1200]) {
      const segment = tcp(
        { from: 40000, to: variant.port, options: counting(9), flags: tcpFlags.PSH },
        counting(size),
      )
      const bytes = sent(vip, segment, { ip: { ttl: 3, hopLimit: 3, id: 77 } })
      const { verdict, packet, action } = dataPlane.run(bytes)
      t.same({ verdict, action }, { verdict: `TX_${variant.tunnel.mode.toUpperCase()}`, action: 'TX' }, title)
      t.equal(hex(unwrap(packet).inner), hex(bytes.subarray(14)), `${title}, ${size} bytes of payload`)
      t.equal(packet.length, bytes.length + variant.overhead, 'the overhead is the one that is reckoned with')
    }
})

t.test('the outer header goes from the balancer to the backend, with a TTL of its own', async t => {
  for (const { variant, vip, title } of pairs.filter(pair => pair.variant.tunnel.spread === 0)) {
    const { packet } = dataPlane.run(sent(vip, data(variant.port)))
    const isOver6 = is6(variant.tunnel.to)
    t.match(
      unwrap(packet).outer,
      {
        version: isOver6 ? 6 : 4,
        from: hex(address(isOver6 ? NODE6 : NODE)),
        to: hex(address(isOver6 ? BACKEND6 : BACKEND)),
        ttl: 64,
        length: packet.length - 14,
      },
      title,
    )
    t.match(parseEthernet(packet), {
      to: backendEntry(variant.id, 0).nextHopMac,
      from: BALANCER_MAC,
      tags: [],
      etherType: isOver6 ? 0x86dd : 0x0800,
    })
  }
})

t.test('DSCP and ECN are those of the packet', async t => {
  for (const { variant, vip, title } of pairs)
    for (const tos of [0, 1, 2, 3, 0xb8, 0xff]) {
      const { packet } = dataPlane.run(sent(vip, data(variant.port), { ip: { tos, trafficClass: tos } }))
      t.equal(unwrap(packet).outer.tos, tos, title)
      t.same(wrongChecksums(packet), [], title)
    }
})

t.test('DF is the packet’s over IPv4, of IPv6 set; with DF the id is 0, without it any', async t => {
  for (const { variant, vip, title } of pairs.filter(pair => !is6(pair.variant.tunnel.to))) {
    const run = (dontFragment: boolean) =>
      unwrap(dataPlane.run(sent(vip, data(variant.port), { ip: { dontFragment, id: 9 } })).packet).outer
    t.match(run(true), { dontFragment: true, id: 0 }, title)
    if (is6(vip)) continue
    t.equal(run(false).dontFragment, false, title)
    const ids = new Set(Array.from({ length: 50 }, () => run(false).id))
    t.ok(ids.size > 40, `${title}: ${ids.size} ids in 50 packets`)
  }
})

t.test('the IPv6 flow label is of the flow, never 0', async t => {
  for (const { variant, vip, title } of pairs.filter(pair => is6(pair.variant.tunnel.to))) {
    const label = (port: number): number =>
      unwrap(dataPlane.run(sent(vip, data(variant.port, port), { ip: { flowLabel: 5 } })).packet).outer
        .flowLabel
    const labels = Array.from({ length: 200 }, (_, i) => label(40000 + i))
    t.notOk(labels.includes(0), title)
    t.ok(new Set(labels).size > 190, `${title}: ${new Set(labels).size} labels of 200 flows`)
    t.equal(label(40000), labels[0], `${title}: the same for the same flow`)
  }
})

t.test('a source that is a prefix is another address for each flow, within the prefix', async t => {
  for (const { variant, vip, title } of pairs.filter(pair => pair.variant.tunnel.spread > 0)) {
    const { from, spread } = variant.tunnel
    const source = (port: number): string =>
      unwrap(dataPlane.run(sent(vip, data(variant.port, port))).packet).outer.from
    const sources = Array.from({ length: 200 }, (_, i) => source(40000 + i))
    t.ok(new Set(sources).size > 190, `${title}: ${new Set(sources).size} sources of 200 flows`)
    t.equal(source(40000), sources[0], `${title}: the same for the same flow`)
    const prefix = BigInt(`0x${hex(address(from))}`) >> BigInt(spread)
    for (const text of sources) t.equal(BigInt(`0x${text}`) >> BigInt(spread), prefix, title)
    for (let bit = 0; bit < spread; bit++) {
      const ones = sources.filter(text => (BigInt(`0x${text}`) >> BigInt(bit)) & 1n).length
      t.ok(ones > 50 && ones < 150, `${title}: bit ${bit} is set in ${ones} of 200`)
    }
  }
})

t.test('a prefix of any length is kept, and the rest of the source is the hash’s', async t => {
  for (const [to, from, most] of [
    [BACKEND, '10.77.133.66', 32],
    [BACKEND6, '2001:db8:1234:5678:9abc:def0:1234:5678', 64],
  ] as const)
    for (let spread = 0; spread <= most; spread += most / 8) {
      const backends = tables.backends.map(backend => ({
        ...backend,
        tunnel: { ...backend.tunnel!, to, from, spread },
      }))
      const other = await instance(t, { ...tables, backends })
      const bytes = sent(VIPS[0], data(variants[0]!.port))
      t.equal(
        difference(bytes, other.run(bytes), modelAnswer({ ...tables, backends }, bytes)),
        null,
        `${from}, ${spread} bits`,
      )
    }
})

t.test('VLAN tags stay ahead of the outer header', async t => {
  for (const { variant, vip, title } of pairs)
    for (const tags of [[{ tci: 0x6123 }], [{ tpid: 0x88a8, tci: 7 }, { tci: 0xe009 }]]) {
      const bytes = sent(vip, data(variant.port), { ethernet: { tags } })
      const { packet } = dataPlane.run(bytes)
      t.match(parseEthernet(packet).tags, tags, title)
      t.equal(parseEthernet(packet).etherType, is6(variant.tunnel.to) ? 0x86dd : 0x0800)
      t.equal(hex(unwrap(packet).inner), hex(bytes.subarray(14 + 4 * tags.length)), title)
    }
})

t.test('padding behind the packet does not get into the tunnel’s lengths', async t => {
  for (const { variant, vip, title } of pairs) {
    const bytes = sent(vip, udp({ from: 40000, to: variant.port }, counting(3)), { ethernet: { padTo: 120 } })
    const { packet } = dataPlane.run(bytes)
    const { inner, udp: outerUdp, outer } = unwrap(packet)
    t.equal(inner.length, is6(vip) ? 51 : 31, title)
    t.equal(hex(inner), hex(bytes.subarray(14, 14 + inner.length)), title)
    if (outerUdp) t.equal(outerUdp.length, outer.payload.length, title)
    t.same(wrongChecksums(packet), [], title)
  }
})

t.test('a packet that is cut is not sent into a tunnel', async t => {
  for (const { variant, vip, title } of pairs) {
    const bytes = sent(vip, data(variant.port)).subarray(0, 120)
    t.match(dataPlane.run(bytes), { verdict: 'DROP_TRUNCATED', packet: bytes }, title)
  }
})

t.test('a backend by another interface is redirected to, encapsulated', async t => {
  const redirecting = tunnelTables({ isRedirected: true })
  const other = await instance(t, redirecting)
  for (const { variant, vip, title } of pairs) {
    const bytes = sent(vip, data(variant.port), { ip: { dontFragment: true } })
    const { verdict, action, packet } = other.run(bytes)
    t.same(
      { verdict, action },
      { verdict: `REDIRECT_${variant.tunnel.mode.toUpperCase()}`, action: 'REDIRECT' },
      title,
    )
    t.equal(parseEthernet(packet).from, OUT_MAC)
    t.equal(hex(packet.subarray(12)), hex(dataPlane.run(bytes).packet.subarray(12)), title)
  }
})

t.test('what is sent into a tunnel is counted by its backend, as it came in', async t => {
  const counted = await instance(t, tables)
  const [variant] = variants
  const bytes = sent(VIPS[1], data(variant!.port))
  counted.runAll([bytes, bytes])
  t.match(counted.backendCounts(variant!.id), { tx: { packets: 2, bytes: 2 * bytes.length } })
  t.same(counted.verdictCounts(), {})
})
