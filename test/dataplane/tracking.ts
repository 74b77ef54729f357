import t from 'tap'
import type { Held } from '../../src/dataplane/held.js'
import { createTracking } from '../../src/dataplane/tracking.js'
import { RING, web } from '../fixtures/web.js'

/** One service whose ring is as the test says; the data plane's maps are another's when `move` was called. */
const openHeld = (ring: object) => {
  let cache = new ArrayBuffer(64)
  const slots = { base: 0, size: RING, ...ring }
  const held = {
    services: new Map([['web', { id: 0, slots, wanted: web({ owner: 0 }), entry: null }]]),
    backends: { ofService: () => new Map() },
    dataplane: { shape: { tracking: true, backends: 8 }, memory: () => cache },
    isMoving: false,
    now: () => 0,
  }
  return {
    held: held as unknown as Held,
    move: () => {
      cache = new ArrayBuffer(64)
    },
  }
}

t.test('a tick that fails says so, and the next one is none the worse', async t => {
  let ticks = 0
  const { held } = openHeld({
    isDue: () => true,
    tick: () => {
      if (++ticks === 1) throw new Error('the first one')
      return 0
    },
  })
  const tracking = createTracking(held, {})
  await t.rejects(tracking.tick(), /the first one/)
  await tracking.tick()
  t.equal(ticks, 2)
})

t.test('a sweep that fails since its maps have gone is no failure', async t => {
  const { held, move } = openHeld({})
  let isMoved = false
  const tracking = createTracking(held, {
    sweep: async () => {
      if (isMoved) move()
      throw new Error('closed')
    },
  })
  await t.rejects(tracking.sweep(), /closed/)
  isMoved = true
  await tracking.sweep()
})
