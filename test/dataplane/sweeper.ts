import t from 'tap'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createSweeper } from '../../src/dataplane/sweeper.js'
import { skip } from '../fixtures/native.js'

const limits = { services: 2, backends: 4, slots: 251, flows: 1024 }

t.test('maps are swept that are the ones that were meant', { skip }, async t => {
  const dataplane = await Dataplane.load(
    shapeFor(limits, '000102030405060708090a0b0c0d0e0f', { tracking: true }),
  )
  const sweeper = createSweeper()
  t.teardown(async () => {
    await sweeper.close()
    await dataplane.close()
  })
  const [flowCache, slots, backends] = [
    dataplane.handle('flow_cache'),
    dataplane.handle('slots'),
    dataplane.handle('backends'),
  ]
  const cache = new BigUint64Array(dataplane.memory('flow_cache'))
  cache[8] = 1n
  const request = { now: 1000, services: [], serviceOf: new Int32Array(4).fill(-1) }
  await t.rejects(
    sweeper.sweep({ ...request, flowCache: { fd: backends.fd, id: flowCache.id }, slots }),
    { code: 'ERR_INTERNAL', message: /is closed/ },
    'a descriptor that was closed, and is another map’s now',
  )
  t.equal(cache[8], 1n)
  t.match(await sweeper.sweep({ ...request, flowCache, slots }), { removed: 1 })
  t.equal(cache[8], 0n)
})
