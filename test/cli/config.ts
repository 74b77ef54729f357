import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startDaemon, temporaryDirectory } from '../control/fixtures/daemon.js'
import { linimo } from './fixtures/run.js'

const setUp = async (t: Test, text: string) => {
  const { socketPath } = await startDaemon(t)
  const file = join(temporaryDirectory(t), 'linimo.yaml')
  writeFileSync(file, text)
  return { file, run: (...argv: string[]) => linimo([...argv, '--socket', socketPath]) }
}

const good = `
interfaces: [lo]
services:
  web:
    vip: 192.0.2.10
    port: 80
    protocol: tcp
    forward: dr
    ring-size: 251
    backends:
      - { name: b1, address: 10.0.0.11 }
      - { name: b2, address: 10.0.0.12, weight: 2 }
      - { name: b3, address: 10.0.0.13 }
`

t.test('diff exits with 10 when something would change, else with 0', async t => {
  const { file, run } = await setUp(t, 'other')
  const changed = await run('diff', '--config', file)
  t.equal(changed.code, 10)
  t.equal(changed.stdout, '~ backend web/b2: weight 1 -> 5\n')
  t.same(await run('apply', '--dry-run', '--config', file), changed)
  t.match(JSON.parse((await run('diff', '--json')).stdout), { changes: [{ name: 'web/b2' }], warnings: [] })

  writeFileSync(file, 'same')
  const same = await run('diff', '--config', file)
  t.equal(same.code, 0)
  t.equal(same.stdout, 'nothing would change\n')
})

t.test('diff says what apply would throw away, and what it would do to the flows', async t => {
  const change = { action: 'change', kind: 'backend', name: 'web/b2' } as const
  const { socketPath } = await startDaemon(t, {
    diff: async () => ({
      changes: [{ ...change, detail: 'weight 5 -> 1' }],
      drift: [
        { ...change, detail: 'weight 1 -> 5', isThrownAway: true },
        { ...change, name: 'web/b3', detail: 'weight 1 -> 2', isThrownAway: false },
      ],
      impact: [
        {
          service: 'web',
          slotsMoved: 100,
          slots: 1000,
          packetShare: 0.123,
          flows: 'unknown',
          breaks: false,
          reason: null,
        },
        {
          service: 'dns',
          slotsMoved: 251,
          slots: 251,
          packetShare: null,
          flows: 9,
          breaks: true,
          reason: 'ring-size 251 -> 509: every flow may change its backend',
        },
      ],
      breaks: true,
      warnings: [],
    }),
  })
  const { code, stdout } = await linimo(['diff', '--socket', socketPath])
  t.equal(code, 10)
  t.equal(
    stdout,
    [
      'apply would change:',
      '~ backend web/b2: weight 5 -> 1',
      'changed at run time, thrown away by apply:',
      '~ backend web/b2: weight 1 -> 5',
      'changed at run time, and in the file as well:',
      '~ backend web/b3: weight 1 -> 2',
      "web: 100 of 1000 slots would move (10.0%), 12.3% of the last minute's packets, live flows: unknown",
      'dns: 251 of 251 slots would move (100.0%), no packets in the last minute, live flows: 9; BREAKS connections: ' +
        'ring-size 251 -> 509: every flow may change its backend',
      'connections that are not tracked cannot be kept: apply wants --force',
      '',
    ].join('\n'),
  )
})

t.test('apply forces only when it is told to', async t => {
  const seen: unknown[] = []
  const { socketPath } = await startDaemon(t, {
    apply: async params => {
      seen.push(params)
      return { changes: [], warnings: [] }
    },
  })
  await linimo(['apply', '--socket', socketPath])
  await linimo(['apply', '--force', '--socket', socketPath])
  t.same(seen, [{}, { force: true }])
})

t.test('apply tells what it changed', async t => {
  const { file, run } = await setUp(t, 'other')
  t.same(await run('apply', '--config', file), {
    code: 0,
    stdout: '~ backend web/b2: weight 1 -> 5\n',
    stderr: '',
  })
  t.match(JSON.parse((await run('apply', '--json')).stdout), {
    changes: [{ action: 'change', kind: 'backend' }],
  })
})

