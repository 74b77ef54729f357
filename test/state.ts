import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Known } from '../src/health/monitor.js'
import type { Log } from '../src/log.js'
import { openHealthFile } from '../src/state.js'

const setUp = (t: Test) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'linimo-state-'))
  t.teardown(() => rmSync(stateDir, { recursive: true }))
  const warnings: string[] = []
  const log: Log = {
    debug: () => {},
    info: () => {},
    error: () => {},
    warn: (_, message) => warnings.push(message),
  }
  const known = new Map<string, Known>()
  const open = (now: number, directory = stateDir) =>
    openHealthFile({ stateDir: directory, known: () => known, log, now: () => now })
  return { stateDir, path: join(stateDir, 'health'), warnings, known, open }
}

const up: Known = { judgement: { health: 'up', against: 1, reason: null }, ageMs: 100 }
const down: Known = { judgement: { health: 'down', against: 0, reason: 'refused' }, ageMs: 2000 }

t.test('health is found again with its age; what was not known is left out', async t => {
  const { known, open, warnings } = setUp(t)
  t.equal(open(0).restored.size, 0)
  known
    .set('a', up)
    .set('b', down)
    .set('c', { judgement: { ...up.judgement, health: 'unknown' }, ageMs: 0 })
  await open(10_000).close()
  t.same(
    [...open(15_000).restored],
    [
      ['a', { judgement: { health: 'up', against: 0, reason: null }, ageMs: 5100 }],
      ['b', { judgement: { health: 'down', against: 0, reason: 'refused' }, ageMs: 7000 }],
    ],
  )
  t.equal(open(0).restored.get('a')?.ageMs, 0, 'a clock that was set back makes no age negative')
  t.same(warnings, [])
})

t.test('a damaged file is named, kept aside, and not used', async t => {
  const { known, open, path, stateDir, warnings } = setUp(t)
  known.set('a', up)
  await open(0).close()
  const whole = readFileSync(path, 'utf8')
  const damaged = [
    whole.slice(0, -5),
    '',
    whole.replace('up', 'ok'),
    whole.replace('linimo-health 1', 'linimo-health 9'),
    `${whole}x`,
  ]
  for (const text of damaged) {
    writeFileSync(path, text)
    const before = warnings.length
    t.equal(open(0).restored.size, 0)
    t.equal(warnings.length, before + 1)
    t.ok(warnings.at(-1)!.includes(path))
    t.equal(readFileSync(`${path}.damaged`, 'utf8'), text)
    t.notOk(readdirSync(stateDir).includes('health'))
  }
})

t.test(
  'a change is written without waiting for the end, and so is one that comes during a write',
  async t => {
    const { known, open, path } = setUp(t)
    const file = open(0)
    t.teardown(() => file.close())
    const isWritten = async (health: string): Promise<boolean> => {
      for (let waited = 0; waited < 20_000; waited += 5) {
        if (existsSync(path) && readFileSync(path, 'utf8').includes(`"health":"${health}"`)) return true
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      return false
    }
    for (const one of [up, down, up]) {
      known.set('a', one)
      file.changed()
      file.changed()
      t.ok(await isWritten(one.judgement.health))
    }
  },
)

t.test('what cannot be written is said once, and again when it had been possible meanwhile', async t => {
  const { known, open, stateDir, warnings } = setUp(t)
  known.set('a', up)
  writeFileSync(join(stateDir, 'file'), '')
  const file = open(0, join(stateDir, 'file'))
  t.equal(warnings.length, 1, 'it cannot be read')
  file.changed()
  await file.close()
  await file.close()
  t.equal(warnings.length, 2)
  t.match(warnings[1], /not kept/)
})
