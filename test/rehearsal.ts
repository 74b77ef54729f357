import t from 'tap'
import { rehearse } from '../src/rehearsal.js'

t.test('a rehearsal comes to an end, on a machine of any speed', async t => {
  for (const stepMs of [0, 1, 30, 1000]) {
    let nowMs = 0
    let asked = 0
    rehearse(() => {
      asked++
      nowMs += stepMs
      return nowMs
    })
    t.ok(asked <= 62, `${asked} looks at a clock that steps ${stepMs} ms`)
    t.ok(stepMs === 0 || nowMs <= 100 + 2 * stepMs, 'and none after its time')
  }
})
