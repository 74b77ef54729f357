import t from 'tap'
import { copyFlows, mergeFlows } from '../../src/dataplane/flow-copy.js'
import {
  type Entry,
  type EntryFormat,
  entryWord,
  movedTo,
  ownFormat,
} from '../../src/dataplane/flow-entry.js'
import { slotOfEntry } from '../../src/dataplane/sweep.js'
import { seededRandom } from '../fixtures/random.js'

const { u32 } = seededRandom(11)

interface Flow {
  readonly hash: bigint
  readonly id: number
}

const flow = (): Flow => ({ hash: (BigInt(u32()) << 32n) | BigInt(u32()), id: 1 + (u32() % 1000) })

/** recall() of bpf/recall.h. */
const placeOf = ({ hash }: Flow, bits: number, tail: number): { bucket: number; print: number } => {
  const spread = Math.imul(Number(hash >> 32n), 2654435769) >>> 0
  return {
    bucket: spread >>> (32 - bits),
    print: (((spread << bits) >>> 4) | Number(hash & ((1n << BigInt(tail)) - 1n))) >>> 0,
  }
}
const wordOf = (entry: Entry, format: EntryFormat): bigint =>
  (BigInt(entry.print) << BigInt(format.printShift)) |
  (BigInt(entry.kind) << BigInt(format.kindShift)) |
  (BigInt(entry.seen) << BigInt(format.seenShift)) |
  BigInt(entry.id)

const cache = (bits: number, format = ownFormat): BigUint64Array<ArrayBuffer> =>
  new BigUint64Array(2 ** bits * format.stride)

/** @returns the place; -1: no room */
const remember = (
  into: BigUint64Array,
  one: Flow,
  bits: number,
  tail = bits - 4,
  format = ownFormat,
): number => {
  const { bucket, print } = placeOf(one, bits, tail)
  for (let i = 0; i < format.perBucket; i++) {
    const at = bucket * format.stride + i
    if (into[at] !== 0n) continue
    into[at] = wordOf({ id: one.id, seen: 77, kind: 2, print }, format)
    return at
  }
  return -1
}
const recalled = (from: BigUint64Array, one: Flow, bits: number, tail: number): number => {
  const { bucket, print } = placeOf(one, bits, tail)
  for (let i = 0; i < 8; i++) {
    const word = from[bucket * 8 + i]!
    if (word !== 0n && Number(word >> 36n) === print) return Number(word & 0xfffffn)
  }
  return 0
}

const others: EntryFormat = { perBucket: 8, stride: 16, seenShift: 22, kindShift: 20, printShift: 36 }

t.test('a flow has one place in a cache of any size, and its slot is told from each', async t => {
  const count = 2000
  let [found, told] = [0, 0]
  for (let i = 0; i < count; i++) {
    const [from, to] = [4 + (u32() % 20), 4 + (u32() % 20)]
    const tail = Math.min(from - 4, to - 4)
    const one = flow()
    const { bucket, print } = placeOf(one, from, from - 4)
    const moved = movedTo(bucket, print, from, to, tail)
    const wanted = placeOf(one, to, tail)
    const slot = Number(((one.hash >> 32n) * 65537n) >> 32n)
    if (moved.bucket === wanted.bucket && moved.print === wanted.print) found++
    if (slotOfEntry(moved.bucket, moved.print, to, 65537) === slot) told++
  }
  t.same([found, told], [count, count])
})

