/** FULLNAT, SNAT and NAT by flow: every byte of what leaves, in both directions. */
import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { between, endsOf, type Opened, openEach } from '../fixtures/connection-cases.js'
import { connectionTables, OTHER_VIP, pools, times } from '../fixtures/connection-tables.js'
import { destinationOptions, hopByHop, type Tag } from '../fixtures/frames.js'
import { fromBackend, inward } from '../fixtures/nat-cases.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { tcpFlags } from '../fixtures/transport.js'

const { SYN, ACK, FIN, RST } = tcpFlags
const tables = connectionTables()

const begin = async (t: Parameters<typeof instance>[0] & { fail(text: string, extra: object): unknown }) => {
  const dataPlane = await instance(t, tables)
  dataPlane.setSeconds(1000)
  const opened = openEach(dataPlane, tables, (text, { verdict }) => t.fail(text, { verdict }))
  return { dataPlane, opened }
}
const is6 = ({ client }: Opened): boolean => client.host.includes(':')
const poolOf = ({ mode, client }: Opened) =>
  pools.find(({ index }) => index === (mode === 'SNAT' ? 3 : client.host.includes(':') ? 2 : 1))!

t.test('a connection has a local address and port of its pool, its own alone', async t => {
  const { opened } = await begin(t)
  t.equal(opened.length, tables.services.length + 2)
  const locals = opened.filter(({ mode }) => mode !== 'NAT').map(({ local }) => `${local.host} ${local.port}`)
  t.equal(new Set(locals).size, locals.length)
  for (const it of opened) {
    if (it.mode === 'NAT') {
      t.same(it.local, it.client)
      continue
    }
    const { addresses, firstPort, ports } = poolOf(it)
    t.ok(addresses.includes(it.local.host), it.name)
    t.ok(it.local.port >= firstPort && it.local.port < firstPort + ports, it.name)
  }
})

t.test('packets of a connection leave with its ends, all else as it came', async t => {
  const { dataPlane, opened } = await begin(t)
  const body = counting(33)
  for (const it of opened)
    for (const flags of [SYN, ACK, ACK | FIN, ACK | tcpFlags.PSH]) {
      const more = { body, flags, ip: { tos: 0x2a } }
      const after = { ...more, ip: { ...more.ip, ttl: 63 } }
      const there = dataPlane.run(between(it.near.in, it, it.client, it.vip, more))
      t.equal(there.verdict, `TX_${it.mode}`, it.name)
      t.equal(there.backend?.id ?? null, it.backend)
      t.same(there.packet, between(it.far.out, it, it.local, it.server, after), it.name)
      const reply = { ...more, flags: flags === SYN ? SYN | ACK : flags }
      const back = dataPlane.run(between(it.far.in, it, it.server, it.local, reply))
      t.equal(back.verdict, `TX_${it.mode}_REPLY`, it.name)
      const wanted = between(it.near.out, it, it.vip, it.client, { ...reply, ip: after.ip })
      t.same(back.packet, wanted, it.name)
    }
})

t.test('VLAN tags, options, extension headers and a trailer stay', async t => {
  const { dataPlane, opened } = await begin(t)
  const tags: Tag[] = [{ tpid: 0x88a8, tci: 0x2005 }, { tci: 0x0007 }]
  for (const it of opened)
    for (const count of [0, 1, 2]) {
      const extra = is6(it)
        ? { extensions: [hopByHop(), destinationOptions(2)] }
        : { options: counting(11).map(byte => byte | 0x80) }
      const ethernet = { tags: tags.slice(0, count), padTo: 200 }
      const there = dataPlane.run(
        between({ ...it.near.in, ...ethernet }, it, it.client, it.vip, { ip: extra }),
      )
      t.same(
        there.packet,
        between({ ...it.far.out, ...ethernet }, it, it.local, it.server, { ip: { ...extra, ttl: 63 } }),
        it.name,
      )
      const back = dataPlane.run(
        between({ ...it.far.in, ...ethernet }, it, it.server, it.local, { ip: extra }),
      )
      t.same(
        back.packet,
        between({ ...it.near.out, ...ethernet }, it, it.vip, it.client, { ip: { ...extra, ttl: 63 } }),
        it.name,
      )
    }
})

t.test('a reply from another address or port, or of another protocol, is none', async t => {
  const { dataPlane, opened } = await begin(t)
  for (const it of opened) {
    const other = is6(it) ? '2001:db8:92::99' : '10.9.2.99'
    for (const [name, from, protocol] of [
      ['port', { ...it.server, port: it.server.port + 1 }, it.protocol],
      ['address', { ...it.server, host: other }, it.protocol],
      ['protocol', it.server, it.protocol === 'tcp' ? 'udp' : 'tcp'],
    ] as const) {
      const { verdict, packet } = dataPlane.run(between(it.far.in, { protocol }, from, it.local))
      t.notMatch(verdict, /REPLY/, `${it.name}, ${name}`)
      if (/^TX/.test(verdict)) t.same(endsOf(packet).to.host, from.host)
    }
  }
})

