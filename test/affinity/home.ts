/** How many flows a backend has left: "at least" for as long as some may rest unknown. */
import t from 'tap'
import { createTables } from '../../src/dataplane/tables.js'
import { skip } from '../fixtures/native.js'
import { loadSmall, WEB, webInTurn } from '../fixtures/web.js'

const [A, B] = ['10.0.0.1:80', '10.0.0.2:80']

t.test('the count is exact when no slot in grace or learning has the backend as home', { skip }, async t => {
  const dataplane = await loadSmall()
  t.teardown(() => dataplane.close())
  let now = 0
  const tables = createTables(dataplane, {
    now: () => now,
    sweep: async () => ({
      flows: Uint32Array.of(0, 7, 3, 0, 0, 0, 0, 0),
      live: 10,
      removed: 0,
      exceptions: new Uint32Array(0),
    }),
  })
  const both = webInTurn([1, 2])
  await tables.put([both])
  t.same(tables.flows(WEB, A), { live: 0, isExact: true, sweepBeganMs: Number.NEGATIVE_INFINITY })

  await tables.put([{ ...both, owners: both.owners.map(() => 1) }])
  await tables.sweep()
  t.same(tables.flows(WEB, A), { live: 7, isExact: false, sweepBeganMs: 0 })
  t.same(tables.flows(WEB, B), { live: 3, isExact: true, sweepBeganMs: 0 })

  now += 5000
  await tables.tick()
  t.match(tables.flows(WEB, A), { isExact: false }, 'learning')
  now += 900_000
  await tables.tick()
  t.match(tables.flows(WEB, A), { isExact: true }, 'keeping: all that there are have entries')
})