t.test('every flow is found again in a cache of another size or format', async t => {
  for (const [from, to, format] of [
    [8, 8, others],
    [8, 12, ownFormat],
    [12, 9, ownFormat],
    [8, 11, others],
  ] as const) {
    const tail = Math.min(from, to) - 4
    const old = cache(from, format)
    const flows = Array.from({ length: 2 ** Math.min(from, to) * 2 }, flow).filter(
      one => remember(old, one, from, from - 4, format) >= 0,
    )
    const next = cache(to)
    const options = { from: { memory: old.buffer, format }, to: next.buffer, tail, isException: () => true }
    const { copied, lost, shadow } = copyFlows(options)
    t.same([copied + lost, lost], [flows.length, 0], `${from} -> ${to} bits`)
    t.equal(flows.filter(one => recalled(next, one, to, tail) !== one.id).length, 0)

    // Meanwhile flows come, go, and find another backend.
    const young = Array.from({ length: 50 }, flow).filter(
      one => remember(old, one, from, from - 4, format) >= 0,
    )
    const places = flows.map(one => {
      const { bucket, print } = placeOf(one, from, from - 4)
      for (let i = 0; i < format.perBucket; i++)
        if (Number(old[bucket * format.stride + i]! >> 36n) === print) return bucket * format.stride + i
      throw new Error('no place')
    })
    const [gone, changed] = [flows.slice(0, 20), flows.slice(20, 40)]
    for (let i = 0; i < 20; i++) old[places[i]!] = 0n
    for (let i = 20; i < 40; i++) old[places[i]!] = (old[places[i]!]! & ~0xfffffn) | 5000n
    mergeFlows(options, shadow)
    t.equal(
      young.filter(one => recalled(next, one, to, tail) !== one.id).length,
      0,
      'those that came are there',
    )
    t.equal(gone.filter(one => recalled(next, one, to, tail) !== 0).length, 0, 'those that went are not')
    t.equal(changed.filter(one => recalled(next, one, to, tail) !== 5000).length, 0)
  }
})

t.test('what the other program has written since is left as it is', async t => {
  const [old, next] = [cache(6), cache(6)]
  const one = flow()
  const at = remember(old, one, 6)
  const options = {
    from: { memory: old.buffer, format: ownFormat },
    to: next.buffer,
    tail: 2,
    isException: () => true,
  }
  const { shadow } = copyFlows(options)
  const stamped = entryWord({ id: one.id, seen: 78, kind: 2, print: placeOf(one, 6, 2).print })
  next[next.findIndex(word => word !== 0n)] = stamped
  old[at] = 0n
  mergeFlows(options, shadow)
  t.equal(recalled(next, one, 6, 2), one.id)
})

t.test('what has become of a flow meanwhile is brought along', async t => {
  const [old, next] = [cache(6), cache(6)]
  const one = flow()
  const at = remember(old, one, 6)
  const { print } = placeOf(one, 6, 2)
  old[at] = entryWord({ id: one.id, seen: 77, kind: 1, print })
  const options = {
    from: { memory: old.buffer, format: ownFormat },
    to: next.buffer,
    tail: 2,
    isException: () => true,
  }
  const { shadow } = copyFlows(options)
  const open = entryWord({ id: one.id, seen: 77, kind: 2, print })
  old[at] = open
  mergeFlows(options, shadow)
  t.same(
    next.filter(word => word !== 0n),
    BigUint64Array.of(open),
    'a handshake that has come to its end is no handshake any more',
  )
})

t.test('a smaller cache gives room to exceptions first, and says when they do not fit', async t => {
  const old = cache(8)
  const flows = Array.from({ length: 1500 }, flow).filter(one => remember(old, one, 8) >= 0)
  const next = cache(6)
  const rest = { from: { memory: old.buffer, format: ownFormat }, to: next.buffer, tail: 2 }
  const some = copyFlows({ ...rest, isException: ({ id }) => id % 10 === 0 })
  t.equal(some.lost, 0)
  t.ok(some.copied < flows.length && some.copied > 400, `${some.copied} of ${flows.length}`)
  const exceptions = flows.filter(({ id }) => id % 10 === 0)
  t.equal(exceptions.filter(one => recalled(next, one, 6, 2) === 0).length, 0)
  const all = copyFlows({ ...rest, to: cache(6).buffer, isException: () => true })
  t.equal(all.copied + all.lost, flows.length)
  t.ok(all.lost > 500)
})
