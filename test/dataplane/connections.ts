import fc from 'fast-check'
import t from 'tap'
import { createConnectionClock } from '../../src/dataplane/connection-clock.js'
import {
  changeLife,
  countConnections,
  isLive,
  placeOf,
  readConnection,
  viewConnections,
} from '../../src/dataplane/connections.js'
import { clockScale } from '../../src/dataplane/flow-clock.js'
import { connectionLayout } from '../../src/dataplane/layout.js'
import {
  CONNECTION_CLAIMED,
  CONNECTION_DROPPED,
  CONNECTION_FULLNAT,
  CONNECTION_NAT,
  CONNECTION_SNAT,
  makeTables,
  NOW,
} from '../flows/fixtures/memory.js'

t.test('the connection clock is seconds of jiffies, as the data plane rounds them', async t => {
  for (const tickNs of [1e6, 4e6, 10e6])
    for (const jiffies of [0n, 4_294_667_296n, 2n ** 33n + 12345n]) {
      let now = 5000
      const clock = createConnectionClock(jiffies, 5000, tickNs, () => now)
      const began = clock()
      const exact = (Number(jiffies) * tickNs) / 1e9
      t.ok(Math.abs(began - exact) <= 1 + exact * 1e-6, `${began} for ${exact}`)
      t.equal(began, Number((jiffies * clockScale(tickNs)) >> 30n))
      now += 3_600_000
      t.ok(Math.abs(clock() - began - 3600) <= 1, 'an hour later')
    }
})

t.test('a connection lives until its second has passed', async t => {
  const tables = makeTables(1024)
  tables.put({ index: 7, expires: NOW })
  tables.put({ index: 8, expires: NOW - 1 })
  tables.put({ index: 9, kind: CONNECTION_CLAIMED })
  tables.put({ index: 10, kind: 0 })
  tables.put({ index: 11, kind: CONNECTION_NAT | CONNECTION_DROPPED })
  const views = viewConnections(tables.connections)
  t.same(
    [6, 7, 8, 9, 10, 11].filter(index => isLive(views, index, NOW)),
    [7, 11],
  )
  t.equal(readConnection(views, 8, NOW), null)
  t.match(readConnection(views, 7, NOW)?.record, { clientPort: 40001, serverPort: 80, backend: 1 })
  t.same(placeOf(0x2_1234), { number: 2, port: 0x1234 })
})

const kinds = [
  0,
  CONNECTION_CLAIMED,
  CONNECTION_FULLNAT,
  CONNECTION_SNAT,
  CONNECTION_NAT,
  CONNECTION_FULLNAT | CONNECTION_DROPPED,
  CONNECTION_CLAIMED | CONNECTION_DROPPED,
]

t.test('counted by backend are those that live, wherever they lie', async t => {
  const length = 3 * 65536 + 17
  const entry = fc.record({
    index: fc.integer({ min: 0, max: length - 1 }),
    backend: fc.integer({ min: 0, max: 12 }),
    expires: fc.integer({ min: NOW - 3, max: NOW + 3 }),
    kind: fc.constantFrom(...kinds),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 60 }), async entries => {
      const tables = makeTables(length)
      const byIndex = new Map(entries.map(one => [one.index, one]))
      const wanted = new Uint32Array(10)
      for (const one of byIndex.values()) {
        tables.put(one)
        if (one.expires >= NOW && (one.kind & 7) >= 2 && one.backend < 10) wanted[one.backend]!++
      }
      t.same(await countConnections(tables.connections, NOW, 10), wanted)
    }),
    { numRuns: 40 },
  )
})

t.test('the event loop turns while connections are counted', async t => {
  const tables = makeTables(8 * 65536)
  let turns = 0
  let isCounting = true
  const turn = (): void => {
    turns++
    if (isCounting) setImmediate(turn)
  }
  setImmediate(turn)
  await countConnections(tables.connections, NOW, 10)
  isCounting = false
  t.ok(turns >= 6, `${turns} turns`)
})

t.test('a change of life leaves all else, and does not undo what was written since', async t => {
  const tables = makeTables(64)
  tables.put({ index: 3, expires: NOW + 5 })
  const before = tables.at(3)
  const views = viewConnections(tables.connections)
  const { life } = readConnection(views, 3, NOW)!
  const dropped = CONNECTION_FULLNAT | CONNECTION_DROPPED
  const record = connectionLayout.decode(before)
  t.ok(changeLife(views, 3, life, { expires: NOW + 5, kind: dropped }))
  t.same(connectionLayout.decode(tables.at(3)), { ...record, kind: dropped }, 'only the kind')
  t.notOk(changeLife(views, 3, life, { expires: 1, kind: dropped }), 'it was written since')
  t.same(connectionLayout.decode(tables.at(3)), { ...record, kind: dropped })
  const again = readConnection(views, 3, NOW)!
  t.ok(changeLife(views, 3, again.life, { expires: 1, kind: CONNECTION_NAT }))
  t.same(connectionLayout.decode(tables.at(3)), { ...record, expires: 1, kind: CONNECTION_NAT })
})
