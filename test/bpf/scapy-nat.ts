/** Translated frames against an independent build, scapy's, and an independent reader, tshark. */
import t from 'tap'
import { counting, hex } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { between, type End, type Opened, openEach } from '../fixtures/connection-cases.js'
import { connectionTables } from '../fixtures/connection-tables.js'
import { errorKinds } from '../fixtures/errors.js'
import { type EthernetFields, frame, type Tag } from '../fixtures/frames.js'
import { ip } from '../fixtures/nat-cases.js'
import { tsharkComplaints } from '../fixtures/pcap.js'
import { scapyRewritten } from '../fixtures/scapy-frames.js'
import { icmp, icmpv6, tcpFlags } from '../fixtures/transport.js'

const tables = connectionTables()
const dataPlane = await instance(t, tables)
dataPlane.setSeconds(1000)
const opened = openEach(dataPlane, tables, (text, { verdict }) => t.fail(text, { verdict }))
const flags = tcpFlags.ACK | tcpFlags.PSH
const taggings: readonly (readonly Tag[])[] = [[], [{ tpid: 0x88a8, tci: 0x2005 }, { tci: 6 }]]

interface Sent {
  readonly name: string
  readonly bytes: Uint8Array
  readonly left: Uint8Array
  readonly out: EthernetFields
  readonly from: End
  readonly to: End
}

const sentOf = (it: Opened): readonly Sent[] =>
  taggings.flatMap(tags =>
    [0, 1, 64, 333].flatMap(length => {
      const more = { body: counting(length), flags, ip: { tos: 0xbb } }
      const there = between({ ...it.near.in, tags }, it, it.client, it.vip, more)
      const back = between({ ...it.far.in, tags }, it, it.server, it.local, more)
      return [
        { name: `${it.name}, there`, bytes: there, out: it.far.out, from: it.local, to: it.server },
        { name: `${it.name}, back`, bytes: back, out: it.near.out, from: it.vip, to: it.client },
      ].map(one => ({ ...one, left: dataPlane.run(one.bytes).packet }))
    }),
  )

const cases = opened.flatMap(sentOf)

/** No dissector for what the segments carry: it is no DNS, whatever their ports say. */
const asData = ['tcp.port==1-65535,data', 'udp.port==1-65535,data']

t.test('what leaves is what scapy makes of it', async t => {
  t.ok(cases.length > 100)
  const built = scapyRewritten(
    cases.map(({ bytes, out, from, to }) => ({
      frame: hex(bytes),
      dstMac: out.to,
      srcMac: out.from,
      from,
      to,
    })),
  )
  for (const [i, { name, left }] of cases.entries()) t.equal(hex(left), built[i], name)
})

t.test(
  'tshark finds nothing malformed in them, no wrong checksum, neither in errors and what they quote',
  async t => {
    t.same(
      tsharkComplaints(
        cases.map(({ left }) => left),
        asData,
      ),
      [],
    )
    const errors = opened.flatMap(it => {
      const family = it.client.host.includes(':') ? 6 : 4
      return errorKinds[family].map(kind => {
        const quoted = between(it.far.out, it, it.local, it.server, { body: counting(64), flags }).subarray(
          14,
        )
        const message = (family === 4 ? icmp : icmpv6)(kind, quoted)
        const sent = frame(it.far.in, ip({ from: it.server.host, to: it.local.host }, message))
        const { verdict, packet } = dataPlane.run(sent)
        t.equal(verdict, `TX_${it.mode}_REPLY`, it.name)
        return packet
      })
    })
    t.same(tsharkComplaints(errors, asData), [])
    const bad = Uint8Array.from(errors[0]!)
    bad[bad.length - 1]! ^= 1
    t.equal(tsharkComplaints([bad], asData).length, 1, 'and would find one')
  },
)
