/** The flows over a real control socket: many of them, with everything else going on meanwhile. */
import t, { type Test } from 'tap'
import { connect } from '../../src/control/client.js'
import { MAX_PAGE_ROWS } from '../../src/control/protocol.js'
import { createFlows } from '../../src/flows/flows.js'
import { linimo } from '../cli/fixtures/run.js'
import { startDaemon } from '../control/fixtures/daemon.js'
import { CONNECTION_FULLNAT, makeTables, NOW, TCP, UDP, WEB_B1, WEB_B2 } from './fixtures/memory.js'

const MANY = 500_000

/** Every entry a connection of its own client. */
const full = (count: number) => {
  const tables = makeTables(count)
  const bytes = new Uint8Array(tables.connections)
  tables.put({ index: 0, expires: NOW + 600 })
  const first = tables.at(0)
  const view = new DataView(tables.connections)
  for (let index = 0; index < count; index++) {
    bytes.set(first, index * 64)
    view.setUint32(index * 64 + 12, 0x0b00_0000 + index) // the client, 11.x.x.x
    if (index % 3 === 0) bytes[index * 64 + 36] = WEB_B2
  }
  return tables
}

const serve = async (test: Test, count: number) => {
  const tables = full(count)
  const flows = createFlows(tables.sources)
  const { socketPath } = await startDaemon(test, {
    'flow.list': query => flows.list(query),
    'flow.count': filter => flows.count(filter),
    'flow.drop': which => flows.drop(which),
  })
  return { socketPath, tables }
}

t.test('half a million flows are listed, each once, and others are answered between their pages', async t => {
  const { socketPath } = await serve(t, MANY)
  const [reader, other] = await Promise.all([connect({ socketPath }), connect({ socketPath })])
  t.teardown(() => Promise.all([reader.close(), other.close()]))
  let isListing = true
  let answers = 0
  let rows = 0
  /** How many rows had been read at each answer: an answer of its own moment tells that the daemon was free in it. */
  const moments = new Set<number>()
  const asking = (async () => {
    while (isListing) {
      await other.status()
      answers++
      moments.add(rows)
    }
  })()
  const seen = new Uint8Array(MANY)
  for await (const row of reader.flow.list()) {
    const [, b, c, d] = row.client!.split('.').map(Number)
    seen[(b! << 16) | (c! << 8) | d!]!++
    rows++
  }
  isListing = false
  await asking
  t.equal(rows, MANY)
  t.ok(seen.every(times => times === 1))
  t.ok(
    answers >= MANY / MAX_PAGE_ROWS / 4,
    `${answers} other answers while ${MANY / MAX_PAGE_ROWS} pages came`,
  )
  t.ok(moments.size >= MANY / MAX_PAGE_ROWS / 4, `at ${moments.size} different moments`)
})

t.test('who stops reading is sent no more than the page under way', async t => {
  const tables = full(20 * MAX_PAGE_ROWS)
  const flows = createFlows(tables.sources)
  let pages = 0
  const { socketPath } = await startDaemon(t, {
    'flow.list': query => {
      pages++
      return flows.list(query)
    },
  })
  const client = await connect({ socketPath })
  t.teardown(() => client.close())
  let read = 0
  for await (const row of client.flow.list()) {
    if (row.state !== 'established') t.fail(row.state)
    if (++read === 10) break
  }
  await client.status()
  t.ok(pages <= 2, `${pages} pages were asked for`)
  read = 0
  for await (const _ of client.flow.list({ limit: 2500 })) read++
  t.equal(read, 2500, 'a limit beyond a page')
  t.ok(pages <= 5, `${pages} pages in all`)
})

t.test('counting and dropping many leaves time for others too', async t => {
  const { socketPath } = await serve(t, MANY)
  const [client, other] = await Promise.all([connect({ socketPath }), connect({ socketPath })])
  t.teardown(() => Promise.all([client.close(), other.close()]))
  let isBusy = true
  let answers = 0
  const asking = (async () => {
    while (isBusy) {
      await other.status()
      answers++
    }
  })()
  const third = Math.ceil(MANY / 3)
  const counted = await client.flow.count()
  t.match(counted, {
    total: MANY,
    dropped: 0,
    kinds: { fullnat: MANY },
    states: { established: MANY },
    services: [
      {
        service: 'web',
        total: MANY,
        backends: [
          { backend: 'b1', total: MANY - third },
          { backend: 'b2', total: third },
        ],
      },
    ],
  })
  t.same(await client.flow.drop({ service: 'web', backend: 'b2' }), { dropped: third, tracked: 0 })
  isBusy = false
  await asking
  t.ok(answers >= 30, `${answers} other answers`)
  t.equal((await client.flow.count()).dropped, third)
})

