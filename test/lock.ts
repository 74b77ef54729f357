import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { lockOwner, takeLock } from '../src/lock.js'
import { loadNative } from '../src/native.js'

const { peerCredentials } = loadNative()

const directory = (t: Test): string => {
  const path = mkdtempSync(join(tmpdir(), 'linimo-lock-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('a lock is held once, by whatever name its path has, and names its owner', async t => {
  const path = directory(t)
  const [state, pins] = [join(path, 'state'), join(path, 'pins')]
  const lock = await takeLock([state, pins], peerCredentials)
  mkdirSync(state)
  symlinkSync(state, join(path, 'alias'))
  for (const other of [
    state,
    join(path, 'alias'),
    join(path, '.', 'pins'),
    `${path}/../${path.split('/').pop()}/pins`,
  ])
    await t.rejects(takeLock([join(path, 'free'), other], peerCredentials), {
      code: 'ERR_ALREADY_RUNNING',
      message: new RegExp(`process ${process.pid}\\b`),
    })
  t.equal(await lockOwner(join(path, 'free'), peerCredentials), null, 'all or none')
  t.equal(await lockOwner(pins, peerCredentials), process.pid)
  await lock.release()
  t.equal(await lockOwner(pins, peerCredentials), null)
  await (await takeLock([state, pins], peerCredentials)).release()
})

t.test('a lock goes with its process, however that ends', async t => {
  const path = directory(t)
  const program = join(path, 'holder.ts')
  const lockModule = fileURLToPath(new URL('../src/lock.ts', import.meta.url))
  const nativeModule = fileURLToPath(new URL('../src/native.ts', import.meta.url))
  writeFileSync(
    program,
    `import { takeLock } from ${JSON.stringify(lockModule)}
     import { loadNative } from ${JSON.stringify(nativeModule)}
     takeLock([${JSON.stringify(path)}], loadNative().peerCredentials).then(() => process.send('held'))
     setInterval(() => {}, 1000)`,
  )
  const holder = fork(program, { execArgv: ['--import', 'tsx'] })
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder, 'message')
  t.equal(await lockOwner(path, peerCredentials), holder.pid)
  await t.rejects(takeLock([path], peerCredentials), { code: 'ERR_ALREADY_RUNNING' })
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  await (await takeLock([path], peerCredentials)).release()
})
