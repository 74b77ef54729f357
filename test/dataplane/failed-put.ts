/** What a put that fails half-way leaves behind: nothing that was not there before. */
import t from 'tap'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createServiceTable, type ServiceEntry } from '../../src/dataplane/service-table.js'
import { slotMemory } from '../../src/dataplane/slots.js'
import { createTables } from '../../src/dataplane/tables.js'
import { skip } from '../fixtures/native.js'
import { WEB, web } from '../fixtures/web.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const LIMITS = { services: 2, backends: 8, slots: 2048, flows: 1024 }
const nextHop = { ifindex: 1, mac: new Uint8Array(6), sourceMac: new Uint8Array(6), mtu: 1500, source: null }

interface Ends {
  teardown(end: () => unknown): void
}

const openSite = async (t: Ends, fill: (dataplane: Dataplane) => void = () => {}) => {
  const dataplane = await Dataplane.load(shapeFor(LIMITS, SEED, { tracking: true }))
  t.teardown(() => dataplane.close())
  fill(dataplane)
  let nowMs = 0
  const tables = createTables(dataplane, { now: () => nowMs })
  const ring = (): number[] => {
    const { ringBase, ringSize } = serviceEntry(dataplane)
    const slots = slotMemory(dataplane.memory('slots'))
    return Array.from({ length: ringSize }, (_, slot) => slots.read(ringBase + slot))
  }
  /** Often, and each time when what was freed may be used again. */
  const refuse = async (work: () => Promise<unknown>): Promise<string[]> => {
    const reasons = []
    for (let i = 0; i < 10; i++) {
      reasons.push(await work().then(() => 'taken', String))
      nowMs += 2000
    }
    return [...new Set(reasons)]
  }
  return { dataplane, tables, ring, refuse }
}

/** The only service's entry; its VIP has another. */
const serviceEntry = (dataplane: Dataplane): ServiceEntry =>
  createServiceTable(dataplane.memory('services'), 0, 0, () => 0)
    .entries()
    .find(({ ringSize }) => ringSize > 0)!

/** As if so many interfaces led to backends that there is no place for another. */
const withoutWaysOut = async <T>(dataplane: Dataplane, work: () => Promise<T>): Promise<T> => {
  dataplane.outPort = () => {
    throw new Error('no way out')
  }
  try {
    return await work()
  } finally {
    Reflect.deleteProperty(dataplane, 'outPort')
  }
}

t.test('a new service that is refused, however often, takes nothing', { skip }, async t => {
  const { dataplane, tables, refuse } = await openSite(t)
  const before = dataplane.shape
  const wanted = web({ owner: 1, nextHop })
  const reasons = await withoutWaysOut(dataplane, () => refuse(() => tables.put([wanted])))
  t.same(reasons, ['Error: no way out'])
  t.same(tables.identities(), [])
  t.same(dataplane.shape, before, 'there is as much room as before')
  await tables.put([wanted])
  t.same(tables.identities(), [WEB])
  t.same(dataplane.shape, before)
})

t.test('a ring that is to have another size stays when its backends are refused', { skip }, async t => {
  const { dataplane, tables, ring, refuse } = await openSite(t)
  await tables.put([web({ owner: 0 })])
  const wanted = web({ owner: 1 })
  await tables.put([wanted])
  const [before, tracking, { shape }] = [ring(), tables.tracking(WEB), dataplane]
  t.equal(tracking.grace, wanted.owners.length)
  const another = web({ owner: 1, ringSize: 509, nextHop })
  const reasons = await withoutWaysOut(dataplane, () => refuse(() => tables.put([another])))
  t.same(reasons, ['Error: no way out'])
  t.same(dataplane.shape, shape, 'there is as much room as before')
  await tables.setSeed('f'.repeat(32))
  t.same(ring(), before, 'also after a move to another program')
  await tables.put([wanted])
  t.same(ring(), before)
  t.same(tables.tracking(WEB), tracking)
  await tables.put([another])
  t.equal(ring().length, 509)
})

t.test('a service for which no other program can be loaded is not there', { skip }, async t => {
  /** Every bucket of the service table is taken. */
  const fill = (dataplane: Dataplane): void => {
    const table = createServiceTable(dataplane.memory('services'), dataplane.serviceSeed, 0, () => 0)
    const addr = new Uint8Array(16)
    const rest = {
      protocol: 6,
      flags: 0,
      idle: 1,
      ringBase: 0,
      ringSize: 7,
      hashSeed: 0n,
      hashMask: 0n,
      id: 0,
    }
    for (let port = 1; port < 2000 && table.entries().length < table.buckets; port++)
      table.put({ ...rest, addr, port })
  }
  const { dataplane, tables, refuse } = await openSite(t, fill)
  const found = tables.identities()
  t.ok(found.length > 8)
  dataplane.reshape = () => Promise.reject(new Error('no memory'))
  t.same(await refuse(() => tables.put([web({ owner: 0 })])), ['Error: no memory'])
  t.same(tables.identities(), found)
  Reflect.deleteProperty(dataplane, 'reshape')
  tables.remove(found)
  await tables.put([web({ owner: 0 })])
  t.same(tables.identities(), [WEB])
})

t.test('a seed that could not be changed is changed by the next try', { skip }, async t => {
  const { dataplane, tables } = await openSite(t)
  await tables.put([web({ owner: 0 })])
  const seed = 'f'.repeat(32)
  dataplane.reshape = () => Promise.reject(new Error('no memory'))
  await t.rejects(tables.setSeed(seed), /no memory/)
  Reflect.deleteProperty(dataplane, 'reshape')
  const hashSeed = () => serviceEntry(dataplane).hashSeed
  const before = hashSeed()
  await tables.put([web({ owner: 1 })])
  t.equal(hashSeed(), before, 'the program goes by the seed that it has')
  await tables.setSeed(seed)
  t.equal(dataplane.shape.seed, seed)
  t.not(hashSeed(), before)
})
