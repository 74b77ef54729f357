/** The client's address for FULLNAT backends: TCP option 254 on its first packets, and never one of its own making. */
import t from 'tap'
import { address } from '../fixtures/addresses.js'
import { concat, counting, u16 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { endsOf } from '../fixtures/connection-cases.js'
import { connectionTables } from '../fixtures/connection-tables.js'
import type { DataPlane } from '../fixtures/data-plane.js'
import { type EthernetFields, frame } from '../fixtures/frames.js'
import { families, inward, ip, toBackend } from '../fixtures/nat-cases.js'
import { parseIp, wrongChecksumsOf } from '../fixtures/parse.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'

const { SYN, ACK } = tcpFlags
const tables = connectionTables({ tellsClient: true })
const SOURCE = 40001
/** The service of TCP 80 in either family. */
const servers = { 4: 8080, 6: 8080 } as const
type Family = 4 | 6

const option = (family: Family): Uint8Array => {
  const client = address(families[family].client)
  return concat(Uint8Array.of(254, 4 + client.length), u16(SOURCE), client)
}

const nops = (count: number): Uint8Array => new Uint8Array(count).fill(1)
/** As a client's SYN has them: MSS, SACK, timestamps, window scale. */
const usual = Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7)

const sent = (
  family: Family,
  options: Uint8Array,
  flags: number,
  body: Uint8Array = new Uint8Array(0),
  ethernet: Partial<EthernetFields> = {},
): Uint8Array =>
  frame(
    { ...inward, ...ethernet },
    ip(
      { from: families[family].client, to: families[family].vip, tos: 8 },
      tcp({ from: SOURCE, to: 80, seq: 5, ack: 6, window: 99, flags, options }, body),
    ),
  )

/** The same as its backend gets it: with these options. */
const arrived = (
  family: Family,
  packet: Uint8Array,
  backend: number,
  options: Uint8Array,
  flags: number,
  body: Uint8Array,
  ethernet: Partial<EthernetFields> = {},
): Uint8Array => {
  const { from, to } = endsOf(packet)
  return frame(
    { ...toBackend(backend), ...ethernet },
    ip(
      { from: from.host, to: to.host, ttl: 63, tos: 8 },
      tcp({ from: from.port, to: servers[family], seq: 5, ack: 6, window: 99, flags, options }, body),
    ),
  )
}

const begin = async (
  t: Parameters<typeof instance>[0],
  changes: Partial<typeof tables> = {},
): Promise<DataPlane> => {
  const dataPlane = await instance(t, { ...tables, ...changes })
  dataPlane.setSeconds(1000)
  return dataPlane
}

t.test(
  'the SYN and the first packets tell it, ahead of the client’s own options; later ones do not',
  async t => {
    for (const family of [4, 6] as const)
      for (const options of [new Uint8Array(0), nops(4), nops(12), usual, nops(family === 4 ? 32 : 20)]) {
        const dataPlane = await begin(t)
        const told: boolean[] = []
        for (let n = 0; n < 8; n++) {
          const flags = n === 0 ? SYN : ACK
          const body = n < 2 ? new Uint8Array(0) : counting(n * 7)
          const { verdict, packet, backend } = dataPlane.run(sent(family, options, flags, body))
          t.equal(verdict, 'TX_FULLNAT')
          const own = parseIp(packet.subarray(14)).payload
          const hasMore = (own[12]! >> 4) * 4 > 20 + options.length
          told.push(hasMore)
          const wanted = hasMore ? concat(option(family), options) : options
          t.same(
            packet,
            arrived(family, packet, backend!.id, wanted, flags, body),
            `${family}, ${options.length} bytes of options, packet ${n}`,
          )
        }
        const times = told.filter(Boolean).length
        t.ok(told[0] && told[1] && told[2], 'SYN, third ACK, first data')
        t.ok(times <= 4, `${times} times`)
        t.equal(told.lastIndexOf(true), times - 1, 'the first ones')
      }
  },
)

t.test('where the header has no room, it goes without', async t => {
  for (const [family, bytes] of [
    [4, 36],
    [4, 40],
    [6, 24],
    [6, 40],
  ] as const) {
    const dataPlane = await begin(t)
    const { verdict, packet, backend } = dataPlane.run(sent(family, nops(bytes), SYN))
    t.equal(verdict, 'TX_FULLNAT')
    t.same(packet, arrived(family, packet, backend!.id, nops(bytes), SYN, new Uint8Array(0)))
  }
})

t.test('where the path has no room, it goes without; one byte less, with', async t => {
  for (const family of [4, 6] as const)
    for (const spare of [0, option(family).length - 1, option(family).length]) {
      const mtu = 1400
      const dataPlane = await begin(t, { backends: tables.backends.map(backend => ({ ...backend, mtu })) })
      dataPlane.run(sent(family, nops(0), SYN))
      const body = counting(mtu - (family === 4 ? 40 : 60) - spare)
      const { verdict, packet, backend } = dataPlane.run(sent(family, nops(0), ACK, body))
      t.equal(verdict, 'TX_FULLNAT')
      const wanted = spare === option(family).length ? option(family) : nops(0)
      t.same(packet, arrived(family, packet, backend!.id, wanted, ACK, body), `${family}, ${spare} to spare`)
    }
})

