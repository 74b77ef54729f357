import t from 'tap'
import { BalancerError, type ErrorCode } from '../../src/errors.js'
import { startDaemon } from '../control/fixtures/daemon.js'
import { asNobody } from '../control/fixtures/nobody.js'
import { linimo } from './fixtures/run.js'

t.test('each kind of failure has its exit code, and is one object on standard error with --json', async t => {
  const codes: Partial<Record<ErrorCode, number>> = {
    ERR_INTERNAL: 1,
    ERR_LIMIT: 1,
    ERR_BAD_REQUEST: 2,
    ERR_CONFIG_INVALID: 3,
    ERR_NOT_PERMITTED: 5,
    ERR_NOT_FOUND: 6,
    ERR_CONFLICT: 7,
    ERR_TIMEOUT: 8,
  }
  for (const [code, exit] of Object.entries(codes)) {
    const { socketPath } = await startDaemon(t, {
      'service.list': async () => {
        throw new BalancerError(code as ErrorCode, 'it failed', { hint: 'do better' })
      },
    })
    const argv = ['service', 'list', '--socket', socketPath]
    t.same(
      await linimo(argv),
      { code: exit, stdout: '', stderr: 'error: it failed\nhint: do better\n' },
      code,
    )
    const { stderr } = await linimo([...argv, '--json'])
    t.equal(stderr, `${JSON.stringify({ code, message: 'it failed', hint: 'do better' })}\n`)
  }
})

t.test('no daemon is 4, a daemon that may not be asked is 5', async t => {
  const absent = await linimo(['service', 'list', '--socket', '/nonexistent/control.sock'])
  t.equal(absent.code, 4)
  t.match(absent.stderr, /hint: .*linimo run/)
  const { socketPath } = await startDaemon(t)
  t.equal((await asNobody(() => linimo(['service', 'list', '--socket', socketPath]))).code, 5)
})

t.test('what is not there is 6, what is there already 7', async t => {
  const { socketPath } = await startDaemon(t)
  t.equal((await linimo(['service', 'show', 'wbe', '--socket', socketPath])).code, 6)
  t.equal((await linimo(['backend', 'show', 'web/b9', '--socket', socketPath])).code, 6)
  t.equal(
    (await linimo(['backend', 'add', 'web/b1', '--address', '10.0.0.1', '--socket', socketPath])).code,
    7,
  )
})

t.test('a wrong command line is 2, and nothing is asked', async t => {
  const lines = [
    [],
    ['backend'],
    ['satus'],
    ['backend', 'lst'],
    ['status', '--jsn'],
    ['status', 'now'],
    ['status', '--wait', 'long'],
    ['service', 'show'],
    ['backend', 'show', 'web'],
    ['backend', 'show', '/b1'],
    ['backend', 'show', 'web/'],
    ['backend', 'add', 'web/b4'],
    ['backend', 'add', 'web/b4', '--address', '10.0.0.256'],
    ['backend', 'add', 'web/b4', '--address', '10.0.0.4', '--port', '0'],
    ['backend', 'set', 'web/b1'],
    ['backend', 'set', 'web/b1', '--weight', '1001'],
    ['backend', 'set', 'web/b1', '--weight', '-1'],
    ['backend', 'set', 'web/b1', '--weight', '1.5'],
    ['backend', 'set', 'web/b1', '--mac', '02:00:00:00:00'],
    ['run'],
    ['run', '--config', 'x', '--log-level', 'loud'],
    ['explain', '--config', 'x'],
    ['explain', '--config', 'x', '--packet', '00', '--packets', 'y'],
    ['explain', '--packet', '00'],
  ]
  for (const line of lines) {
    const { code, stdout, stderr } = await linimo([...line, '--socket', '/nonexistent/control.sock'])
    t.equal(code, 2, `linimo ${line.join(' ')}: ${stderr.split('\n')[0]}`)
    t.equal(stdout, '')
    t.not(stderr, '')
  }
})

t.test('a misspelt command or option is met with a suggestion', async t => {
  t.equal(
    (await linimo(['backend', 'lst'])).stderr,
    "error: unknown command 'lst'\nhint: Did you mean list?\n",
  )
  const { stderr } = await linimo([
    'backend',
    'add',
    'web/b4',
    '--address',
    '10.0.0.4',
    '--wieght',
    '2',
    '--json',
  ])
  t.match(JSON.parse(stderr), {
    code: 'ERR_USAGE',
    message: "unknown option '--wieght'",
    hint: 'Did you mean --weight?',
  })
})

t.test('help and version are no failures', async t => {
  t.match(await linimo(['--help']), { code: 0, stdout: /Usage: linimo/, stderr: '' })
  t.match(await linimo(['help', 'backend']), { code: 0, stdout: /add \[options\] <service\/backend>/ })
  t.match(await linimo(['backend', 'set', '--help']), {
    code: 0,
    stdout: /--weight <weight>[\s\S]*--socket <path>/,
  })
  t.match(await linimo(['--version']), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
  t.match(await linimo(['version']), { code: 0, stdout: /^linimo \d+\.\d+\.\d+\n$/ })
  t.match(JSON.parse((await linimo(['version', '--json'])).stdout), { version: /^\d/ })
})
