import t from 'tap'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createFlowClock } from '../../src/dataplane/flow-clock.js'
import { entryWord } from '../../src/dataplane/flow-entry.js'
import { L, slotWord } from '../../src/dataplane/slot.js'
import { slotMemory } from '../../src/dataplane/slots.js'
import { createTables } from '../../src/dataplane/tables.js'
import { native, skip } from '../fixtures/native.js'
import { RING, web } from '../fixtures/web.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const limits = (flows: number) => ({ services: 4, backends: 8, slots: 4096, flows })

/** Every slot has passed from the first backend to the second; `count` flows of each bucket stay with the second. */
const openSite = async (count: number) => {
  const dataplane = await Dataplane.load(shapeFor(limits(4096), SEED, { tracking: true }))
  let nowMs = 0
  const refusals: unknown[] = []
  const tables = createTables(dataplane, {
    now: () => nowMs,
    onRefused: ({ flows, isNew }) => refusals.push({ flows, isNew }),
  })
  await tables.put([web({ owner: 0 })])
  await tables.put([web({ owner: 1 })])
  const cache = new BigUint64Array(dataplane.memory('flow_cache'))
  const seen = createFlowClock(dataplane.jiffies(), 0, native.tickNs, () => 0)()
  for (let bucket = 0; bucket < cache.length / 8; bucket++)
    for (let i = 0; i < count; i++)
      cache[bucket * 8 + i] = entryWord({ id: 2, seen, kind: 2, print: (bucket * 8 + i) * 7919 })
  const entries = (): number =>
    new BigUint64Array(dataplane.memory('flow_cache')).filter(word => word !== 0n).length
  const pass = (ms: number): void => {
    nowMs += ms
  }
  return { dataplane, tables, entries, refusals, pass }
}

const slotWords = (dataplane: Dataplane): number[] => {
  const slots = slotMemory(dataplane.memory('slots'))
  return Array.from({ length: RING }, (_, slot) => slots.read(slot))
}

t.test('a flow cache grows with all that it holds, and shrinks while that fits', { skip }, async t => {
  const { dataplane, tables, entries } = await openSite(2)
  const [before, count] = [slotWords(dataplane), entries()]
  t.ok(
    before.every(word => word !== 0 && word !== slotWord(L, 1, 1)),
    'slots are tracked',
  )
  for (const flows of [65536, 4096, 2048]) {
    await tables.fit(limits(flows))
    t.equal(new BigUint64Array(dataplane.memory('flow_cache')).length, flows)
    t.equal(entries(), count, `${flows} flows`)
  }
  t.same(slotWords(dataplane), before, 'slots are as they were')
  await dataplane.close()
})

t.test('a size in which live exceptions have no room is refused, and nothing changes', { skip }, async t => {
  const { dataplane, tables, entries, refusals, pass } = await openSite(8)
  const [before, count, tag] = [slotWords(dataplane), entries(), dataplane.tag]
  await tables.fit(limits(1024))
  t.same([dataplane.shape.flows, entries(), dataplane.tag], [4096, count, tag])
  t.same(slotWords(dataplane), before)
  await t.rejects(
    dataplane.reshape({ ...dataplane.shape, flows: 1024 }, () => {}),
    {
      code: 'ERR_LIMIT',
      message: /\d+ flows that must be remembered/,
    },
  )
  await tables.fit(limits(1024))
  t.same(refusals, [{ flows: 1024, isNew: true }], 'it is said, and not tried again at once')
  pass(60_000)
  await tables.fit(limits(1024))
  t.same(refusals[1], { flows: 1024, isNew: false }, 'but later')
  await tables.fit(limits(8192))
  t.equal(dataplane.shape.flows, 8192, 'another size is tried at once')
  await dataplane.close()
})

t.test(
  'a size that nothing needs loads no other program, and counts when something does',
  { skip },
  async t => {
    const dataplane = await Dataplane.load(shapeFor(limits(4096), SEED))
    const tables = createTables(dataplane, { now: () => 0 })
    await tables.put([web({ owner: 0, tracking: 'never' })])
    const { shape } = dataplane
    await tables.fit(limits(8192))
    t.equal(dataplane.shape, shape)
    await tables.put([web({ owner: 0 })])
    t.match(dataplane.shape, { tracking: true, flows: 8192 })
    await dataplane.close()
  },
)

t.test('two changes that need another program at a time both come into effect', { skip }, async t => {
  const dataplane = await Dataplane.load(shapeFor(limits(4096), SEED))
  const tables = createTables(dataplane, { now: () => 0 })
  const interfaces = [1, 257].map(ifindex => ({ ifindex, mac: new Uint8Array(6), mtu: 1500 }))
  await Promise.all([tables.fit({ ...limits(4096), services: 64 }), tables.setInterfaces(interfaces)])
  t.match(dataplane.shape, { services: 64, interfaces: 512 })
  await dataplane.close()
})
