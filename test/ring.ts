import fc from 'fast-check'
import t from 'tap'
import { identityBytes } from '../src/ring/permutation.js'
import { nearestRingSizes } from '../src/ring/size.js'
import {
  buildRing,
  type Claim,
  countSlots,
  DEFAULT_RING_SIZE,
  expectedShares,
  isPrime,
  isRingSize,
  permutation,
  refillRing,
  ringDigest,
} from '../src/ring.js'
import { nobody, someClaims } from './fixtures/ring.js'

const SIZE = 4093

const weights = (min: number) => fc.array(fc.integer({ min, max: 1000 }), { minLength: 1, maxLength: 30 })
const downSets = fc.array(fc.boolean(), { minLength: 30, maxLength: 30 })
const claimsOf = (weights: readonly number[], seed = 1) =>
  someClaims(weights.length, seed, index => weights[index]!)
const slotsOf = (claims: readonly Claim[], owners: Int32Array) =>
  Array.from(owners, owner => claims[owner]?.identity ?? null).join()

t.test('a permutation follows from SHA-256 of 16 bytes of address and 2 of port', async t => {
  t.equal(identityBytes('10.0.0.11', 80).toString('hex'), '00000000000000000000ffff0a00000b0050')
  t.equal(identityBytes('2001:db8::1', 443).toString('hex'), '20010db800000000000000000000000101bb')
  // printf '00000000000000000000ffff0a00000b0050' | xxd -r -p | sha256sum
  const digest = 'c4b609373cee6f947e98c5f9d95d70cab58bbe59b4b7889f69f35396c3d58b35'
  const u64 = (at: number) => BigInt(`0x${digest.slice(at * 2, at * 2 + 16)}`)
  for (const size of [251, 65537, 655373]) {
    const expected = {
      offset: Number(u64(0) % BigInt(size)),
      skip: Number(u64(8) % BigInt(size - 1)) + 1,
    }
    t.same(permutation('10.0.0.11:80', size), expected)
    t.same(permutation(identityBytes('10.0.0.11', 80), size), expected)
  }
  t.same(permutation('[2001:db8::1]:443', 251), permutation(identityBytes('2001:db8::1', 443), 251))
})

