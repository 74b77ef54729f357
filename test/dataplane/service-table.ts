import fc from 'fast-check'
import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { serviceLayout, serviceState } from '../../src/dataplane/layout.js'
import {
  bucketsFor,
  createServiceTable,
  SERVICE_PROBES,
  type ServiceKey,
  serviceBucket,
} from '../../src/dataplane/service-table.js'

const GRACE_MS = 100
const SEED = 12345

const keyOf = (n: number): ServiceKey => ({
  addr: addressBytes(n % 2 ? `192.0.2.${n % 250}` : `2001:db8:${n.toString(16)}::${n.toString(16)}`),
  port: 1 + (n % 65535),
  protocol: n % 3 ? 6 : 17,
})
const entryOf = (key: ServiceKey, id: number) => ({
  ...key,
  flags: 0,
  idle: 0,
  ringBase: id,
  ringSize: 251,
  hashSeed: 1n,
  hashMask: 2n,
  id,
})

/** The data plane's way of looking: bounded probing that an empty bucket ends. */
const lookUp = (memory: ArrayBuffer, key: ServiceKey): number | null => {
  const bytes = new Uint8Array(memory)
  const buckets = bytes.length / serviceLayout.size
  const home = serviceBucket(key, SEED, buckets - 1)
  for (let probe = 0; probe < SERVICE_PROBES; probe++) {
    const found = serviceLayout.decode(bytes, ((home + probe) % buckets) * serviceLayout.size)
    if (found.state === serviceState.SERVICE_EMPTY) return null
    if (
      found.state === serviceState.SERVICE_USED &&
      found.port === key.port &&
      found.protocol === key.protocol &&
      Buffer.compare(found.addr, key.addr) === 0
    )
      return found.id
  }
  return null
}

t.test('whatever is put and removed, exactly what is there is found', async t => {
  const step = fc.record({ n: fc.nat(40), put: fc.boolean(), wait: fc.nat(60) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), steps => {
      let now = 0
      const memory = new ArrayBuffer(64 * serviceLayout.size)
      const table = createServiceTable(memory, SEED, GRACE_MS, () => now)
      const there = new Map<number, number>()
      steps.forEach(({ n, put, wait }, id) => {
        now += wait
        if (put) {
          if (table.put(entryOf(keyOf(n), id))) there.set(n, id)
        } else {
          table.remove(keyOf(n))
          there.delete(n)
        }
        for (let other = 0; other <= 40; other++)
          if (lookUp(memory, keyOf(other)) !== (there.get(other) ?? null))
            throw new Error(`service ${other} after step ${id}`)
      })
    }),
    { numRuns: 600 },
  )
  t.pass('600 histories')
})

t.test('the bucket of a removed service is left alone for the grace period', async t => {
  let now = 0
  const memory = new ArrayBuffer(SERVICE_PROBES * serviceLayout.size) // every service may lie in every bucket
  const table = createServiceTable(memory, SEED, GRACE_MS, () => now)
  const all = [...Array(SERVICE_PROBES).keys()]
  for (const n of all) t.ok(table.put(entryOf(keyOf(n), n)))
  t.notOk(table.put(entryOf(keyOf(9), 9)), 'no room')
  for (const n of all) table.remove(keyOf(n))
  t.notOk(table.put(entryOf(keyOf(9), 9)), 'nothing is written to a bucket just freed')
  now = GRACE_MS
  t.ok(table.put(entryOf(keyOf(9), 9)))
})

t.test("with an entry for each service's VIP the table is kept under an eighth full", async t => {
  t.equal(bucketsFor(1024), 16384)
  t.equal(bucketsFor(1025), 32768)
  t.equal(bucketsFor(1), 16)
})

t.test('VIPs that differ in their last byte, or in both halves alike, spread over the buckets', async t => {
  const used = new Set<number>()
  for (let n = 1; n < 255; n++)
    used.add(serviceBucket({ addr: addressBytes(`192.0.2.${n}`), port: 80, protocol: 6 }, SEED, 8191))
  for (let n = 1; n < 255; n++)
    used.add(
      serviceBucket(
        { addr: addressBytes(`2001:db8:0:${n.toString(16)}::${n.toString(16)}`), port: 80, protocol: 6 },
        SEED,
        8191,
      ),
    )
  t.ok(used.size > 480, `${used.size} buckets for 508 services`)
})
