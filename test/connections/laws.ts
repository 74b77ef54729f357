/**
 * Connections against a model of them, over random histories of clients, backends and clock. LINIMO_SEED gives another
 * history, LINIMO_PACKETS a longer one.
 */
import t from 'tap'
import { connectionTables } from '../fixtures/connection-tables.js'
import { skip } from '../fixtures/native.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { playHistory } from './fixtures/history.js'
import { openSite } from './fixtures/site.js'

const seed = chosenSeed(20_261_122)
const PACKETS = Number(process.env.LINIMO_PACKETS ?? 60_000)

t.comment(`LINIMO_SEED=${seed}`)

t.test('no history breaks a law', { skip, timeout: 280_000 }, async t => {
  const tables = connectionTables({ isCrossed: true })
  const site = await openSite(t, tables)
  const { counts, broken, packets } = playHistory(site, tables, seededRandom(seed), PACKETS)
  t.comment(JSON.stringify(Object.fromEntries([...counts].sort())))
  t.same(broken, [], `LINIMO_SEED=${seed}`)
  if (broken.length > 0) return
  t.ok(packets >= PACKETS)
  for (const what of [
    'TX_FULLNAT',
    'TX_FULLNAT_REPLY',
    'TX_SNAT',
    'TX_SNAT_REPLY',
    'TX_NAT',
    'TX_NAT_REPLY',
    'TX_EXHAUSTED',
    'DROP_EXHAUSTED',
    'TX_NO_CONNECTION',
    'DROP_NO_CONNECTION',
    'opened',
    'refused',
    'unknown',
    'stray',
    'taken by another service',
  ])
    t.ok((counts.get(what) ?? 0) >= 20, `${what} was met often enough`)
})