t.test('the command line prints every one of many, as JSON and as lines', async t => {
  const COUNT = 2345
  const { socketPath } = await serve(t, COUNT)
  const run = (...argv: string[]) => linimo([...argv, '--socket', socketPath])
  const json = await run('flow', 'list', 'web', '--json')
  t.equal(json.code, 0)
  const rows = JSON.parse(json.stdout) as { client: string }[]
  t.equal(new Set(rows.map(({ client }) => client)).size, COUNT)
  t.equal(json.stdout.split('\n').length, COUNT + 3, 'a row a line')
  const { stdout } = await run('flow', 'list', '--limit', '1200')
  const lines = stdout.trimEnd().split('\n')
  t.equal(lines.length, 1201, 'one heading')
  t.match(lines[0], /^KIND +SERVICE +PROTO +CLIENT +SERVER +BACKEND +LOCAL +STATE +IDLE +EXPIRES +ID$/)
  t.match(
    lines[1],
    /^fullnat +web +tcp +11\.0\.0\.0:40001 +192\.0\.2\.10:80 +b2 +10\.1\.0\.100:0 +established +300s +600s +0:[0-9a-f]{8}$/,
  )
  t.same(JSON.parse((await run('flow', 'list', '--json', '--client', '203.0.113.0/24')).stdout), [])
  t.equal((await run('flow', 'list', '--client', '203.0.113.0/24')).stdout, 'no flows\n')
})

t.test('the command line counts and drops, and refuses what is too much', async t => {
  const tables = makeTables(1024)
  tables.put({ index: 1, backend: WEB_B1, kind: CONNECTION_FULLNAT, protocol: TCP })
  tables.put({ index: 2, clientPort: 40002 })
  tables.put({ index: 3, backend: 3, protocol: UDP })
  const flows = createFlows(tables.sources)
  const { socketPath, log } = await startDaemon(t, {
    'flow.list': query => flows.list(query),
    'flow.count': filter => flows.count(filter),
    'flow.drop': which => flows.drop(which),
  })
  const run = (...argv: string[]) => linimo([...argv, '--socket', socketPath])
  t.equal(
    (await run('flow', 'count')).stdout,
    [
      '3 flows',
      'by kind     3 fullnat',
      'by state    2 established, 1 udp',
      '',
      'BACKEND  FLOWS',
      'dns/d1       1',
      'web/b1       2',
      '',
    ].join('\n'),
  )
  t.match(JSON.parse((await run('flow', 'count', 'web', '--json')).stdout), { total: 2 })
  t.match(await run('flow', 'drop'), { code: 2, stderr: /--all/ })
  t.match(await run('flow', 'drop', 'wbe'), { code: 6, stderr: /wbe/ })
  t.match(await run('flow', 'drop', 'web', '--client', 'b1'), { code: 2, stderr: /prefix/ })
  t.equal(
    (await run('flow', 'drop', 'web', '--client', '198.51.100.7:40002')).stdout,
    'dropped 1 connection\n',
  )
  t.match((await run('flow', 'list', 'web', '--client', '198.51.100.7:40002')).stdout, /established, dropped/)
  const [row] = JSON.parse((await run('flow', 'list', '--json', '--state', 'udp')).stdout) as { id: string }[]
  t.equal((await run('flow', 'drop', row!.id)).stdout, 'dropped 1 connection\n')
  t.match(await run('flow', 'drop', row!.id), { code: 6, stderr: /has ended/ })
  t.same(JSON.parse((await run('flow', 'drop', '--all', '--json')).stdout), { dropped: 1, tracked: 0 })
  t.ok(
    log.lines.some(({ message }) => message === 'connections dropped on request'),
    'the log says so',
  )
})

t.test('help says what drop does, and what --client cannot match', async t => {
  t.match(
    (await linimo(['flow', 'drop', '--help'])).stdout,
    /reset with its next packet[\s\S]*UDP[\s\S]*Tracked/,
  )
  t.match((await linimo(['flow', 'list', '--help'])).stdout, /--client never\s+matches/)
})
