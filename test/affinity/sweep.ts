import fc from 'fast-check'
import t from 'tap'
import { currentOf, G, K, L, slotWord, U } from '../../src/dataplane/slot.js'
import {
  nothingFound,
  type SweepRequest,
  type SweptService,
  slotOfEntry,
  sweep,
  sweepSlice,
} from '../../src/dataplane/sweep.js'
import { CLOSED, type Entry, entryWord, HALF_OPEN, OPEN, placeOf } from './fixtures/entry.js'

const BITS = 4
const IDLE = 225
const [WEB, DNS] = [0, 1]
/** Backends 1 to 3 are web's, 4 and 5 are dns's; 6 is nobody's. */
const serviceOf = Int32Array.of(-1, WEB, WEB, WEB, DNS, DNS, -1)
const services: readonly SweptService[] = [
  { id: 7, base: 300, size: 251, idle: IDLE },
  { id: 9, base: 1000, size: 509, idle: 15 },
]
const request = (now: number): SweepRequest => ({ now, services, serviceOf })

/** A cache of 2^BITS buckets, and slots of one state. */
const memoryOf = (state: number, current: number) => {
  const flowCache = new SharedArrayBuffer(2 ** BITS * 64) as unknown as ArrayBuffer
  const slots = new ArrayBuffer(2000 * 8)
  new BigUint64Array(slots).fill(BigInt(slotWord(state, current, 0)))
  return { flowCache, slots }
}

interface Stored extends Partial<Entry> {
  /** The upper half of the flow's hash. */
  readonly hash?: number
}

const store = (
  memory: { readonly flowCache: ArrayBuffer },
  at: number,
  { hash = 0x12345678, ...entry }: Stored,
) => {
  const { bucket, fingerprint } = placeOf(hash, 0x5a5a5a5a, BITS)
  const word = entryWord({ id: 1, seen: 1000, kind: OPEN, fingerprint, ...entry })
  new BigUint64Array(memory.flowCache)[bucket * 8 + at] = word
  return bucket * 8 + at
}

const isThere = (memory: { readonly flowCache: ArrayBuffer }, place: number): boolean =>
  new BigUint64Array(memory.flowCache)[place] !== 0n

/** Whether an entry outlives a sweep of a slot in the given state. */
const outlives = (entry: Stored, { state = L as number, current = 2, now = 1000 } = {}): boolean => {
  const memory = memoryOf(state, current)
  const place = store(memory, 3, entry)
  const { live, removed } = sweep(memory, request(now))
  const stays = isThere(memory, place)
  if (live !== (stays ? 1 : 0) || removed !== (stays ? 0 : 1))
    throw new Error(`counted ${live} and ${removed}`)
  return stays
}

t.test('an entry tells its slot, in a cache of any size', async t => {
  const u32 = fc.nat(2 ** 32 - 1)
  fc.assert(
    fc.property(
      fc.integer({ min: 4, max: 28 }),
      u32,
      u32,
      fc.constantFrom(251, 509, 4099, 65537, 655373),
      (bits, high, low, size) => {
        const { bucket, fingerprint } = placeOf(high, low, bits)
        const slot = Number((BigInt(high) * BigInt(size)) >> 32n)
        return slotOfEntry(bucket, fingerprint, bits, size) === slot
      },
    ),
    { numRuns: 2000 },
  )
  t.pass()
})

t.test('an open entry lives for the idle time of its own service', async t => {
  t.ok(outlives({ seen: 1000 }, { now: 1000 + IDLE }))
  t.notOk(outlives({ seen: 1000 }, { now: 1000 + IDLE + 1 }))
  t.ok(outlives({ id: 4, seen: 1000 }, { now: 1015 }))
  t.notOk(outlives({ id: 4, seen: 1000 }, { now: 1016 }))
})

t.test('a half-open or closed entry lives for a minute', async t => {
  for (const kind of [HALF_OPEN, CLOSED]) {
    t.ok(outlives({ kind, seen: 1000 }, { now: 1015 }))
    t.notOk(outlives({ kind, seen: 1000 }, { now: 1016 }))
  }
})

t.test('an entry stamped after the sweep read its clock is of now', async t => {
  t.ok(outlives({ seen: 1010 }, { now: 1000 }))
  t.ok(outlives({ seen: 3 }, { now: 2 ** 14 - 1 }), 'across the wrap')
  t.notOk(outlives({ seen: 3 }, { now: 2 ** 13 }))
})

t.test('untracked slots have no entries, keeping ones only exceptions', async t => {
  t.notOk(outlives({ id: 1 }, { state: U, current: 2 }))
  t.notOk(outlives({ id: 2 }, { state: U, current: 2 }))
  t.notOk(outlives({ id: 2 }, { state: K, current: 2 }))
  t.ok(outlives({ id: 1 }, { state: K, current: 2 }))
  for (const state of [G, L]) for (const id of [1, 2]) t.ok(outlives({ id }, { state, current: 2 }))
})

