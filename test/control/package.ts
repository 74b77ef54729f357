/** The package as a program sees it that imports it by name. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { startDaemon } from './fixtures/daemon.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

t.test('import { connect } from "linimo" gives a client that works', async t => {
  // emits whatever types say: those are checked elsewhere
  if (!existsSync(`${root}dist/index.js`))
    await run(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', root]).catch(() => undefined)
  const { socketPath } = await startDaemon(t)
  const program = `
    import { connect, BalancerError } from 'linimo'
    const client = await connect({ socketPath: ${JSON.stringify(socketPath)} })
    const { weight } = await client.backend.set('web', 'b2', { weight: 5 })
    const error = await client.service.show('x').catch(error => error)
    console.log(JSON.stringify([weight, error instanceof BalancerError, error.code]))
    await client.close()`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], { cwd: root })
  t.same(JSON.parse(stdout), [5, true, 'ERR_NOT_FOUND'])
})
