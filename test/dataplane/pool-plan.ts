import fc from 'fast-check'
import t from 'tap'
import { addressBytes, addressFamily } from '../../src/address.js'
import { localAddressLayout, poolLayout, prefixLayout } from '../../src/dataplane/layout.js'
import {
  indexBitsFor,
  isSamePlan,
  localOf,
  NAT_POOL,
  noPools,
  numberMap,
  numbersByAddress,
  type PoolPlan,
  planPools,
  retiredOf,
} from '../../src/dataplane/pool-plan.js'
import {
  readPools,
  readSnatPrefixes,
  writePools,
  writeSnatPrefixes,
} from '../../src/dataplane/pool-tables.js'

const ports = { first: 1024, last: 65535 }
const pool = (...addresses: string[]) => ({ addresses, ports })
const plan = (before: PoolPlan, natNumbers: number, ...pools: ReturnType<typeof pool>[]) =>
  planPools(before, { pools, natNumbers }, 4)

t.test('a pool’s addresses of a family follow one another, NAT’s numbers come last', async t => {
  const made = plan(noPools, 2, pool('10.0.0.1', 'fd00::1', '10.0.0.2'), pool('10.0.0.9'))
  t.same(made.numbers, ['10.0.0.1', '10.0.0.2', 'fd00::1', '10.0.0.9', null, null])
  t.same(
    [...made.pools],
    [
      [1, { first: 0, count: 2, firstPort: 1024, ports: 64512, ranges: 4 }],
      [2, { first: 2, count: 1, firstPort: 1024, ports: 64512, ranges: 4 }],
      [3, { first: 3, count: 1, firstPort: 1024, ports: 64512, ranges: 4 }],
      [NAT_POOL, { first: 4, count: 2, firstPort: 0, ports: 65536, ranges: 4 }],
    ],
  )
  t.equal(made.indexes.get('fd00::1'), 1)
  t.equal(made.indexes.get('10.0.0.9'), 3)
})

t.test('few ports are divided among few CPUs', async t => {
  const made = planPools(
    noPools,
    { pools: [{ addresses: ['10.0.0.1'], ports: { first: 1, last: 40 } }], natNumbers: 0 },
    64,
  )
  t.match(made.pools.get(1), { ports: 40, ranges: 2 })
})

t.test('what nobody uses has no place', async t => {
  t.ok(isSamePlan(plan(noPools, 0), noPools))
  const before = plan(noPools, 0, pool('10.0.0.1'))
  t.same(retiredOf(plan(before, 0)), ['10.0.0.1'], 'as long as it may have connections')
  t.same(plan({ ...plan(before, 0), numbers: [null] }, 0).numbers, [])
})

t.test('an address keeps its number while its pool’s numbers follow one another', async t => {
  const before = plan(noPools, 0, pool('10.0.0.1', '10.0.0.2', '10.0.0.3'))
  const fewer = plan(before, 0, pool('10.0.0.2', '10.0.0.3'))
  t.same(fewer.numbers, before.numbers)
  t.match(fewer.pools.get(1), { first: 1, count: 2 })
  t.same(retiredOf(fewer), ['10.0.0.1'])
  const hole = plan(before, 0, pool('10.0.0.1', '10.0.0.3'))
  t.same(hole.numbers, ['10.0.0.1', '10.0.0.3', '10.0.0.2'])
  t.same([...numberMap(before, hole)], [0, 2, 1])
})

const address = fc.integer({ min: 1, max: 12 }).map(n => (n % 3 === 0 ? `fd00::${n}` : `10.0.0.${n}`))
const wish = fc.record({
  lists: fc.array(fc.uniqueArray(address, { maxLength: 5 }), { maxLength: 3 }),
  natNumbers: fc.integer({ min: 0, max: 2 }),
})