t.test('what is of no connection is reset, or dropped where the service drops', async t => {
  const dataPlane = await instance(t, tables)
  dataPlane.setSeconds(1000)
  for (const { name, vip, port, protocol, noBackend } of tables.services) {
    if (protocol === 'udp' || name.startsWith('shared')) continue
    const client = { host: vip.includes(':') ? '2001:db8:1::9' : '198.51.100.9', port: 40000 }
    for (const flags of [ACK, SYN | ACK, FIN | ACK, RST, RST | ACK]) {
      const { verdict, packet } = dataPlane.run(
        between(inward, { protocol }, client, { host: vip, port }, { flags }),
      )
      const isAnswered = noBackend === 'reject' && (flags & RST) === 0
      t.equal(verdict, isAnswered ? 'TX_NO_CONNECTION' : 'DROP_NO_CONNECTION', `${name} ${flags}`)
      if (!isAnswered) continue
      const { from, to } = endsOf(packet)
      t.same([from, to], [{ host: vip, port }, client])
      t.equal(
        packet.at(14 + (vip.includes(':') ? 40 : 20) + 13),
        RST,
        'RFC 9293 3.10.7.1: its ACK is the sequence number',
      )
      t.same(wrongChecksums(packet), [])
    }
  }
})

t.test('another source port is another connection, of a backend that the ring says', async t => {
  const dataPlane = await instance(t, tables)
  dataPlane.setSeconds(1000)
  const seen = new Set<string>()
  const backends = new Set<number>()
  for (let port = 1; port <= 12; port++) {
    const client = { host: '198.51.100.9', port }
    const { verdict, packet, backend } = dataPlane.run(
      between(inward, { protocol: 'tcp' }, client, { host: '192.0.2.10', port: 80 }, { flags: SYN }),
    )
    t.equal(verdict, 'TX_FULLNAT')
    backends.add(backend!.id)
    seen.add(JSON.stringify(endsOf(packet).from))
  }
  t.equal(seen.size, 12)
  t.ok(backends.size > 1)
})

t.test('replies whose client no route leads to go where its last frame came from', async t => {
  const dataPlane = await instance(t, tables)
  dataPlane.setSeconds(1000)
  const it = { protocol: 'tcp' as const }
  const client = { host: '100.64.0.9', port: 40000 }
  const vip = { host: '192.0.2.10', port: 83 }
  const [first, then] = ['02:00:00:00:c1:01', '02:00:00:00:c1:02']
  const { packet } = dataPlane.run(between({ ...inward, from: first }, it, client, vip, { flags: SYN }))
  const { from: local, to: server } = endsOf(packet)
  for (const mac of [first, then, first]) {
    dataPlane.run(between({ ...inward, from: mac }, it, client, vip))
    const back = dataPlane.run(between(fromBackend(1), it, server, local))
    t.equal(back.verdict, 'TX_FULLNAT_REPLY')
    t.same(back.packet, between({ to: mac, from: inward.to }, it, vip, client, { ip: { ttl: 63 } }))
  }
})

t.test(
  'two services of NAT on one backend port: each client’s replies are of the VIP that it addressed',
  async t => {
    const dataPlane = await instance(t, tables)
    dataPlane.setSeconds(1000)
    const it = { protocol: 'tcp' as const }
    const [one, other] = [
      { host: '192.0.2.10', port: 90 },
      { host: OTHER_VIP, port: 91 },
    ]
    const [a, b] = [
      { host: '198.51.100.7', port: 40000 },
      { host: '198.51.100.7', port: 40001 },
    ]
    const server = { host: '10.9.3.1', port: 9000 }
    t.equal(dataPlane.run(between(inward, it, a, one, { flags: SYN })).verdict, 'TX_NAT')
    t.equal(dataPlane.run(between(inward, it, b, other, { flags: SYN })).verdict, 'TX_NAT')
    for (const [client, vip] of [
      [a, one],
      [b, other],
    ] as const) {
      const { verdict, packet } = dataPlane.run(
        between(fromBackend(1), it, server, client, { flags: SYN | ACK }),
      )
      t.equal(verdict, 'TX_NAT_REPLY')
      t.same(endsOf(packet), { from: vip, to: client })
    }
    t.equal(
      dataPlane.run(between(inward, it, a, other, { flags: SYN })).verdict,
      'TX_EXHAUSTED',
      'the same client’s, of the other VIP',
    )
    const still = dataPlane.run(between(fromBackend(1), it, server, a))
    t.same(endsOf(still.packet), { from: one, to: a }, 'and its first is unharmed')
    const stranger = dataPlane.run(between(fromBackend(1), it, server, { ...a, port: 40002 }))
    t.equal(stranger.verdict, 'PASS_NOT_A_SERVICE', 'of no connection: the host’s')
  },
)

