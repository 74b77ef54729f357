import fc from 'fast-check'
import t from 'tap'
import { connectionLayout } from '../../src/dataplane/layout.js'
import { L, slotWord } from '../../src/dataplane/slot.js'
import { createFlows } from '../../src/flows/flows.js'
import { entryWord, OPEN, placeOf } from '../affinity/fixtures/entry.js'
import {
  CACHE_BITS,
  CONNECTION_DROPPED,
  CONNECTION_FULLNAT,
  DNS_D1,
  FLOW_NOW,
  makeTables,
  NOW,
  SEEN_ACK,
  SEEN_FIN,
  SEEN_RST,
  SEEN_SYN,
  TCP,
  UDP,
  WEB_B2,
} from './fixtures/memory.js'
import { connections, filters, LENGTH } from './fixtures/random-connections.js'

const decode = (bytes: Uint8Array) => connectionLayout.decode(bytes)

t.test('TCP is marked for the data plane, UDP and what was reset is over', async t => {
  const tables = makeTables(1024)
  tables.put({ index: 1 })
  tables.put({ index: 2, clientSeen: SEEN_SYN | SEEN_ACK | SEEN_FIN })
  tables.put({ index: 3, clientSeen: SEEN_SYN | SEEN_RST })
  tables.put({ index: 4, protocol: UDP, backend: DNS_D1 })
  const before = [1, 2, 3, 4].map(index => decode(tables.at(index)))
  const flows = createFlows(tables.sources)
  t.same(await flows.drop({ all: true }), { dropped: 4, tracked: 0 })
  const after = [1, 2, 3, 4].map(index => decode(tables.at(index)))
  const marked = { kind: CONNECTION_FULLNAT | CONNECTION_DROPPED }
  t.same(after, [
    { ...before[0], ...marked },
    { ...before[1], ...marked },
    { ...before[2], ...marked, expires: NOW - 1 },
    { ...before[3], ...marked, expires: NOW - 1 },
  ])
  t.match((await flows.list({})).flows, [{ dropped: true }, { dropped: true }])
  t.same(await flows.drop({ all: true }), { dropped: 0, tracked: 0 }, 'none is dropped twice')
})

t.test('one by its client, one by its id, as it is listed', async t => {
  const tables = makeTables(1024)
  tables.put({ index: 1 })
  tables.put({ index: 2, clientPort: 40002 })
  tables.put({ index: 3, clientPort: 40003 })
  const flows = createFlows(tables.sources)
  t.same(await flows.drop({ service: 'web', client: '198.51.100.7:40002' }), { dropped: 1, tracked: 0 })
  const [, , third] = (await flows.list({})).flows
  t.same(await flows.drop({ id: third!.id! }), { dropped: 1, tracked: 0 })
  t.same(
    (await flows.list({})).flows.map(({ clientPort, dropped }) => [clientPort, dropped]),
    [
      [40001, false],
      [40002, true],
      [40003, true],
    ],
  )
})

t.test("an id is one connection's: the next one on its port is not meant", async t => {
  const tables = makeTables(1024)
  tables.put({ index: 3 })
  const flows = createFlows(tables.sources)
  const { id } = (await flows.list({})).flows[0]!
  tables.put({ index: 3, clientPort: 40002 })
  const before = tables.at(3)
  await t.rejects(flows.drop({ id: id! }), { code: 'ERR_NOT_FOUND' })
  await t.rejects(flows.drop({ id: '99999999:00000000' }), { code: 'ERR_NOT_FOUND' })
  await t.rejects(flows.drop({ id: 'web' }), { code: 'ERR_BAD_REQUEST' })
  t.same(tables.at(3), before)
})

t.test('everything is dropped by its name only', async t => {
  const tables = makeTables(1024)
  tables.put({ index: 3 })
  const before = tables.at(3)
  const flows = createFlows(tables.sources)
  await t.rejects(flows.drop({}), { code: 'ERR_BAD_REQUEST', hint: /--all/ })
  await t.rejects(flows.drop({ all: false }), { code: 'ERR_BAD_REQUEST' })
  await t.rejects(flows.drop({ all: true, service: 'web' }), { code: 'ERR_BAD_REQUEST' })
  await t.rejects(flows.drop({ id: '3:00000000', all: true }), { code: 'ERR_BAD_REQUEST' })
  t.same(tables.at(3), before)
})

t.test('tracked flows are refused alone, and told beside connections; none is touched', async t => {
  const tables = makeTables(64)
  new BigUint64Array(tables.slots).fill(BigInt(slotWord(L, WEB_B2, 0)))
  const { bucket, fingerprint } = placeOf(0x12345678, 0, CACHE_BITS)
  new BigUint64Array(tables.flowCache)[bucket * 8] = entryWord({
    id: WEB_B2,
    seen: FLOW_NOW,
    kind: OPEN,
    fingerprint,
  })
  const cache = tables.flowCache.slice(0)
  const flows = createFlows(tables.sources)
  await t.rejects(flows.drop({ service: 'web' }), { code: 'ERR_CONFLICT', hint: /another backend/ })
  tables.put({ index: 5 })
  t.same(await flows.drop({ service: 'web' }), { dropped: 1, tracked: 1 })
  t.same(tables.flowCache, cache)
})

t.test('a drop touches exactly what is listed with the same filter', async t => {
  let dropped = 0
  await fc.assert(
    fc.asyncProperty(connections, filters, async (made, filter) => {
      const tables = makeTables(LENGTH)
      for (const one of made) tables.put(one)
      const before = new Map(made.map(({ index }) => [index, tables.at(index)]))
      const flows = createFlows(tables.sources)
      const listed = (await flows.list(filter)).flows.filter(row => !row.dropped)
      const meant = new Set(listed.map(({ id }) => Number(id!.split(':')[0])))
      t.same(await flows.drop(filter), { dropped: meant.size, tracked: 0 })
      dropped += meant.size
      const expected = new Uint8Array(tables.connections.byteLength)
      for (const [index, bytes] of before) {
        const record = decode(bytes)
        const isOver = record.protocol !== TCP || ((record.clientSeen | record.serverSeen) & SEEN_RST) !== 0
        const after = {
          ...record,
          kind: record.kind | CONNECTION_DROPPED,
          expires: isOver ? NOW - 1 : record.expires,
        }
        expected.set(meant.has(index) ? connectionLayout.encode(after) : bytes, index * connectionLayout.size)
      }
      t.equal(Buffer.compare(new Uint8Array(tables.connections), expected), 0)
    }),
    { numRuns: 80 },
  )
  t.ok(dropped > 50, `${dropped} were dropped in all`)
})