t.test('check without a file asks the daemon; its warnings go to standard error', async t => {
  const { run } = await setUp(t, '')
  t.same(await run('check'), {
    code: 0,
    stdout: 'the configuration: ok\n',
    stderr: 'warning: eth1 is generic\n',
  })
  t.same(JSON.parse((await run('check', '--json')).stdout), { ok: true, warnings: ['eth1 is generic'] })
})

t.test('an invalid configuration exits with 3 and names file, line and column', async t => {
  const { file, run } = await setUp(t, 'wieght: 1')
  const { code, stderr } = await run('apply', '--config', file)
  t.equal(code, 3)
  t.equal(stderr, `${file}:3:5: unknown key "wieght"\n  hint: did you mean weight?\nerror: 1 problem\n`)

  const inJson = await run('diff', '--config', file, '--json')
  t.equal(inJson.code, 3)
  t.equal(inJson.stderr.trim().split('\n').length, 1)
  t.match(JSON.parse(inJson.stderr), {
    code: 'ERR_CONFIG_INVALID',
    problems: [{ line: 3, column: 5, path: 'services.web.wieght' }],
  })
})

t.test("problems of the daemon's own file are reported under its name", async t => {
  const { socketPath } = await startDaemon(t, {
    diff: async () => {
      const { fakeHandlers, PEER } = await import('../control/fixtures/daemon.js')
      return fakeHandlers().diff({ config: 'wieght' }, PEER)
    },
  })
  t.match((await linimo(['diff', '--socket', socketPath])).stderr, '/etc/linimo.yaml:3:5: unknown key')
})

t.test('check with a file needs no daemon', async t => {
  const file = join(temporaryDirectory(t), 'linimo.yaml')
  writeFileSync(file, good)
  const argv = ['check', '--config', file, '--socket', '/nonexistent/control.sock']
  t.match(await linimo(argv), { code: 0, stdout: `${file}: ok\n` })
  t.match(JSON.parse((await linimo([...argv, '--json'])).stdout), { ok: true })

  writeFileSync(file, good.replace('weight: 2', 'wieght: 2'))
  const { code, stderr } = await linimo(argv)
  t.equal(code, 3)
  t.match(stderr, /linimo\.yaml:12:\d+: .*wieght/)
  t.match(stderr, /weight\b/)
})

t.test('ring show with a file needs no daemon', async t => {
  const file = join(temporaryDirectory(t), 'linimo.yaml')
  writeFileSync(file, good)
  const show = async (...argv: string[]) => {
    const { code, stdout, stderr } = await linimo([
      'ring',
      'show',
      'web',
      '--config',
      file,
      '--json',
      ...argv,
    ])
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
  const ring = await show('--slots')
  t.match(ring, { service: 'web', size: 251, digest: /^[0-9a-f]{16}$/ })
  t.same(
    ring.backends.map((row: { backend: string }) => row.backend),
    ['b1', 'b2', 'b3'],
  )
  t.same(
    ring.backends.map((row: { expected: number }) => row.expected),
    [0.25, 0.5, 0.25],
  )
  t.equal(ring.owners.length, 251)
  for (const { backend, slots } of ring.backends)
    t.equal(ring.owners.filter((owner: string) => owner === backend).length, slots)
  t.same((await show('--down', 'b1,b2,b3', '--slots')).owners, Array(251).fill(null))

  t.equal((await linimo(['ring', 'show', 'web', '--config', file, '--down', 'b9'])).code, 6)
  t.equal((await linimo(['ring', 'show', 'wbe', '--config', file])).code, 6)
})

t.test('a file that is not there is a failure', async t => {
  const { code, stderr } = await linimo(['check', '--config', '/nonexistent/linimo.yaml', '--json'])
  t.equal(code, 1)
  t.match(JSON.parse(stderr), { code: 'ENOENT', message: '/nonexistent/linimo.yaml' })
})
