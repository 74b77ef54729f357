/** src/cli.ts as a process. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startDaemon } from '../control/fixtures/daemon.js'

const cli = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

const run = (argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise(resolve => {
    const child = execFile(process.execPath, ['--import', 'tsx', cli, ...argv], (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    )
  })

t.test('the process prints the result and exits with the code', async t => {
  const { socketPath } = await startDaemon(t)
  const listed = await run(['backend', 'list', '--json', '--socket', socketPath])
  t.match(listed, { code: 0, stderr: '' })
  t.match(JSON.parse(listed.stdout), [{ backend: 'b1' }, { backend: 'b2' }])
  t.match(await run(['service', 'show', 'x', '--socket', socketPath]), {
    code: 6,
    stdout: '',
    stderr: /there is no service/,
  })
  t.match(await run(['nonsense']), { code: 2, stdout: '' })
})