t.test('each state ends after its time, to the second', async t => {
  const it = { protocol: 'tcp' as const }
  const dns = { protocol: 'udp' as const }
  type Step = readonly ['client' | 'server', number]
  const handshake: readonly Step[] = [
    ['client', SYN],
    ['server', SYN | ACK],
    ['client', ACK],
  ]
  const histories: Readonly<Record<string, readonly [readonly Step[], number]>> = {
    synSent: [[['client', SYN]], times.synSent],
    'synSent, again': [
      [
        ['client', SYN],
        ['client', SYN],
      ],
      times.synSent,
    ],
    synReceived: [
      [
        ['client', SYN],
        ['server', SYN | ACK],
      ],
      times.synReceived,
    ],
    established: [handshake, times.established],
    'established, the server speaks': [[...handshake, ['server', ACK]], times.established],
    finWait: [[...handshake, ['server', FIN | ACK]], times.finWait],
    closeWait: [[...handshake, ['client', FIN | ACK]], times.closeWait],
    lastAck: [[...handshake, ['client', FIN | ACK], ['server', FIN | ACK], ['client', ACK]], times.lastAck],
    timeWait: [[...handshake, ['server', FIN | ACK], ['client', FIN | ACK], ['server', ACK]], times.timeWait],
    'simultaneous close': [
      [...handshake, ['client', FIN | ACK], ['server', FIN | ACK], ['server', ACK], ['client', ACK]],
      times.lastAck,
    ],
    'reset by the client': [[...handshake, ['client', RST]], times.close],
    'reset by the server': [[...handshake, ['server', RST | ACK]], times.close],
    'refused by the server': [
      [
        ['client', SYN],
        ['server', RST | ACK],
      ],
      times.close,
    ],
    'a reset that was none': [[...handshake, ['client', RST], ['client', ACK]], times.established],
    'opened again while it closes': [
      [...handshake, ['server', FIN | ACK], ['client', FIN | ACK], ['client', SYN]],
      times.synSent,
    ],
  }
  const run = async (
    name: string,
    proto: typeof it | typeof dns,
    steps: readonly Step[],
    seconds: number,
    port: number,
  ): Promise<void> => {
    // A pool of one port: whoever comes next finds out whether it is free.
    const small = connectionTables({
      pools: [{ index: 1, addresses: ['10.200.0.1'], firstPort: 5000, ports: 1, ranges: 1 }],
    })
    const dataPlane = await instance(t, small)
    const vip = { host: '192.0.2.10', port }
    const client = { host: '198.51.100.7', port: 40000 }
    let now = 1000
    let mapping: ReturnType<typeof endsOf> | null = null
    for (const [end, flags] of steps) {
      dataPlane.setSeconds(now)
      const sent =
        end === 'client'
          ? between(inward, proto, client, vip, { flags })
          : between(fromBackend(1), proto, mapping!.to, mapping!.from, { flags })
      const { verdict, packet } = dataPlane.run(sent)
      t.equal(verdict, end === 'client' ? 'TX_FULLNAT' : 'TX_FULLNAT_REPLY', name)
      if (end === 'client') mapping = endsOf(packet)
      now += 1
    }
    const last = now - 1
    const next = { host: '198.51.100.8', port: 40000 }
    dataPlane.setSeconds(last + seconds)
    t.equal(
      dataPlane.run(between(inward, proto, next, vip, { flags: SYN })).verdict,
      'TX_EXHAUSTED',
      `${name}: in its last second`,
    )
    dataPlane.setSeconds(last + seconds + 1)
    const { verdict, packet } = dataPlane.run(between(inward, proto, next, vip, { flags: SYN }))
    t.equal(verdict, 'TX_FULLNAT', `${name}: afterwards`)
    if (verdict === 'TX_FULLNAT') t.same(endsOf(packet).from, mapping!.from)
  }
  for (const [name, [steps, seconds]] of Object.entries(histories)) await run(name, it, steps, seconds, 83)
  const query: Step = ['client', 0]
  const answer: Step = ['server', 0]
  await run('one datagram', dns, [query], times.udpOnce, 53)
  await run('one, answered', dns, [query, answer], times.udpOnce, 53)
  await run('two', dns, [query, answer, query], times.udp, 53)
})

t.test('replies are counted by backend, connections by pool', async t => {
  const { dataPlane, opened } = await begin(t)
  for (const it of opened) dataPlane.run(between(it.far.in, it, it.server, it.local, { flags: SYN | ACK }))
  for (const { id } of tables.backends) {
    const packets = opened.filter(({ backend }) => backend === id).length
    t.equal(dataPlane.replyCounts(id).tx.packets, packets)
    t.equal(dataPlane.backendCounts(id).tx.packets, packets)
  }
  t.same(dataPlane.verdictCounts().TX_SNAT?.packets, 2)
  t.same(dataPlane.verdictCounts().TX_SNAT_REPLY?.packets, 2)
  for (const { index } of pools) t.ok(dataPlane.poolCounts(index).opened > 0)
  t.equal(
    pools.reduce((sum, { index }) => sum + dataPlane.poolCounts(index).opened, 0),
    opened.length,
  )
})
