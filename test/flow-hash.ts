import t from 'tap'
import { hashKeys, hashMask, hashSeed } from '../src/flow-hash.js'
import type { Service } from '../src/model.js'

const MASK_64 = 0xffff_ffff_ffff_ffffn
const SEED = '000102030405060708090a0b0c0d0e0f'
const service = (port: number): Service => ({ vip: '192.0.2.10', port, protocol: 'tcp' }) as Service

/** bpf/ring.h's hash of an IPv4 flow; addresses and ports as the bytes lie in memory. */
const slotOf = (
  source: number,
  ports: number,
  keys: readonly bigint[],
  seed: bigint,
  size: number,
): number => {
  let word = BigInt(source >>> 0) | (BigInt(ports >>> 0) << 32n)
  word = ((word ^ seed) * keys[0]!) & MASK_64
  word ^= word >> 32n
  word = (word * keys[1]!) & MASK_64
  word ^= word >> 29n
  return Number(((word >> 32n) * BigInt(size)) >> 32n)
}

const wire16 = (port: number): number => ((port & 0xff) << 8) | (port >> 8)
const wire32 = (address: number): number => Buffer.from(Uint32Array.of(address).buffer).readUInt32BE()

/** Chi-square of how flows fall on `size` slots; its mean is size - 1, its deviation sqrt(2 (size - 1)). */
const chiSquare = (flows: Iterable<readonly [source: number, ports: number]>, size: number): number => {
  const keys = hashKeys(SEED)
  const seed = hashSeed(SEED, service(80))
  const counts = new Uint32Array(size)
  let n = 0
  for (const [source, ports] of flows) {
    counts[slotOf(source, ports, keys, seed, size)]!++
    n++
  }
  const expected = n / size
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
}

const FLOWS = 40_000
const SIZE = 251
const ports = (source: number, destination: number): number => wire16(source) | (wire16(destination) << 16)

const sets: Record<string, () => Iterable<readonly [number, number]>> = {
  'one client, one port after another': function* () {
    for (let i = 0; i < FLOWS; i++) yield [wire32(0xc6336407), ports(1024 + i, 80)]
  },
  'one client address after another, one port': function* () {
    for (let i = 0; i < FLOWS; i++) yield [wire32(0x0a000000 + i), ports(40000, 80)]
  },
  'networks that differ in their upper bytes only': function* () {
    for (let i = 0; i < FLOWS; i++) yield [wire32((i << 16) >>> 0), ports(40000, 80)]
  },
  'addresses and ports that step together': function* () {
    for (let i = 0; i < FLOWS; i++) yield [wire32(0x0a000000 + i * 256), ports(1024 + (i % 60000), 80)]
  },
  'even ports only, few clients': function* () {
    for (let i = 0; i < FLOWS; i++) yield [wire32(0x0a000001 + (i % 7)), ports(32768 + ((i * 2) % 27998), 80)]
  },
  'single bits': function* () {
    for (let a = 0; a < 32; a++)
      for (let b = 0; b < 16; b++)
        for (let i = 0; i < 80; i++) yield [(1 << a) ^ wire32(i * 7919), (1 << b) ^ wire16(i * 31)]
  },
}

for (const [name, flows] of Object.entries(sets))
  t.test(`flows spread evenly: ${name}`, async t => {
    const deviations = (chiSquare(flows(), SIZE) - (SIZE - 1)) / Math.sqrt(2 * (SIZE - 1))
    // Structured sets may repeat a flow, or be more even than chance; far too uneven is the defect looked for.
    t.ok(deviations < 8, `${deviations.toFixed(1)} standard deviations`)
  })

t.test('the keys are odd, differ, and follow from the seed', async t => {
  const keys = hashKeys(SEED)
  t.ok(keys.every(key => key % 2n === 1n && key < 2n ** 64n))
  t.equal(new Set(keys).size, 4)
  t.same(hashKeys(SEED), keys)
  t.notSame(hashKeys('0'.repeat(32)), keys)
})

t.test("a service's identity is in its seed", async t => {
  t.not(hashSeed(SEED, service(80)), hashSeed(SEED, service(443)))
})

t.test('the mask covers what the service names', async t => {
  t.equal(hashMask(['source']), 0xffffffffn)
  t.equal(hashMask(['source-port', 'destination']), 0xffffn << 32n)
  t.equal(hashMask(['source', 'source-port', 'destination', 'destination-port']), MASK_64)
})
