import fc from 'fast-check'
import t from 'tap'
import type { FlowRow } from '../../src/control/protocol.js'
import { L, slotWord } from '../../src/dataplane/slot.js'
import type { FlowFilter } from '../../src/flows/filter.js'
import { createFlows, type Flows } from '../../src/flows/flows.js'
import { entryWord, OPEN, placeOf } from '../affinity/fixtures/entry.js'
import {
  CACHE_BITS,
  CONNECTION_DROPPED,
  CONNECTION_FULLNAT,
  CONNECTION_NAT,
  CONNECTION_SNAT,
  DNS_D1,
  FLOW_NOW,
  type MadeTables,
  makeTables,
  NOBODYS,
  NOW,
  SEEN_ACK,
  SEEN_SYN,
  SIX_B1,
  UDP,
  WEB_B2,
} from './fixtures/memory.js'
import { connections, filters, LENGTH } from './fixtures/random-connections.js'

const all = async (flows: Flows, filter: FlowFilter = {}, limit?: number): Promise<FlowRow[]> => {
  const rows: FlowRow[] = []
  let cursor: string | undefined
  do {
    const page = await flows.list({ ...filter, cursor, limit })
    if (limit !== undefined && page.flows.length > limit) throw new Error('a page too long')
    rows.push(...page.flows)
    cursor = page.cursor ?? undefined
  } while (cursor !== undefined)
  return rows
}

/** Three flows of web's in the flow cache. */
const track = ({ flowCache, slots }: MadeTables): void => {
  new BigUint64Array(slots).fill(BigInt(slotWord(L, WEB_B2, 0)))
  const cache = new BigUint64Array(flowCache)
  for (const [at, hash] of [0x11111111, 0x77777777, 0xeeeeeeee].entries()) {
    const { bucket, fingerprint } = placeOf(hash, 0, CACHE_BITS)
    cache[bucket * 8 + at] = entryWord({ id: WEB_B2, seen: FLOW_NOW - 5, kind: OPEN, fingerprint })
  }
}

t.test('a connection is told with all that is known of it', async t => {
  const tables = makeTables()
  tables.put({ index: 65536 + 1024, client: '2001:db8:c::1', server: '192.0.2.10' })
  tables.put({
    index: 30000,
    kind: CONNECTION_SNAT,
    backend: 0,
    client: '10.2.0.5',
    server: '203.0.113.80',
    serverPort: 443,
    expires: NOW + 700,
  })
  tables.put({
    index: 77,
    kind: CONNECTION_NAT,
    backend: DNS_D1,
    protocol: UDP,
    clientSeen: 0,
    serverPort: 53,
    expires: NOW + 12,
  })
  tables.put({ index: 78, backend: NOBODYS, clientSeen: SEEN_SYN, serverSeen: 0, expires: NOW + 119 })
  track(tables)
  const rows = await all(createFlows(tables.sources))
  t.same(
    rows.map(({ id: _, ...row }) => row),
    [
      {
        kind: 'nat',
        service: 'dns',
        backend: 'd1',
        protocol: 'udp',
        client: '198.51.100.7',
        clientPort: 40001,
        server: '192.0.2.10',
        serverPort: 53,
        local: null,
        localPort: null,
        state: 'udp-once',
        idle: 18,
        expires: 12,
        dropped: false,
      },
      {
        kind: 'fullnat',
        service: null,
        backend: null,
        protocol: 'tcp',
        client: '198.51.100.7',
        clientPort: 40001,
        server: '192.0.2.10',
        serverPort: 80,
        local: '10.1.0.100',
        localPort: 78,
        state: 'syn-sent',
        idle: 1,
        expires: 119,
        dropped: false,
      },
      {
        kind: 'snat',
        service: null,
        backend: null,
        protocol: 'tcp',
        client: '10.2.0.5',
        clientPort: 40001,
        server: '203.0.113.80',
        serverPort: 443,
        local: '10.1.0.100',
        localPort: 30000,
        state: 'established',
        idle: 0,
        expires: 700,
        dropped: false,
      },
      {
        kind: 'fullnat',
        service: 'web',
        backend: 'b1',
        protocol: 'tcp',
        client: '2001:db8:c::1',
        clientPort: 40001,
        server: '192.0.2.10',
        serverPort: 80,
        local: '10.1.0.101',
        localPort: 1024,
        state: 'established',
        idle: 300,
        expires: 600,
        dropped: false,
      },
      ...Array<object>(3).fill({
        kind: 'tracked',
        service: 'web',
        backend: 'b2',
        protocol: 'tcp',
        client: null,
        clientPort: null,
        server: null,
        serverPort: null,
        local: null,
        localPort: null,
        state: 'open',
        idle: 20,
        expires: 880,
        dropped: false,
      }),
    ],
  )
  t.equal(new Set(rows.slice(0, 4).map(({ id }) => id)).size, 4, 'each has an id of its own')
  t.ok(rows.slice(4).every(({ id }) => id === null))
})

