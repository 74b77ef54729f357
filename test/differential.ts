/** 200,000 random and mutated frames: the data plane and the independent model must agree on every byte. */
import t from 'tap'
import { compare } from './fixtures/compare.js'
import { openDataPlane } from './fixtures/data-plane.js'
import { chosenSeed, seededRandom } from './fixtures/random.js'
import { mixedTables } from './fixtures/tables.js'

const FRAMES = 200_000
/** Each of these must have been put to the test this often. */
const AT_LEAST = 50
const VERDICTS = [
  'PASS_NOT_IP',
  'PASS_NOT_A_SERVICE',
  'PASS_OTHER_HOST',
  'PASS_FRAGMENT',
  'PASS_TRUNCATED',
  'PASS_EXTENSION_HEADERS',
  'PASS_PING',
  'PASS_TUNNEL_ERROR',
  'DROP_TRUNCATED',
  'DROP_NO_BACKEND',
  'DROP_NO_NEXT_HOP',
  'DROP_TOO_BIG',
  'DROP_AGGREGATED',
  'DROP_PING',
  'DROP_TTL_EXPIRED',
  'TX_DR',
  'TX_REJECT_RST',
  'TX_REJECT_UNREACHABLE',
  'TX_TOO_BIG',
  'TX_PING',
  'TX_TUNNEL_ERROR',
  'TX_IPIP',
  'TX_GRE',
  'TX_GUE',
  'TX_NAT',
  'TX_NAT_REPLY',
  'TX_TIME_EXCEEDED',
  'REDIRECT_DR',
  'REDIRECT_IPIP',
  'REDIRECT_GRE',
  'REDIRECT_GUE',
  'REDIRECT_NAT',
  'REDIRECT_NAT_REPLY',
]

t.test('data plane and model agree on random and mutated frames', { timeout: 300_000 }, async t => {
  const seed = chosenSeed(20_240_117)
  t.comment(`LINIMO_SEED=${seed}`)
  const tables = mixedTables()
  const dataPlane = await openDataPlane(tables)
  t.teardown(() => dataPlane.close())

  const { frames, verdicts, differences } = compare(dataPlane, tables, seededRandom(seed), FRAMES)

  for (const found of differences) t.fail(`seed ${seed}: the answers differ`, { ...found })
  t.comment(verdicts)
  if (differences.length > 0) return
  t.equal(frames, FRAMES)
  for (const verdict of VERDICTS)
    t.ok((verdicts[verdict] ?? 0) >= AT_LEAST, `${verdict} was met often enough`)
})
