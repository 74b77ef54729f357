import t, { type Test } from 'tap'
import type { BackendRow, Handlers } from '../../src/control/protocol.js'
import { fakeHandlers, PEER, startDaemon } from '../control/fixtures/daemon.js'
import { linimo } from './fixtures/run.js'

const daemonFor = async (t: Test, replaced: Partial<Handlers> = {}) => {
  const { socketPath } = await startDaemon(t, replaced)
  return (...argv: string[]) => linimo([...argv, '--socket', socketPath])
}

const json = ({ code, stdout, stderr }: Awaited<ReturnType<typeof linimo>>): unknown => {
  if (code !== 0) throw new Error(`exit ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

t.test('service list and show', async t => {
  const run = await daemonFor(t)
  t.match(json(await run('service', 'list', '--json')), [{ service: 'web', packets: '18446744073709551615' }])
  t.match(json(await run('--json', 'svc', 'show', 'web')), {
    vip: '192.0.2.10',
    backends: [{ backend: 'b1' }, {}],
  })
  t.equal(
    (await run('service', 'list')).stdout,
    [
      'SERVICE  VIP                FORWARD  SCHEDULER  RING  TRACKED  DIGEST            UP                PACKETS  BYTES',
      'web      192.0.2.10:80/tcp  dr       maglev      251     0.0%  00112233445566ff  1/2  18446744073709551615   2000',
      '',
    ].join('\n'),
  )
  t.equal(
    (await run('service', 'show', 'web')).stdout,
    [
      'web  192.0.2.10:80/tcp  dr  maglev  251 slots  no backend: reject  digest 00112233445566ff',
      '  slots 251 untracked; last change wrote 0, 0 in all',
      '  BACKEND  ADDRESS       WEIGHT  STATE    HEALTH  SLOTS  SHARE  PACKETS  NEXT HOP',
      '  b1       10.0.0.11:80       1  enabled  up        126  50.2%       10  02:00:00:00:00:0b on eth0',
      '  b2       10.0.0.12:80       1  enabled  down      125  49.8%       10  connection refused',
      '',
    ].join('\n'),
  )
})

t.test('tunnels have columns of their own', async t => {
  const row = (await fakeHandlers()['backend.show']({ service: 'web', backend: 'b1' }, PEER)) as BackendRow
  const tunnel = {
    source: '10.9.0.0/16',
    key: null,
    port: null,
    variant: null,
    overhead: 32,
    learntMtu: null,
  }
  const run = await daemonFor(t, {
    'backend.list': async () => [
      row,
      { ...row, backend: 'b2', forward: 'gre', tunnel: { ...tunnel, key: 7 }, mtu: 1472 },
      { ...row, backend: 'b3', forward: 'gue', tunnel: { ...tunnel, port: 6080, variant: 0 }, mtu: 1468 },
      {
        ...row,
        backend: 'b4',
        forward: 'gue',
        tunnel: { ...tunnel, port: 7, variant: 1, source: null },
        mtu: null,
      },
    ],
  })
  const lines = (await run('backend', 'list')).stdout.split('\n').map(line => line.replace(/^.* 10 {2}/, ''))
  t.same(lines.slice(1), [
    'dr                      -            1500  02:00:00:00:00:0b on eth0',
    'gre, key 7              10.9.0.0/16  1472  02:00:00:00:00:0b on eth0',
    'gue, port 6080          10.9.0.0/16  1468  02:00:00:00:00:0b on eth0',
    'gue, port 7, variant 1  -               -  02:00:00:00:00:0b on eth0',
    '',
  ])
})

t.test('backend list and show', async t => {
  const run = await daemonFor(t)
  const rows = json(await run('backend', 'list', '--json'))
  t.match(rows, [
    { service: 'web', backend: 'b1', nextHop: { interface: 'eth0' } },
    { nextHop: null, reason: 'connection refused' },
  ])
  t.same(json(await run('be', 'list', 'web', '--json')), rows)
  t.match(json(await run('backend', 'show', 'web/b2', '--json')), { backend: 'b2', health: 'down' })
  t.equal(
    (await run('backend', 'list')).stdout,
    [
      'BACKEND  ADDRESS       WEIGHT  STATE    HEALTH  SLOTS  PACKETS  NEXT HOP',
      'web/b1   10.0.0.11:80       1  enabled  up        126       10  02:00:00:00:00:0b on eth0',
      'web/b2   10.0.0.12:80       1  enabled  down      125       10  connection refused',
      '',
    ].join('\n'),
  )
})

t.test('backend add, set and remove', async t => {
  const run = await daemonFor(t)
  const added = await run(
    'backend',
    'add',
    'web/b4',
    '--address',
    '2001:db8::4',
    '--port',
    '8080',
    '--weight',
    '3',
    '--json',
  )
  t.match(json(added), { backend: 'b4', address: '2001:db8::4', port: 8080, weight: 3 })
  t.match(json(await run('backend', 'set', 'web/b4', '--weight', '0', '--json')), { weight: 0 })
  t.match((await run('backend', 'set', 'web/b4', '--mac', 'none')).stdout, /web\/b4 +\[2001:db8::4\]:8080/)
  t.same(json(await run('backend', 'remove', 'web/b4', '--json')), {
    service: 'web',
    backend: 'b4',
    isLeaving: false,
  })
  t.equal((await run('backend', 'remove', 'web/b1')).stdout, 'removed web/b1\n')
})

t.test('backend drain, undrain, disable and enable', async t => {
  const run = await daemonFor(t)
  t.match(json(await run('backend', 'drain', 'web/b1', '--deadline', '10m', '--json')), {
    state: 'draining',
    drain: { remaining: 600 },
  })
  t.equal(
    (await run('backend', 'list', 'web')).stdout,
    [
      'BACKEND  ADDRESS       WEIGHT  STATE          HEALTH  SLOTS  FLOWS  PACKETS  NEXT HOP',
      'web/b1   10.0.0.11:80       1  draining 600s  up        126  7+          10  02:00:00:00:00:0b on eth0',
      'web/b2   10.0.0.12:80       1  enabled        down      125  -           10  connection refused',
      '',
    ].join('\n'),
  )
  t.match(json(await run('backend', 'undrain', 'web/b1', '--json')), { state: 'enabled' })
  t.match((await run('backend', 'disable', 'web/b1')).stdout, /web\/b1 .* disabled/)
  t.match(json(await run('backend', 'enable', 'web/b1', '--json')), { state: 'enabled' })
  t.equal((await run('backend', 'drain', 'web/b9')).code, 6)
  t.equal((await run('backend', 'drain', 'web/b1', '--deadline', 'soon')).code, 2)
})

t.test('backend drain --wait returns when it is out, exits with 8 when that takes longer', async t => {
  const run = await daemonFor(t)
  const late = await run('backend', 'drain', 'web/b1', '--wait', '50ms')
  t.equal(late.code, 8)
  t.match(late.stderr, /web\/b1 is not out within 0.05 s: at least 7 flows live/)

  const { fakeHandlers, PEER } = await import('../control/fixtures/daemon.js')
  const fakes = fakeHandlers()
  let asked = 0
  const drain = () => ({ isOut: ++asked > 2, deadline: null, remaining: null })
  const { socketPath } = await startDaemon(t, {
    'backend.show': async params => ({ ...(await fakes['backend.show'](params, PEER)), drain: drain() }),
  })
  const out = await linimo(['backend', 'drain', 'web/b1', '--wait', '--json', '--socket', socketPath])
  t.match(json(out), { drain: { isOut: true } })
  t.equal(asked, 3)

  const { socketPath: other } = await startDaemon(t, { 'backend.show': fakes['backend.show'] })
  t.equal((await linimo(['backend', 'drain', 'web/b1', '--wait', '--socket', other])).code, 7, 'taken back')
})

t.test('backend remove tells when connections are waited for', async t => {
  const { socketPath } = await startDaemon(t, {
    'backend.remove': async ({ service, backend, now }) => ({ service, backend, isLeaving: !now }),
  })
  const remove = async (...argv: string[]) =>
    (await linimo(['backend', 'remove', 'web/b1', ...argv, '--socket', socketPath])).stdout
  t.equal(await remove(), 'removed web/b1: it is leaving, and goes when its connections have ended\n')
  t.equal(await remove('--now'), 'removed web/b1\n')
})

t.test('a change that a restart would lose is told', async t => {
  const { socketPath } = await startDaemon(t, {
    'backend.remove': async ({ service, backend }) => ({
      service,
      backend,
      isLeaving: false,
      warning: 'no space',
    }),
  })
  const { code, stderr } = await linimo(['backend', 'remove', 'web/b1', '--socket', socketPath])
  t.same([code, stderr], [0, 'warning: a restart would lose this change: no space\n'])
})

t.test("a backend's name is what comes after the first slash", async t => {
  let seen: unknown
  const { socketPath } = await startDaemon(t, {
    'backend.remove': async params => {
      seen = params
      return { ...params, isLeaving: false }
    },
  })
  await linimo(['backend', 'remove', 'web/[2001:db8::1]:80', '--socket', socketPath])
  t.same(seen, { service: 'web', backend: '[2001:db8::1]:80' })
  await linimo(['backend', 'remove', 'web/a/b', '--socket', socketPath])
  t.same(seen, { service: 'web', backend: 'a/b' })
})

t.test('ring show', async t => {
  const run = await daemonFor(t)
  t.same(json(await run('ring', 'show', 'web', '--slots', '--down', 'b1,b9', '--json')), {
    service: 'web',
    size: 251,
    digest: '00112233445566ff',
    backends: [
      { backend: 'b1', slots: 0, expected: 0.5, actual: 126 / 251 },
      { backend: 'b2', slots: 126, expected: 0.5, actual: 126 / 251 },
    ],
    owners: ['b1', null],
  })
  t.equal(
    (await run('ring', 'show', 'web', '--slots')).stdout,
    [
      'web: 251 slots, digest 00112233445566ff',
      'BACKEND  SLOTS  EXPECTED   ACTUAL',
      'b1         126   50.000%  50.199%',
      'b2         126   50.000%  50.199%',
      '',
      '0 b1',
      '1 -',
      '',
    ].join('\n'),
  )
})

t.test('nothing of a name or a reason can steer the terminal', async t => {
  const { socketPath } = await startDaemon(t, {
    'ring.show': async ({ service }) => ({
      service,
      size: 251,
      digest: '',
      backends: [{ backend: '\x1b[2Jb1', slots: 1, expected: 1, actual: 1 }],
    }),
  })
  const { stdout } = await linimo(['ring', 'show', 'web', '--socket', socketPath], {
    isTTY: true,
    env: { NO_COLOR: '1' },
  })
  t.notMatch(stdout, '\x1b')
  t.match(stdout, '?[2Jb1')
})

t.test('colours are for terminals, and not where NO_COLOR is set', async t => {
  const { socketPath } = await startDaemon(t)
  const argv = ['backend', 'list', '--socket', socketPath]
  t.match((await linimo(argv, { isTTY: true })).stdout, '\x1b[31mdown')
  t.notMatch((await linimo(argv, { isTTY: true, env: { NO_COLOR: '1' } })).stdout, '\x1b')
  t.notMatch((await linimo(argv)).stdout, '\x1b')
})