t.test('VLAN tags and what is behind the packet stay', async t => {
  for (const family of [4, 6] as const)
    for (const tags of [[], [{ tci: 7 }], [{ tpid: 0x88a8, tci: 7 }, { tci: 8 }]]) {
      const dataPlane = await begin(t)
      const { packet, backend } = dataPlane.run(
        sent(family, nops(0), SYN, new Uint8Array(0), { tags, padTo: 120 }),
      )
      const untagged = concat(packet.subarray(0, 12), packet.subarray(12 + tags.length * 4))
      const padTo = 120 + option(family).length
      t.same(
        packet,
        arrived(family, untagged, backend!.id, option(family), SYN, new Uint8Array(0), { tags, padTo }),
      )
    }
})

/** Options with a client's own 254 among them, and the same with that blanked. */
const forged = ([0, 1, 2, 3, 5] as const).flatMap(before =>
  [8, 20, 2, 3, 9, 12].map(length => {
    const claim = concat(Uint8Array.of(254, length), counting(length - 2))
    const [head, tail] = [nops(before), Uint8Array.of(4, 2)]
    return {
      name: `${before} bytes ahead, ${length} long`,
      options: concat(head, claim, tail),
      blank: concat(head, nops(length), tail),
    }
  }),
)
const padded = (options: Uint8Array): Uint8Array =>
  concat(options, new Uint8Array((4 - (options.length % 4)) % 4))

t.test('a client’s own option 254 is blanked, on every packet, whether the service tells or not', async t => {
  for (const tellsClient of [true, false]) {
    const dataPlane = await instance(t, connectionTables({ tellsClient }))
    let seconds = 0
    for (const family of [4, 6] as const)
      for (const { name, options, blank } of forged) {
        // long after the last one is over
        seconds += 1000
        dataPlane.setSeconds(seconds)
        for (let n = 0; n < 7; n++) {
          const flags = n === 0 ? SYN : ACK
          const { verdict, packet, backend } = dataPlane.run(sent(family, options, flags, counting(9)))
          t.equal(verdict, 'TX_FULLNAT')
          const own = parseIp(packet.subarray(14)).payload
          const isTold = (own[12]! >> 4) * 4 > 20 + padded(options).length
          t.ok(tellsClient || !isTold)
          const wanted = isTold ? concat(option(family), padded(blank)) : padded(blank)
          t.same(
            packet,
            arrived(family, packet, backend!.id, wanted, flags, counting(9)),
            `${family}, ${name}, packet ${n}`,
          )
        }
      }
  }
})

/** The values of option 254 as Linux reads options: up to the first that makes no sense. */
const believed = (header: Uint8Array): readonly Uint8Array[] => {
  const found: Uint8Array[] = []
  for (let at = 20; at < header.length; ) {
    const [kind, length] = [header[at]!, header[at + 1] ?? 0]
    if (kind === 0) break
    if (kind === 1) at++
    else if (length < 2 || at + length > header.length) break
    else {
      if (kind === 254) found.push(header.subarray(at + 2, at + length))
      at += length
    }
  }
  return found
}

t.test('two of them are blanked both; one that reaches beyond the header gets nobody believed', async t => {
  const dataPlane = await begin(t)
  const two = concat(
    Uint8Array.of(254, 8),
    counting(6),
    Uint8Array.of(1, 254, 8),
    counting(6),
    Uint8Array.of(1),
  )
  const { packet, backend } = dataPlane.run(sent(4, two, SYN))
  t.same(packet, arrived(4, packet, backend!.id, concat(option(4), nops(two.length)), SYN, new Uint8Array(0)))
  for (const broken of [
    Uint8Array.of(254, 40, 1, 2),
    Uint8Array.of(254, 0, 1, 2),
    Uint8Array.of(254, 1, 1, 2),
    Uint8Array.of(1, 1, 1, 254),
  ]) {
    const { verdict, packet: left } = dataPlane.run(sent(4, broken, ACK, counting(30)))
    if (!/^TX/.test(verdict)) continue
    t.same(wrongChecksumsOf(left.subarray(14)), [])
    const own = parseIp(left.subarray(14)).payload
    const end = (own[12]! >> 4) * 4
    t.same(own.subarray(end), counting(30), 'no byte of the data is taken for an option')
    const claims = believed(own.subarray(0, end))
    t.ok(claims.length <= 1)
    for (const claim of claims) t.same(claim, option(4).subarray(2), 'the balancer’s own alone')
  }
})

t.test('what looks like one inside another option, or in the data, is none', async t => {
  const dataPlane = await begin(t)
  const inside = concat(Uint8Array.of(8, 10, 254, 8, 1, 2, 3, 4, 5, 6), Uint8Array.of(0, 254, 8, 1, 1, 1))
  const body = Uint8Array.of(254, 8, 1, 2, 3, 4, 5, 6)
  const { packet, backend } = dataPlane.run(sent(4, inside, SYN, body))
  t.same(packet, arrived(4, packet, backend!.id, concat(option(4), inside), SYN, body))
})

t.test('datagrams and NAT tell nothing', async t => {
  const dataPlane = await begin(t)
  const { client, vip } = families[4]
  const query = dataPlane.run(
    frame(inward, ip({ from: client, to: vip }, udp({ from: SOURCE, to: 53 }, counting(30)))),
  )
  t.equal(query.packet.length, 14 + 20 + 8 + 30)
  const shared = dataPlane.run(frame(inward, ip({ from: client, to: vip }, tcp({ from: SOURCE, to: 90 }))))
  t.equal(shared.verdict, 'TX_NAT')
  t.equal(shared.packet.length, 14 + 20 + 20)
})