t.test('whatever is configured one after the other, no address loses its connections', async t => {
  fc.assert(
    fc.property(fc.array(wish, { minLength: 1, maxLength: 6 }), wishes => {
      let before: PoolPlan = noPools
      for (const { lists, natNumbers } of wishes) {
        const taken = new Set<string>()
        const pools = lists.flatMap(list => {
          const own = list.filter(one => !taken.has(one))
          own.forEach(one => void taken.add(one))
          return own.length > 0 ? [pool(...own)] : []
        })
        const after = planPools(before, { pools, natNumbers }, 4)
        const numbers = numbersByAddress(after)
        for (const one of numbersByAddress(before).keys())
          if (!numbers.has(one)) throw new Error(`${one} is lost`)
        const map = numberMap(before, after)
        before.numbers.forEach((one, number) => {
          if (one !== null && after.numbers[map[number]!] !== one) throw new Error(`${one} went elsewhere`)
        })
        for (const { addresses } of pools)
          for (const one of addresses) {
            const index = after.indexes.get(one)! + (addressFamily(one) === 4 ? 0 : 1)
            const { first, count } = after.pools.get(index)!
            const own = after.numbers.slice(first, first + count)
            if (!own.includes(one)) throw new Error(`${one} is in no pool`)
            if (own.some(other => other === null || !addresses.includes(other)))
              throw new Error('a pool has another one’s address')
          }
        const nat = after.pools.get(NAT_POOL)
        if ((nat?.count ?? 0) !== natNumbers) throw new Error('NAT lacks numbers')
        for (let n = nat?.first ?? 0; nat && n < nat.first + nat.count; n++)
          if (after.numbers[n] !== null) throw new Error('NAT has an address')
        if (!isSamePlan(planPools(after, { pools, natNumbers }, 4), after)) throw new Error('not settled')
        before = after
      }
    }),
    { numRuns: 1000 },
  )
  t.pass('1000 histories')
})

t.test('a plan is read back as it was written', async t => {
  const [pools, addresses] = [
    new ArrayBuffer(128 * poolLayout.size),
    new ArrayBuffer(256 * localAddressLayout.size),
  ]
  const made = plan(noPools, 1, pool('10.0.0.1', 'fd00::1'), pool('fd00::2'))
  writePools(pools, addresses, made)
  const found = readPools(pools, addresses, made.numbers.length)
  t.ok(
    isSamePlan(
      planPools(found, { pools: [pool('10.0.0.1', 'fd00::1'), pool('fd00::2')], natNumbers: 1 }, 4),
      made,
    ),
  )
  t.same([...found.indexes], [...made.indexes])

  const prefixes = new ArrayBuffer(16 * prefixLayout.size)
  writeSnatPrefixes(prefixes, ['10.2.0.0/24', '2001:db8::/33', '0.0.0.0/0'])
  t.same(readSnatPrefixes(prefixes, 3), ['10.2.0.0/24', '2001:db8::/33', '0.0.0.0/0'])
})

t.test('what the local addresses have in common tells them from most others', async t => {
  const matches = (made: PoolPlan, other: string): boolean => {
    const { localNet, localMask } = localOf(made)
    const halves = [...new BigUint64Array(addressBytes(other).slice().buffer)]
    const at = addressFamily(other) === 4 ? 0 : 2
    return halves.every((half, i) => (half & localMask[at + i]!) === localNet[at + i]!)
  }
  const made = plan(noPools, 0, pool('10.1.0.0', '10.1.0.1', '10.1.0.2', '10.1.0.3', 'fd00::1'))
  for (const own of ['10.1.0.0', '10.1.0.3', 'fd00::1']) t.ok(matches(made, own), own)
  for (const other of ['10.1.0.4', '192.0.2.1', 'fd00::2', '::']) t.notOk(matches(made, other), other)
  t.notOk(matches(plan(noPools, 0, pool('10.1.0.1')), 'fd00::1'), 'of a family without any')
  t.notOk(matches(noPools, '10.1.0.1'))
})

t.test('the index has two places for each connection that there is room for', async t => {
  t.equal(indexBitsFor(noPools), 4)
  t.equal(2 ** indexBitsFor(plan(noPools, 0, pool('10.0.0.1'))), 65536 / 4)
  t.equal(2 ** indexBitsFor(plan(noPools, 1)), 65536 / 2, 'NAT by flow: one for each direction')
})
