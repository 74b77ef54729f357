/** ICMP errors about connections: translated outside and in what they quote, in both directions. */
import t from 'tap'
import { counting, sameBytes } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { type End, type Opened, openEach, segment } from '../fixtures/connection-cases.js'
import { connectionTables } from '../fixtures/connection-tables.js'
import { errorKinds, ROUTER, ROUTER6 } from '../fixtures/errors.js'
import { type EthernetFields, frame } from '../fixtures/frames.js'
import { ip } from '../fixtures/nat-cases.js'
import { icmp, icmpv6 } from '../fixtures/transport.js'

const tables = connectionTables()
const lengths = [4, 8, 16, 18, 20, 33, 400]

const familyOf = ({ client }: Opened): 4 | 6 => (client.host.includes(':') ? 6 : 4)
const routerOf = (it: Opened): string => (familyOf(it) === 4 ? ROUTER : ROUTER6)

/** What a router quotes of a packet: so many bytes behind its IP header. */
const quote = (it: Opened, from: End, to: End, length: number): Uint8Array => {
  const packet = ip({ from: from.host, to: to.host, ttl: 55, tos: 3 }, segment(it, from, to, counting(500)))
  return packet.bytes.subarray(0, (familyOf(it) === 4 ? 20 : 40) + length)
}

const error = (
  ethernet: EthernetFields,
  it: Opened,
  ends: { readonly from: string; readonly to: string; readonly ttl?: number },
  kind: (typeof errorKinds)[4][number],
  quoted: Uint8Array,
): Uint8Array =>
  frame(
    ethernet,
    ip({ ttl: 60, tos: 0xc0, ...ends }, familyOf(it) === 4 ? icmp(kind, quoted) : icmpv6(kind, quoted)),
  )

const begin = async (t: Parameters<typeof instance>[0] & { fail(text: string, extra: object): unknown }) => {
  const dataPlane = await instance(t, tables)
  dataPlane.setSeconds(1000)
  const opened = openEach(dataPlane, tables, (text, { verdict }) => t.fail(text, { verdict }))
  return { dataPlane, opened }
}

t.test('from the client’s side, about what the backend has sent', async t => {
  const { dataPlane, opened } = await begin(t)
  for (const it of opened)
    for (const kind of errorKinds[familyOf(it)])
      for (const length of lengths) {
        const sent = error(
          it.near.in,
          it,
          { from: routerOf(it), to: it.vip.host },
          kind,
          quote(it, it.vip, it.client, length),
        )
        const { verdict, packet } = dataPlane.run(sent)
        const name = `${it.name} ${kind.type}/${kind.code}, ${length} bytes`
        t.equal(verdict, `TX_${it.mode}`, name)
        // NAT keeps who says it; behind FULLNAT and SNAT nobody but the local address has a way to be answered
        const from = it.mode === 'NAT' ? routerOf(it) : it.local.host
        const wanted = error(
          it.far.out,
          it,
          { from, to: it.server.host, ttl: 59 },
          kind,
          quote(it, it.server, it.local, length),
        )
        t.ok(sameBytes(packet, wanted), name)
      }
})

t.test('from the backend’s side, about what the client has sent: from whom the client knows', async t => {
  const { dataPlane, opened } = await begin(t)
  for (const it of opened)
    for (const kind of errorKinds[familyOf(it)])
      for (const length of lengths)
        for (const from of [it.server.host, routerOf(it)]) {
          const sent = error(
            it.far.in,
            it,
            { from, to: it.local.host },
            kind,
            quote(it, it.local, it.server, length),
          )
          const { verdict, packet } = dataPlane.run(sent)
          const name = `${it.name} ${kind.type}/${kind.code}, ${length} bytes`
          t.equal(verdict, `TX_${it.mode}_REPLY`, name)
          // SNAT: a router outside is nobody's secret, its errors stay its own
          const says = it.mode === 'SNAT' ? [from, it.vip.host] : [it.vip.host]
          const wanted = says.map(host =>
            error(
              it.near.out,
              it,
              { from: host, to: it.client.host, ttl: 59 },
              kind,
              quote(it, it.client, it.vip, length),
            ),
          )
          t.ok(
            wanted.some(bytes => sameBytes(packet, bytes)),
            name,
          )
        }
})

t.test('an error renews no connection, and one about none is not passed on', async t => {
  const { dataPlane, opened } = await begin(t)
  for (const it of opened) {
    const kind = errorKinds[familyOf(it)][2]!
    const stranger = { ...it.server, port: it.server.port + 1 }
    const sent = error(
      it.far.in,
      it,
      { from: it.server.host, to: it.local.host },
      kind,
      quote(it, it.local, stranger, 8),
    )
    const { verdict, packet } = dataPlane.run(sent)
    t.notMatch(verdict, /REPLY/, it.name)
    if (verdict.startsWith('PASS')) t.ok(sameBytes(packet, sent))
  }
  const times = tables.services.map(service => service.times!.synSent)
  for (let second = 1; second <= Math.max(...times) + 40; second++) {
    dataPlane.setSeconds(1000 + second)
    for (const it of opened) {
      const kind = errorKinds[familyOf(it)][2]!
      dataPlane.run(
        error(
          it.far.in,
          it,
          { from: it.server.host, to: it.local.host },
          kind,
          quote(it, it.local, it.server, 8),
        ),
      )
    }
  }
  // a whole pool of new connections: theirs are the places of those that only errors spoke of
  let count = 0
  for (let port = 1; port <= 12; port++) {
    const { verdict } = dataPlane.run(
      frame(
        opened[0]!.near.in,
        ip(
          { from: '198.51.100.200', to: '192.0.2.10' },
          segment({ protocol: 'udp' }, { host: '', port }, { host: '', port: 53 }),
        ),
      ),
    )
    if (verdict === 'TX_FULLNAT') count++
  }
  t.equal(count, 12)
})
