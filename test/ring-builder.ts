import { Worker } from 'node:worker_threads'
import t from 'tap'
import { buildRing, type Claim, refillRing } from '../src/ring.js'
import { createRingBuilder, startRingWorker } from '../src/ring-builder.js'

const LARGE = 200003
const claims = (count: number): Claim[] =>
  Array.from({ length: count }, (_, i) => ({ identity: `10.0.${i >> 8}.${i & 255}:80`, weight: 1 + (i % 3) }))
const nobody = () => false

/** Compared by hand: tap would look at each slot's type. */
const sameSlots = (a: Int32Array, b: Int32Array) =>
  a.length === b.length && a.every((owner, slot) => owner === b[slot])

/** A worker that dies of its first job. */
const brokenWorker = () =>
  new Worker('require("worker_threads").parentPort.on("message", () => process.exit(1))', {
    eval: true,
    execArgv: [],
  })

t.test('a large ring from the worker is the ring built in place', async t => {
  const builder = createRingBuilder()
  t.teardown(() => builder.close())
  const wanted = claims(50)
  const down = (_: Claim, index: number) => index % 7 === 3
  const local = buildRing(wanted, LARGE)

  const built = await builder.build(wanted, LARGE, down)

  t.equal(built.full.claims, wanted)
  t.ok(sameSlots(built.full.owners, local.owners))
  t.ok(sameSlots(built.owners, refillRing(local, down)))
  t.ok(sameSlots(await builder.refill(built.full, nobody), local.owners), 'the full ring came back whole')
  t.ok(sameSlots(await builder.refill(local, down), built.owners), 'nor need it come from the worker')
})

t.test('many large rings are built one after the other, each for its asker', async t => {
  const builder = createRingBuilder()
  t.teardown(() => builder.close())
  const built = await Promise.all([3, 7, 5].map(count => builder.build(claims(count), LARGE, nobody)))
  t.same(
    built.map(({ full }) => full.counts.length),
    [3, 7, 5],
  )
})

t.test('a small ring needs no worker', async t => {
  const builder = createRingBuilder(() => {
    throw new Error('started')
  })
  const { full, owners } = await builder.build(claims(3), 251, nobody)
  t.ok(sameSlots(owners, full.owners))
  t.ok(sameSlots(await builder.refill(full, nobody), owners))
})

t.test('what the worker refuses is refused with the same code', async t => {
  const builder = createRingBuilder()
  t.teardown(() => builder.close())
  await t.rejects(builder.build(claims(2), 200000, nobody), { code: 'ERR_RING_SIZE' })
  const twice = [...claims(2), ...claims(2)]
  await t.rejects(builder.build(twice, LARGE, nobody), { code: 'ERR_CONFLICT' })
})

t.test('a worker that dies is replaced, and its ring built by the next', async t => {
  let started = 0
  const builder = createRingBuilder(() => (started++ === 0 ? brokenWorker() : startRingWorker()))
  t.teardown(() => builder.close())
  const { owners } = await builder.build(claims(3), LARGE, nobody)
  t.equal(owners.length, LARGE)
  t.equal(started, 2)
})

t.test('a ring that kills two workers is given up, the others go on', async t => {
  let started = 0
  const builder = createRingBuilder(() => (started++ < 2 ? brokenWorker() : startRingWorker()))
  t.teardown(() => builder.close())
  const first = builder.build(claims(3), LARGE, nobody)
  const second = builder.build(claims(4), LARGE, nobody)
  await t.rejects(first, { code: 'ERR_INTERNAL' })
  t.equal((await second).full.counts.length, 4)
})

t.test('a worker that cannot be started fails its rings, not the process', async t => {
  const builder = createRingBuilder(() => {
    throw new Error('no threads left')
  })
  await t.rejects(builder.build(claims(3), LARGE, nobody), { code: 'ERR_INTERNAL' })
})

t.test('only so many rings may wait', async t => {
  const builder = createRingBuilder(brokenWorker)
  const waiting = Array.from({ length: 1024 }, () =>
    builder.build([], LARGE, nobody).catch(error => error.code),
  )
  await t.rejects(builder.build([], LARGE, nobody), { code: 'ERR_LIMIT' })
  await builder.close()
  t.same(new Set(await Promise.all(waiting)), new Set(['ERR_INTERNAL']), 'closing ends the waiting')
})
