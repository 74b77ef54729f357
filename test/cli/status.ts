import { join } from 'node:path'
import t from 'tap'
import type { Status } from '../../src/control/protocol.js'
import { serve } from '../../src/control/server.js'
import { fakeHandlers, keepLog, PEER, startDaemon, temporaryDirectory } from '../control/fixtures/daemon.js'
import { linimo } from './fixtures/run.js'

const status = (): Promise<Status> => fakeHandlers().status({}, PEER)

t.test('status is one screen, and all of it with --json', async t => {
  const { socketPath } = await startDaemon(t)
  const { code, stdout } = await linimo(['status', '--socket', socketPath])
  t.equal(code, 0)
  t.equal(
    stdout,
    [
      'linimo main  ready  version 0.1.0, process 4711, since 2024-05-01T10:00:00.000Z',
      'config      /etc/linimo.yaml, applied 2024-05-01T10:00:00.000Z',
      'interfaces  eth0 native, eth1 generic (the driver has no native XDP)',
      'program     0123456789abcdef',
      '',
      'web  192.0.2.10:80/tcp  dr  maglev  251 slots  no backend: reject  digest 00112233445566ff',
      '  slots 251 untracked; last change wrote 0, 0 in all',
      '  BACKEND  ADDRESS       WEIGHT  STATE    HEALTH  SLOTS  SHARE  PACKETS  NEXT HOP',
      '  b1       10.0.0.11:80       1  enabled  up        126  50.2%       10  02:00:00:00:00:0b on eth0',
      '  b2       10.0.0.12:80       1  enabled  down      125  49.8%       10  connection refused',
      '',
      'VERDICT  PACKETS  BYTES',
      'TX_DR         20   2000',
      '',
    ].join('\n'),
  )
  t.same(JSON.parse((await linimo(['status', '--json', '--socket', socketPath])).stdout), await status())
})

t.test('what was changed at run time, and whether a restart keeps it, is said', async t => {
  const { socketPath } = await startDaemon(t, {
    status: async () => ({
      ...(await status()),
      journal: { entries: 3, error: '/var/lib/linimo/main/journal cannot be written (ENOSPC)' },
      flowCache: {
        entries: 1048576,
        live: 42,
        inserted: '1000',
        deferred: '3',
        refused: '2',
        unremembered: '0',
        lastSweep: { at: '2024-05-01T10:00:10.000Z', duration: 0.0123 },
      },
      http: { listen: ':9464', error: ':9464 cannot be listened on: the port is taken' },
    }),
  })
  const { stdout } = await linimo(['status', '--socket', socketPath])
  t.match(stdout, 'flow cache  42 live of 1048576 entries, 1000 entered, swept in 12 ms')
  t.match(stdout, 'found no place: 3 deferred, 2 refused, 0 unremembered')
  t.match(
    stdout,
    'metrics     http://*:9464/metrics\n            :9464 cannot be listened on: the port is taken',
  )
  t.match(stdout, 'journal     3 changed at run time: linimo diff shows them')
  t.match(stdout, 'a restart would lose changes: /var/lib/linimo/main/journal cannot be written (ENOSPC)')
})

t.test('slots by state, what changes wrote and what was not forwarded are said of each service', async t => {
  const present = await status()
  const services = present.services.map(row => ({
    ...row,
    trackedSlots: 51,
    trackedShare: 51 / 251,
    slotStates: { untracked: 200, grace: 1, learning: 50, keeping: 0 },
    slotsWritten: 51,
    slotsWrittenInAll: 302,
    unforwarded: { packets: '7', bytes: '420' },
  }))
  const { socketPath } = await startDaemon(t, { status: async () => ({ ...present, services }) })
  const { stdout } = await linimo(['status', '--socket', socketPath])
  t.match(
    stdout,
    '  slots 200 untracked, 1 grace, 50 learning (20.3% tracked); last change wrote 51, 302 in all\n' +
      '  7 packets (420 bytes) not forwarded\n',
  )
})

t.test('a refused reload and an interface without a program are said', async t => {
  const { socketPath } = await startDaemon(t, {
    status: async () => {
      const present = await status()
      return {
        ...present,
        ready: false,
        config: { ...present.config, error: 'line 3: unknown key' },
        interfaces: [{ name: 'eth0', mode: null, reason: 'another XDP program is attached' }],
        services: [],
        verdicts: {},
      }
    },
  })
  const { stdout } = await linimo(['status', '--socket', socketPath])
  t.match(stdout, /linimo main {2}not ready/)
  t.match(stdout, /the file is not what runs: line 3: unknown key/)
  t.match(stdout, /eth0 not attached \(another XDP program is attached\)/)
  t.match(stdout, /no packets yet/)
})

t.test(
  'status --wait returns once the daemon is ready, though its socket was not there at first',
  async t => {
    const socketPath = join(temporaryDirectory(t), 'control.sock')
    const waiting = linimo(['status', '--wait', '20s', '--json', '--socket', socketPath])
    let asked = 0
    const handlers = { ...fakeHandlers(), status: async () => ({ ...(await status()), ready: ++asked >= 3 }) }
    const server = await serve({ socketPath, handlers, log: keepLog(), peerOf: () => PEER })
    t.teardown(() => server.close())
    const { code, stdout } = await waiting
    t.equal(code, 0)
    t.equal(JSON.parse(stdout).ready, true)
    t.equal(asked, 3)
  },
)

t.test('status --wait exits with 8 when it takes too long, and says what is missing', async t => {
  const { socketPath } = await startDaemon(t, {
    status: async () => {
      const present = await status()
      const services = present.services.map(service => ({
        ...service,
        backends: service.backends.map(backend => ({ ...backend, health: 'unknown' as const })),
      }))
      return { ...present, ready: false, services }
    },
  })
  const late = await linimo(['status', '--wait', '50ms', '--socket', socketPath])
  t.equal(late.code, 8)
  t.match(late.stderr, /web\/b1 has no result of a health check/)

  const absent = await linimo(['status', '--wait', '50ms', '--json', '--socket', `${socketPath}.none`])
  t.equal(absent.code, 8)
  t.match(JSON.parse(absent.stderr), { code: 'ERR_TIMEOUT', message: /no daemon on/ })
})

t.test('--instance and LINIMO_INSTANCE choose the socket, --socket goes before them', async t => {
  const { socketPath } = await startDaemon(t)
  const env = { LINIMO_INSTANCE: 'no-such-1' }
  t.match((await linimo(['status'], { env })).stderr, '/run/linimo/no-such-1/control.sock')
  t.match(
    (await linimo(['status', '--instance', 'no-such-2'], { env })).stderr,
    '/run/linimo/no-such-2/control.sock',
  )
  t.equal((await linimo(['--socket', socketPath, 'status', '--instance', 'no-such-2'], { env })).code, 0)
  t.equal((await linimo(['status', '--instance', '../x'])).code, 2)
})
