import fc from 'fast-check'
import t from 'tap'
import { ageOf } from '../../src/dataplane/flow-clock.js'
import { G, K, L, slotWord, U } from '../../src/dataplane/slot.js'
import { sweep } from '../../src/dataplane/sweep.js'
import { readTracked } from '../../src/dataplane/tracked-flows.js'
import { CLOSED, entryWord, HALF_OPEN, OPEN, placeOf } from '../affinity/fixtures/entry.js'
import {
  CACHE_BITS,
  DNS_D1,
  FLOW_NOW,
  makeTables,
  NOBODYS,
  RINGS,
  SIX_B1,
  WEB_B1,
  WEB_B2,
} from './fixtures/memory.js'

/** By backend id an index of RINGS, as a sweep gets it. */
const serviceOf = Int32Array.of(-1, 0, 0, 1, 2, -1, -1, -1, -1, -1, -1, -1)

const entry = fc.record({
  hash: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  at: fc.integer({ min: 0, max: 7 }),
  id: fc.constantFrom(WEB_B1, WEB_B2, DNS_D1, SIX_B1, NOBODYS),
  age: fc.oneof(fc.integer({ min: -3, max: 20 }), fc.integer({ min: 220, max: 230 })),
  kind: fc.constantFrom(HALF_OPEN, OPEN, CLOSED),
})

t.test('listed is what the next sweep leaves, whatever is in the cache and the slots', async t => {
  let listed = 0
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 60 }),
      fc.array(fc.tuple(fc.constantFrom(U, G, L, K), fc.constantFrom(WEB_B1, WEB_B2, DNS_D1)), {
        minLength: 7,
        maxLength: 7,
      }),
      (entries, states) => {
        const tables = makeTables(64)
        const cache = new BigUint64Array(tables.flowCache)
        const slots = new BigUint64Array(tables.slots)
        for (let i = 0; i < slots.length; i++) {
          const [state, current] = states[i % states.length]!
          slots[i] = BigInt(slotWord(state, current, 0))
        }
        for (const { hash, at, id, age, kind } of entries) {
          const { bucket, fingerprint } = placeOf(hash, 0x5a5a5a5a, CACHE_BITS)
          cache[bucket * 8 + at] = entryWord({ id, seen: (FLOW_NOW - age) & 0x3fff, kind, fingerprint })
        }
        const memory = {
          flowCache: tables.flowCache,
          slots: tables.slots,
          services: tables.sources.memory('services'),
          backends: tables.sources.memory('backends'),
        }
        const flows = readTracked(memory, FLOW_NOW)
        const found = new Map<number, number>()
        for (let place = 0; place < flows.length; place++) {
          const flow = flows.at(place)
          if (flow === null) continue
          const seen = Number((cache[place]! >> 20n) & 0x3fffn)
          if (flow.idle !== 4 * ageOf(seen, FLOW_NOW) || flow.idle > flow.lifetime) return false
          found.set(place, flow.id)
        }
        const swept = sweep(memory, { now: FLOW_NOW, services: RINGS, serviceOf })
        const left = new Map<number, number>()
        for (const [place, word] of cache.entries()) {
          const id = Number(word & 0xfffffn)
          if (word !== 0n && id !== NOBODYS) left.set(place, id)
        }
        listed += found.size
        t.equal(swept.live, found.size)
        t.same(found, left)
        return true
      },
    ),
    { numRuns: 150 },
  )
  t.ok(listed > 100, `${listed} flows were listed in all`)
})