t.test('names that are not there are refused, and so is what names no clients', async t => {
  const flows = createFlows(makeTables(64).sources)
  const all: readonly ((filter: FlowFilter) => Promise<unknown>)[] = [flows.list, flows.count, flows.drop]
  for (const of of all) {
    await t.rejects(of({ service: 'wbe' }), { code: 'ERR_NOT_FOUND', message: /wbe/, hint: /web, dns, six/ })
    await t.rejects(of({ service: 'web', backend: 'd1' }), { code: 'ERR_NOT_FOUND', message: /d1/ })
    await t.rejects(of({ backend: 'b9' }), { code: 'ERR_NOT_FOUND', message: /b9/ })
    await t.rejects(of({ client: '192.0.2.0/33' }), { code: 'ERR_BAD_REQUEST' })
  }
  t.same((await flows.list({ backend: 'b1' })).flows, [], 'a name in any service')
})

t.test('tracked flows match no client, and states of their own', async t => {
  const tables = makeTables(64)
  track(tables)
  tables.put({ index: 5 })
  const flows = createFlows(tables.sources)
  const kinds = async (filter: FlowFilter): Promise<string[]> =>
    (await all(flows, filter)).map(({ kind }) => kind)
  t.same(await kinds({}), ['fullnat', 'tracked', 'tracked', 'tracked'])
  t.same(await kinds({ client: '0.0.0.0/0' }), ['fullnat'])
  t.same(await kinds({ state: 'open' }), ['tracked', 'tracked', 'tracked'])
  t.same(await kinds({ state: 'closed' }), [])
  t.same(await kinds({ state: 'established' }), ['fullnat'])
  t.same(await kinds({ backend: 'b2' }), ['tracked', 'tracked', 'tracked'])
})

t.test('a connection that has been dropped says so', async t => {
  const tables = makeTables(64)
  tables.put({
    index: 5,
    kind: CONNECTION_FULLNAT | CONNECTION_DROPPED,
    backend: SIX_B1,
    clientSeen: SEEN_SYN | SEEN_ACK,
  })
  t.match(await all(createFlows(tables.sources)), [{ dropped: true, state: 'established', service: 'six' }])
})

const keyOf = (row: FlowRow): string => JSON.stringify(row)

t.test('filters: parts together are the rows that each of them leaves, pages are the whole', async t => {
  let filtered = 0
  await fc.assert(
    fc.asyncProperty(connections, filters, fc.integer({ min: 1, max: 30 }), async (made, filter, limit) => {
      const tables = makeTables(LENGTH)
      track(tables)
      for (const one of made) tables.put(one)
      const flows = createFlows(tables.sources)
      const whole = await all(flows)
      t.same(
        whole.filter(({ kind }) => kind !== 'tracked').map(({ id }) => Number(id!.split(':')[0])),
        made
          .filter(({ kind, expires }) => (kind! & 7) >= 2 && expires! >= NOW)
          .map(({ index }) => index)
          .sort((a, b) => a - b),
        'without a filter: what lives, in order',
      )
      const together = await all(flows, filter, limit)
      const parts = await Promise.all(
        Object.entries(filter).map(([key, value]) => all(flows, { [key]: value })),
      )
      // The rows of the tracked flows are equal: how many are left is what counts.
      t.same(
        together.map(keyOf),
        whole.map(keyOf).filter(key => parts.every(part => part.some(row => keyOf(row) === key))),
        JSON.stringify(filter),
      )
      for (const row of together)
        if (filter.state && row.state !== filter.state) t.fail(`${row.state} is not ${filter.state}`)
        else if (filter.service && row.service !== filter.service) t.fail(`${row.service} is not the service`)
      filtered += together.length
    }),
    { numRuns: 60 },
  )
  t.ok(filtered > 100, `${filtered} rows in all`)
})

t.test('counted is what is listed: by kind, state, service and backend', async t => {
  await fc.assert(
    fc.asyncProperty(connections, filters, async (made, filter) => {
      const tables = makeTables(LENGTH)
      track(tables)
      for (const one of made) tables.put(one)
      const flows = createFlows(tables.sources)
      const rows = await all(flows, filter)
      const counted = await flows.count(filter)
      const how = (is: (row: FlowRow) => boolean): number => rows.filter(is).length
      t.equal(counted.total, rows.length)
      t.equal(
        counted.dropped,
        how(({ dropped }) => dropped),
      )
      for (const [kind, count] of Object.entries(counted.kinds))
        t.equal(
          count,
          how(row => row.kind === kind),
        )
      for (const [state, count] of Object.entries(counted.states))
        t.equal(
          count,
          how(row => row.state === state),
        )
      t.same(new Set(Object.keys(counted.states)), new Set(rows.map(({ state }) => state)))
      for (const { service, total, backends } of counted.services) {
        t.equal(
          total,
          how(row => row.service === service),
        )
        for (const one of backends)
          t.equal(
            one.total,
            how(row => row.service === service && row.backend === one.backend),
          )
      }
      t.equal(
        counted.services.reduce((sum, { total }) => sum + total, 0),
        how(({ service }) => service !== null),
      )
    }),
    { numRuns: 60 },
  )
})
