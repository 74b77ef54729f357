/** What the daemon's handlers do about flows beside answering. */
import t from 'tap'
import type { AuditEntry, AuditLog } from '../../src/audit.js'
import type { Daemon } from '../../src/daemon.js'
import { createFlows } from '../../src/flows/flows.js'
import { createHandlers, type DaemonInfo } from '../../src/handlers.js'
import { PEER } from '../control/fixtures/daemon.js'
import { makeTables } from './fixtures/memory.js'

t.test('a drop is in the audit log, done or refused; listing and counting are not', async t => {
  const tables = makeTables(64)
  tables.put({ index: 3 })
  const entries: AuditEntry[] = []
  const audit: AuditLog = {
    path: '',
    record: entry => void entries.push(entry),
    flush: async () => undefined,
  }
  const daemon = { flows: createFlows(tables.sources) } as unknown as Daemon
  const handlers = createHandlers(daemon, {} as DaemonInfo, { audit })
  t.equal((await handlers['flow.list']({}, PEER)).flows.length, 1)
  t.equal((await handlers['flow.count']({}, PEER)).total, 1)
  await t.rejects(handlers['flow.drop']({}, PEER), { code: 'ERR_BAD_REQUEST' })
  t.same(await handlers['flow.drop']({ service: 'web' }, PEER), { dropped: 1, tracked: 0 })
  t.match(entries, [
    { method: 'flow.drop', params: {}, error: 'ERR_BAD_REQUEST', peer: PEER },
    { method: 'flow.drop', params: { service: 'web' }, error: null, peer: PEER },
  ])
  t.equal(entries.length, 2)
})
