import t from 'tap'
import type { Known } from '../../src/health/monitor.js'
import { restoredHealth } from '../../src/health/restored.js'

const known = (health: 'up' | 'down'): Known => ({
  judgement: { health, against: 0, reason: health === 'up' ? null : 'refused' },
  ageMs: 5000,
})

t.test('what was in effect counts, where the file says otherwise', async t => {
  const kept = new Map([
    ['web late', known('up')],
    ['web back', known('down')],
    ['web up', known('up')],
    ['web down', known('down')],
    ['web new', known('down')],
  ])
  const inTables: Readonly<Record<string, boolean>> = {
    'web late': true,
    'web back': false,
    'web up': false,
    'web down': true,
  }
  const restored = restoredHealth(kept, key => inTables[key] ?? null)
  t.same(
    [...restored].map(([key, { judgement }]) => [key, judgement.health, judgement.reason]),
    [
      ['web late', 'down', 'out when the last process ended'],
      ['web back', 'up', null],
      ['web up', 'up', null],
      ['web down', 'down', 'refused'],
      ['web new', 'down', 'refused'],
    ],
  )
  t.equal(restored.get('web late')?.ageMs, 5000)
})