t.test('equal weights: two backends differ by one slot at most', async t => {
  for (const count of [1, 2, 3, 10, 97, 1000]) {
    const { counts } = buildRing(someClaims(count), DEFAULT_RING_SIZE)
    t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${count} backends`)
  }
})

t.test('equal weights: two survivors differ by one slot at most, too', async t => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 30 }), downSets, (count, down) => {
      const full = buildRing(someClaims(count), SIZE)
      const counts = countSlots(
        refillRing(full, (_, index) => down[index]!),
        count,
      ).filter((_, i) => !down[i])
      return counts.length === 0 || Math.max(...counts) - Math.min(...counts) <= 1
    }),
  )
  t.pass()
})

t.test('weighted: each backend has its exact share within two slots', async t => {
  fc.assert(
    fc.property(weights(1), fc.nat(255), fc.constantFrom(SIZE, DEFAULT_RING_SIZE), (weights, seed, size) => {
      const claims = claimsOf(weights, seed)
      const { counts } = buildRing(claims, size)
      return expectedShares(claims, nobody).every((share, i) => Math.abs(counts[i]! - share * size) <= 2)
    }),
    { numRuns: 60 },
  )
  t.pass()
})

t.test('weighted: a thousand backends have their exact shares within two slots', async t => {
  const claims = someClaims(1000, 3, index => 1 + ((index * 7919) % 1000))
  const { counts } = buildRing(claims, DEFAULT_RING_SIZE)
  const errors = expectedShares(claims, nobody).map((share, i) =>
    Math.abs(counts[i]! - share * DEFAULT_RING_SIZE),
  )
  t.ok(Math.max(...errors) <= 2)
})

t.test('the order in which backends are listed changes nothing', async t => {
  const shuffled = weights(1).chain(weights =>
    fc.tuple(
      fc.constant(weights),
      fc.shuffledSubarray([...weights.keys()], { minLength: weights.length }),
      downSets,
    ),
  )
  fc.assert(
    fc.property(shuffled, ([weights, order, down]) => {
      const claims = claimsOf(weights).map((claim, index) => ({ ...claim, down: down[index]! }))
      const listed = order.map(index => claims[index]!)
      const a = refillRing(buildRing(claims, SIZE), ({ down }) => down)
      const b = refillRing(buildRing(listed, SIZE), ({ down }) => down)
      return slotsOf(claims, a) === slotsOf(listed, b) && ringDigest(claims, a) === ringDigest(listed, b)
    }),
  )
  t.pass()
})

t.test('no survivor leaves a slot of the full ring, and those that are down have none', async t => {
  fc.assert(
    fc.property(weights(0), downSets, (weights, down) => {
      const full = buildRing(claimsOf(weights), SIZE)
      const isDown = (index: number) => down[index]! || weights[index] === 0
      const owners = refillRing(full, (_, index) => down[index]!)
      if (weights.every((_, index) => isDown(index))) return owners.every(owner => owner === -1)
      return owners.every((owner, slot) => {
        const home = full.owners[slot]!
        return isDown(home) ? owner >= 0 && !isDown(owner) : owner === home
      })
    }),
  )
  t.pass()
})

t.test('a backend that comes back finds its slots, whatever happened between', async t => {
  const full = buildRing(
    someClaims(20, 5, index => 1 + (index % 4)),
    SIZE,
  )
  const down = new Set<number>()
  const now = () => refillRing(full, (_, index) => down.has(index))
  down.add(3)
  const one = now()
  down.add(7)
  down.add(0)
  const three = now()
  down.delete(3)
  down.delete(7)
  down.delete(0)
  t.same(now(), full.owners)
  for (const index of [0, 7, 3]) down.add(index)
  t.same(now(), three, 'in another order of failures, the same ring')
  down.delete(0)
  down.delete(7)
  t.same(now(), one)
})

t.test('all down, or nobody there: nobody owns a slot', async t => {
  t.ok(refillRing(buildRing(someClaims(3), 251), () => true).every(owner => owner === -1))
  const empty = buildRing([], 251)
  t.ok(empty.owners.every(owner => owner === -1))
  t.ok(refillRing(empty, nobody).every(owner => owner === -1))
})

t.test('weight 0 counts as 1 in the full ring, and as down: from 1 and back is undone exactly', async t => {
  const ones = someClaims(9)
  const drained = someClaims(9, 0, index => (index === 4 ? 0 : 1))
  const full = buildRing(ones, SIZE)
  t.same(buildRing(drained, SIZE).owners, full.owners)
  t.same(
    refillRing(buildRing(drained, SIZE), nobody),
    refillRing(full, (_, index) => index === 4),
  )
  t.same(refillRing(buildRing(ones, SIZE), nobody), full.owners)
})

t.test('shares are by weight among those that are up', async t => {
  const claims = someClaims(4, 0, index => [2, 1, 0, 5][index]!)
  t.same(
    expectedShares(claims, (_, index) => index === 3),
    [2 / 3, 1 / 3, 0, 0],
  )
  t.same(
    expectedShares(claims, () => true),
    [0, 0, 0, 0],
  )
})

t.test('a digest tells rings apart by their size, backends, weights and who is down', async t => {
  const digest = (claims: readonly Claim[], size: number, down = -1) =>
    ringDigest(
      claims,
      refillRing(buildRing(claims, size), (_, index) => index === down),
    )
  const claims = someClaims(5)
  const digests = [
    digest(claims, 251),
    digest(claims, 257),
    digest(claims, 251, 2),
    digest(claims.slice(1), 251),
    digest(someClaims(5, 1), 251),
    digest(
      someClaims(5, 0, index => 1 + index),
      251,
    ),
    digest([], 251),
  ]
  t.equal(new Set(digests).size, digests.length)
  for (const one of digests) t.match(one, /^[0-9a-f]{16}$/)
  t.equal(digest([...claims].reverse(), 251), digests[0])
})

t.test('only primes from 251 to 655373 are sizes of rings', async t => {
  for (const size of [251, 257, 65537, 655373]) t.ok(isRingSize(size), `${size}`)
  for (const size of [0, 7, 250, 252, 65536, 655372, 655379, Number.NaN, 251.5, -251])
    t.notOk(isRingSize(size), `${size}`)
  t.same(Array.from({ length: 30 }, (_, n) => n).filter(isPrime), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])
  t.same(nearestRingSizes(65536), [65521, 65537])
  t.same(nearestRingSizes(1), [251])
  t.same(nearestRingSizes(1e12), [655373])
  t.throws(() => buildRing(someClaims(1), 65536), { code: 'ERR_RING_SIZE' })
  t.throws(() => buildRing(someClaims(300), 251), { code: 'ERR_RING_SIZE' })
})

t.test('two claims of one identity are refused', async t => {
  t.throws(() => buildRing([...someClaims(3), ...someClaims(1)], 251), { code: 'ERR_CONFLICT' })
})

t.test(
  'a ring built after another of whatever size, claims and weights is the same as one built alone',
  async t => {
    const counts = fc.integer({ min: 1, max: 30 })
    const sizes = fc.constantFrom(251, 257)
    fc.assert(
      fc.property(weights(1), counts, sizes, fc.nat(1), (some, count, size, seed) => {
        const before = buildRing(someClaims(count, seed), size)
        const alone = buildRing(claimsOf(some), 251)
        const after = buildRing(claimsOf(some), 251, before)
        return alone.owners.join() === after.owners.join() && alone.order.join() === after.order.join()
      }),
    )
    t.pass()
  },
)
