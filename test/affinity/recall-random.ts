/** The compiled data plane against the rules once more (test/model/recall.ts): any bucket, any slot, any packet. */
import t from 'tap'
import { skip } from '../fixtures/native.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { compareRecall } from './fixtures/recall-compare.js'
import { openWorld } from './fixtures/world.js'

const seed = chosenSeed(20_261_121)
const CASES = 12_000

t.test('any packet, in any slot, over any bucket, goes and is stored as the rules say', { skip }, async t => {
  const world = await openWorld(t)
  t.same(compareRecall(world, seededRandom(seed), CASES, 3), [], `LINIMO_SEED=${seed}`)
})
