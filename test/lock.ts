import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { lockOwner, takeLock } from '../src/lock.js'

const directory = (t: Test): string => {
  const path = mkdtempSync(join(tmpdir(), 'linimo-lock-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('a lock is held once, by whatever name its path has, and names its owner', async t => {
  const path = directory(t)
  const [state, pins] = [join(path, 'state'), join(path, 'pins')]
  const lock = takeLock([state, pins])
  symlinkSync(state, join(path, 'alias'))
  for (const other of [
    state,
    join(path, 'alias'),
    join(path, '.', 'pins'),
    `${path}/../${path.split('/').pop()}/pins`,
  ])
    t.throws(() => takeLock([join(path, 'free'), other]), {
      code: 'ERR_ALREADY_RUNNING',
      message: new RegExp(`process ${process.pid}\\b`),
    })
  t.equal(lockOwner(join(path, 'free')), null, 'all or none')
  t.equal(lockOwner(pins), process.pid)
  lock.release()
  t.equal(lockOwner(pins), null)
  takeLock([state, pins]).release()
})

t.test('directories that were made for the lock go with it, unless they are in use', async t => {
  const path = directory(t)
  const lock = takeLock([join(path, 'a/b/c'), join(path, 'd/e')])
  t.ok(existsSync(join(path, 'a/b/c')))
  writeFileSync(join(path, 'd/e/file'), '')
  lock.release()
  t.notOk(existsSync(join(path, 'a')))
  t.ok(existsSync(join(path, 'd/e/file')))
})

t.test('the lock of a directory that has been removed does not count', async t => {
  const path = directory(t)
  const pins = join(path, 'pins')
  mkdirSync(pins)
  const lock = takeLock([pins])
  rmdirSync(pins)
  t.equal(lockOwner(pins), null)
  takeLock([pins]).release()
  lock.release()
})

t.test('what cannot be locked is named', async t => {
  const path = directory(t)
  writeFileSync(join(path, 'file'), '')
  t.throws(() => takeLock([join(path, 'file')]), { code: 'ERR_STATE', message: /file .*ENOTDIR/ })
  t.throws(() => takeLock(['/proc/linimo']), { code: 'ERR_STATE', message: /\/proc\/linimo .*ENOENT/ })
})

t.test('a lock holds in every network namespace, and goes with its process, however that ends', async t => {
  const path = directory(t)
  const program = join(path, 'holder.ts')
  const lockModule = fileURLToPath(new URL('../src/lock.ts', import.meta.url))
  writeFileSync(
    program,
    `import { takeLock } from ${JSON.stringify(lockModule)}
     takeLock([${JSON.stringify(path)}])
     process.send('held')
     setInterval(() => {}, 1000)`,
  )
  const isRoot = process.getuid?.() === 0
  const holder = isRoot
    ? fork(program, { execPath: 'unshare', execArgv: ['-n', process.execPath, '--import', 'tsx'] })
    : fork(program, { execArgv: ['--import', 'tsx'] })
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder, 'message')
  t.equal(lockOwner(path), holder.pid)
  t.throws(() => takeLock([path]), { code: 'ERR_ALREADY_RUNNING' })
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  takeLock([path]).release()
})
