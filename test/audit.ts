import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type AuditEntry, auditLine, openAudit } from '../src/audit.js'
import { keepLog, temporaryDirectory } from './control/fixtures/daemon.js'

const entry = (changes: Partial<AuditEntry> = {}): AuditEntry => ({
  peer: { pid: 4242, uid: 1000, gid: 100 },
  method: 'backend.set',
  params: { service: 'web', backend: 'b2', weight: 5 },
  changes: [{ action: 'change', kind: 'backend', name: 'web/b2', detail: 'weight 1 -> 5' }],
  error: null,
  ...changes,
})
const linesOf = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
const wall = () => new Date('2024-05-01T10:00:00Z')

t.test('each request is a line: who, when, what, with what result', async t => {
  const directory = join(temporaryDirectory(t), 'state')
  const audit = openAudit(directory, keepLog(), { wall })
  audit.record(entry())
  audit.record(entry({ error: 'ERR_NOT_FOUND', changes: [] }))
  await audit.flush()
  t.same(linesOf(audit.path), [
    {
      time: '2024-05-01T10:00:00.000Z',
      uid: 1000,
      pid: 4242,
      gid: 100,
      method: 'backend.set',
      params: { service: 'web', backend: 'b2', weight: 5 },
      result: 'ok',
      changes: [{ action: 'change', kind: 'backend', name: 'web/b2', detail: 'weight 1 -> 5' }],
    },
    {
      time: '2024-05-01T10:00:00.000Z',
      uid: 1000,
      pid: 4242,
      gid: 100,
      method: 'backend.set',
      params: { service: 'web', backend: 'b2', weight: 5 },
      result: 'ERR_NOT_FOUND',
      changes: [],
    },
  ])
  t.equal(statSync(audit.path).mode & 0o777, 0o640 & ~process.umask())
})

t.test('a line has an end, whatever was asked', async t => {
  const change = entry().changes[0]!
  const line = auditLine(
    wall(),
    entry({
      params: { config: 'x'.repeat(1_000_000), down: Array(100_000).fill('b') },
      changes: Array(5000).fill(change),
    }),
  )
  t.ok(line.length < 16_384, `${line.length} bytes`)
  t.match(JSON.parse(line), { params: { config: /1000000 characters/ }, moreChanges: 4900 })
  t.equal(line.split('\n').length, 2)
})

t.test('a full file becomes the older one, and what was older goes', async t => {
  const directory = temporaryDirectory(t)
  const lineBytes = auditLine(wall(), entry()).length
  const audit = openAudit(directory, keepLog(), { wall, maxBytes: 3 * lineBytes })
  for (let i = 0; i < 8; i++) {
    audit.record(entry())
    await audit.flush()
  }
  t.equal(linesOf(audit.path).length, 2)
  t.equal(linesOf(`${audit.path}.1`).length, 3)
})

t.test('lines recorded together are all written, in files of their size', async t => {
  const directory = temporaryDirectory(t)
  const lineBytes = auditLine(wall(), entry()).length
  const audit = openAudit(directory, keepLog(), { wall, maxBytes: 4 * lineBytes })
  for (let i = 0; i < 8; i++) audit.record(entry())
  await audit.flush()
  t.equal(linesOf(audit.path).length, 4)
  t.equal(linesOf(`${audit.path}.1`).length, 4)
})

t.test('it goes on after what is there, even if that ends in the middle of a line', async t => {
  const directory = temporaryDirectory(t)
  const path = join(directory, 'audit.log')
  writeFileSync(path, `${auditLine(wall(), entry())}{"time":"20`)
  const audit = openAudit(directory, keepLog(), { wall })
  audit.record(entry())
  await audit.flush()
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  t.equal(lines.length, 3)
  t.match(JSON.parse(lines[2]!), { result: 'ok' })
})

t.test('where it cannot be written that is said once, and the rest goes on', async t => {
  const parent = temporaryDirectory(t)
  const directory = join(parent, 'state')
  writeFileSync(directory, 'a file where the directory should be')
  const log = keepLog()
  const audit = openAudit(directory, log, { wall })
  for (let i = 0; i < 3; i++) {
    audit.record(entry())
    await audit.flush()
  }
  t.equal(log.lines.length, 1)
  t.match(log.lines, [{ level: 'warn', fields: { event: 'audit.failed' } }])
  t.notOk(existsSync(audit.path))
  const { rmSync } = await import('node:fs')
  rmSync(directory)
  audit.record(entry())
  await audit.flush()
  t.equal(linesOf(audit.path).length, 1)
  t.match(log.lines.at(-1), { level: 'info', fields: { lost: 3 } })
  appendFileSync(audit.path, '')
})
