import { chmodSync, existsSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/control/client.js'
import { ensureNotRunning, serve } from '../../src/control/server.js'
import { fakeHandlers, keepLog, PEER, startDaemon, temporaryDirectory } from './fixtures/daemon.js'
import { asNobody } from './fixtures/nobody.js'
import { rawConnect } from './fixtures/raw.js'

t.test('the socket has mode 0660, in a directory 0755 that is made where missing', async t => {
  const directory = temporaryDirectory(t)
  const socketPath = join(directory, 'run', 'main', 'control.sock')
  const umask = process.umask(0o077)
  const server = await serve({
    socketPath,
    handlers: fakeHandlers(),
    log: keepLog(),
    peerOf: () => PEER,
  }).finally(() => process.umask(umask))
  t.teardown(() => server.close())
  t.equal(statSync(socketPath).mode & 0o777, 0o660)
  t.equal(statSync(join(directory, 'run')).mode & 0o777, 0o755)
  t.equal(statSync(join(directory, 'run', 'main')).mode & 0o777, 0o755)
  const group = /^linimo:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))?.[1]
  if (group !== undefined && process.geteuid?.() === 0) t.equal(statSync(socketPath).gid, Number(group))
})

t.test('a second daemon is refused, naming the first; the first is not disturbed', async t => {
  const { socketPath } = await startDaemon(t)
  const again = serve({ socketPath, handlers: fakeHandlers(), log: keepLog(), peerOf: () => PEER })
  await t.rejects(again, { code: 'ERR_ALREADY_RUNNING', message: /process 4242/ })
  await t.rejects(ensureNotRunning({ socketPath, peerOf: () => PEER }), { code: 'ERR_ALREADY_RUNNING' })
  await t.resolves(ensureNotRunning({ socketPath: `${socketPath}.none`, peerOf: () => PEER }))
  const client = await connect({ socketPath })
  t.match(await client.status(), { ready: true })
  await client.close()
})

t.test('a socket that nobody answers on is replaced; any other file is not', async t => {
  const directory = temporaryDirectory(t)
  const socketPath = join(directory, 'control.sock')
  const options = { socketPath, handlers: fakeHandlers(), log: keepLog(), peerOf: () => PEER }

  const dead = createServer().listen(join(directory, 'dead'))
  await new Promise(resolve => dead.once('listening', resolve))
  renameSync(join(directory, 'dead'), socketPath) // so that closing the server leaves the file
  await new Promise(resolve => dead.close(resolve))
  t.ok(existsSync(socketPath))
  const server = await serve(options)
  const client = await connect({ socketPath })
  t.match(await client.status(), { ready: true })
  await client.close()
  await server.close()
  t.notOk(existsSync(socketPath))

  writeFileSync(socketPath, 'precious')
  await t.rejects(serve(options), { code: 'ERR_CONFLICT' })
  t.equal(readFileSync(socketPath, 'utf8'), 'precious')
})

t.test('closing removes its own socket only', async t => {
  const socketPath = join(temporaryDirectory(t), 'control.sock')
  const options = { socketPath, handlers: fakeHandlers(), log: keepLog(), peerOf: () => PEER }
  const first = await serve(options)
  unlinkSync(socketPath)
  const second = await serve(options)
  await first.close()
  t.ok(existsSync(socketPath))
  const client = await connect({ socketPath })
  t.match(await client.status(), { ready: true })
  await client.close()
  await second.close()
  t.notOk(existsSync(socketPath))
})

t.test('of two daemons that start at once on a dead socket one wins', async t => {
  const socketPath = join(temporaryDirectory(t), 'control.sock')
  const options = { socketPath, handlers: fakeHandlers(), log: keepLog(), peerOf: () => PEER }
  const results = await Promise.allSettled([serve(options), serve(options), serve(options)])
  const running = results.filter(result => result.status === 'fulfilled')
  t.equal(running.length, 1)
  for (const result of results)
    if (result.status === 'rejected') t.equal(result.reason.code, 'ERR_ALREADY_RUNNING')
  await running[0]?.value.close()
})

t.test('a path too long for a socket, or one that may not be written, is said', async t => {
  const directory = temporaryDirectory(t)
  const options = { handlers: fakeHandlers(), log: keepLog(), peerOf: () => PEER }
  await t.rejects(serve({ ...options, socketPath: join(directory, 'x'.repeat(120)) }), { code: 'ERR_USAGE' })
  chmodSync(directory, 0o555)
  const socketPath = join(directory, 'control.sock')
  await asNobody(() => t.rejects(serve({ ...options, socketPath }), { code: 'ERR_NOT_PERMITTED' }))
  chmodSync(directory, 0o755)
})

t.test('closing ends every connection', async t => {
  const { socketPath, server } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  client.send({ id: 1, method: 'subscribe' })
  await client.next()
  await server.close()
  t.same(await client.rest(), [])
})