t.test('an entry of a backend that is no more goes, and is counted first', async t => {
  const memory = memoryOf(L, 1)
  const place = store(memory, 0, { id: 6, seen: 1000 })
  const found = sweep(memory, request(1001))
  t.notOk(isThere(memory, place))
  t.equal(found.flows[6], 1)
  t.equal(found.live, 0)
})

t.test('an entry of a backend that came after the sweep began stays', async t => {
  for (const seen of [1000, 1001]) {
    const memory = memoryOf(L, 1)
    const place = store(memory, 0, { id: 6, seen })
    const { flows, removed } = sweep(memory, request(1000))
    t.ok(isThere(memory, place))
    t.same([flows[6], removed], [1, 0], 'and its id is in use')
  }
})

t.test('an id beyond the table is removed too', async t => {
  t.notOk(outlives({ id: 2 ** 20 - 1, seen: 999 }))
})

t.test('flows are counted by backend, exceptions by slot', async t => {
  const memory = memoryOf(K, 2)
  const hashes = [0, 0x10000000, 0x20000000, 0x20000001]
  for (const [i, hash] of hashes.entries()) store(memory, i, { hash, id: i < 2 ? 1 : 3 })
  store(memory, 7, { hash: 0x30000000, id: 2 })
  const { flows, exceptions, live, removed } = sweep(memory, request(1000))
  t.same([...flows], [0, 2, 0, 2, 0, 0, 0])
  t.same(
    [...exceptions].sort(),
    [...new Set(hashes.map(hash => 300 + Math.floor((hash * 251) / 2 ** 32)))].sort(),
  )
  t.same([live, removed], [4, 1])
})

t.test("an entry's slot is that of its own service", async t => {
  const memory = memoryOf(U, 0)
  const slots = new BigUint64Array(memory.slots)
  const hash = 0x9abcdef0
  slots[1000 + Math.floor((hash * 509) / 2 ** 32)] = BigInt(slotWord(K, 5, 0))
  const [web, dns] = [store(memory, 0, { hash, id: 1 }), store(memory, 1, { hash, id: 4 })]
  const { exceptions } = sweep(memory, request(1000))
  t.notOk(isThere(memory, web))
  t.ok(isThere(memory, dns))
  t.equal(exceptions.length, 1)
  t.equal(currentOf(Number(slots[exceptions[0]!]!)), 5)
})

t.test('an entry that is stamped anew while the sweep looks at it stays, and counts as live', async t => {
  const memory = memoryOf(L, 2)
  const place = store(memory, 0, { seen: 1000 })
  const whole = new BigUint64Array(memory.flowCache)
  const fresh = whole[place]! + (300n << 20n)
  const { compareExchange } = Atomics
  t.teardown(() => {
    Atomics.compareExchange = compareExchange
  })
  // The data plane's store falls between the sweep's load and its compare-exchange.
  Atomics.compareExchange = ((array: BigUint64Array, at: number, expected: bigint, next: bigint) => {
    whole[place] = fresh
    return compareExchange(array, at, expected, next)
  }) as typeof Atomics.compareExchange
  const { live, removed, flows } = sweep(memory, request(1300))
  t.equal(whole[place], fresh)
  t.same([live, removed, flows[1]], [1, 0, 1])
})

t.test('slices find together what a whole sweep finds', async t => {
  const seeds = fc.array(
    fc.record({ hash: fc.nat(2 ** 32 - 1), id: fc.integer({ min: 1, max: 6 }), at: fc.nat(7) }),
    {
      maxLength: 60,
    },
  )
  fc.assert(
    fc.property(seeds, fc.integer({ min: 1, max: 128 }), fc.constantFrom(L, K), (entries, width, state) => {
      const [one, other] = [memoryOf(state, 2), memoryOf(state, 2)]
      for (const { hash, id, at } of entries)
        for (const memory of [one, other]) store(memory, at, { hash, id })
      const whole = sweep(one, request(1100))
      const found = nothingFound(serviceOf.length)
      for (let from = 0; from < 128; from += width)
        sweepSlice(other, request(1100), from, Math.min(128, from + width), found)
      return (
        Buffer.compare(Buffer.from(one.flowCache), Buffer.from(other.flowCache)) === 0 &&
        [...whole.flows].join() === [...found.flows].join() &&
        whole.live === found.live &&
        whole.removed === found.removed &&
        [...whole.exceptions].sort().join() === [...found.exceptions].sort().join()
      )
    }),
  )
  t.pass()
})
