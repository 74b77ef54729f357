import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../src/control/client.js'
import { encode } from '../../src/control/codec.js'
import type { Event } from '../../src/control/protocol.js'
import { BalancerError } from '../../src/errors.js'
import { startDaemon, temporaryDirectory } from './fixtures/daemon.js'
import { asNobody } from './fixtures/nobody.js'

const clientOf = async (t: Test, socketPath: string, timeoutMs?: number) => {
  const client = await connect({ socketPath, timeoutMs })
  t.teardown(() => client.close())
  return client
}

/** A server that does with a connection whatever the test wants. */
const listen = async (t: Test, onConnection: (socket: Socket) => void): Promise<string> => {
  const socketPath = join(temporaryDirectory(t), 'control.sock')
  const sockets = new Set<Socket>()
  const server: Server = createServer(socket => {
    sockets.add(socket)
    onConnection(socket)
  })
  await new Promise<void>(resolve => server.listen(socketPath, resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return socketPath
}

t.test('each method of the protocol has a method of the client', async t => {
  const client = await clientOf(t, (await startDaemon(t)).socketPath)
  t.match(await client.status(), { ready: true, services: [{ service: 'web' }] })
  t.match(await client.service.list(), [{ service: 'web', packets: '18446744073709551615' }])
  t.match(await client.service.show('web'), { vip: '192.0.2.10' })
  t.match(await client.backend.list(), [{ backend: 'b1' }, { backend: 'b2' }])
  t.match(await client.backend.list('web'), [{ backend: 'b1' }, { backend: 'b2' }])
  t.match(await client.backend.show('web', 'b2'), { health: 'down', reason: 'connection refused' })
  t.match(await client.backend.add('web', 'b4', { address: '10.0.0.14', weight: 3 }), {
    backend: 'b4',
    weight: 3,
  })
  t.match(await client.backend.set('web', 'b4', { weight: 5, mac: undefined }), { backend: 'b4', weight: 5 })
  t.match(await client.backend.drain('web', 'b4', { deadline: 600 }), {
    state: 'draining',
    drain: { remaining: 600 },
  })
  t.match(await client.backend.undrain('web', 'b4'), { state: 'enabled', drain: null })
  t.match(await client.backend.disable('web', 'b4'), { state: 'disabled' })
  t.match(await client.backend.enable('web', 'b4'), { state: 'enabled' })
  t.match(await client.backend.remove('web', 'b4', { now: true }), { service: 'web', backend: 'b4' })
  t.match(await client.ring.show('web', { slots: true, down: ['b1'] }), {
    owners: ['b1', null],
    backends: [{ slots: 0 }, {}],
  })
  t.same(await client.check(), { ok: true, warnings: ['eth1 is generic'] })
  t.match(await client.diff('same'), { changes: [], drift: [], impact: [], breaks: false })
  t.match(await client.apply(undefined, { force: true }), { changes: [{ name: 'web/b2' }] })
  t.match(await client.call('service.show', { service: 'web' }), { forward: 'dr' })
})

t.test("the daemon's errors are thrown with their code, hint and problems", async t => {
  const client = await clientOf(t, (await startDaemon(t)).socketPath)
  const error: unknown = await client.service.show('wbe').catch(error => error)
  t.type(error, BalancerError)
  t.match(error, {
    code: 'ERR_NOT_FOUND',
    message: 'there is no service "wbe"',
    hint: 'the services are web',
  })
  await t.rejects(client.apply('wieght: 1'), {
    code: 'ERR_CONFIG_INVALID',
    problems: [{ line: 3, column: 5 }],
  })
})

t.test('a code that this version does not know is kept', async t => {
  const socketPath = await listen(t, socket => {
    socket.on('data', () =>
      socket.write(encode({ id: 1, error: { code: 'ERR_FROM_LATER', message: 'm', hint: null } })),
    )
  })
  await t.rejects((await clientOf(t, socketPath)).status(), {
    code: 'ERR_FROM_LATER',
    message: 'm',
    hint: undefined,
  })
})

t.test('no socket, or one that nobody answers on, is ERR_NOT_REACHABLE with a hint', async t => {
  const directory = temporaryDirectory(t)
  await t.rejects(connect({ socketPath: join(directory, 'none') }), {
    code: 'ERR_NOT_REACHABLE',
    hint: /linimo run/,
  })
  await t.rejects(connect({ socketPath: join(directory, 'x'.repeat(200)) }), { code: 'ERR_NOT_REACHABLE' })
  await t.rejects(connect({ instance: 'no-such-instance' }), {
    code: 'ERR_NOT_REACHABLE',
    message: /\/run\/linimo\/no-such-instance\/control\.sock/,
  })
  await t.rejects(connect({ instance: '../..' }), { code: 'ERR_USAGE' })
})

t.test('a socket that may not be opened is ERR_NOT_PERMITTED', async t => {
  const { socketPath } = await startDaemon(t)
  chmodSync(socketPath, 0)
  await asNobody(() =>
    t.rejects(connect({ socketPath }), { code: 'ERR_NOT_PERMITTED', hint: /group linimo/ }),
  )
})

t.test('an answer that does not come is ERR_TIMEOUT, and one that comes late disturbs nothing', async t => {
  let answer: () => void = () => undefined
  const { socketPath } = await startDaemon(t, {
    check: () => new Promise(resolve => (answer = () => resolve({ ok: true, warnings: [] }))),
  })
  const client = await clientOf(t, socketPath)
  await t.rejects(client.call('check', {}, { timeoutMs: 20 }), { code: 'ERR_TIMEOUT', message: /check/ })
  answer()
  t.match(await client.status(), { ready: true })
})

t.test(
  'calls that wait when the connection ends fail with ERR_CONNECTION_LOST, and so do later ones',
  async t => {
    const socketPath = await listen(t, socket => void socket.once('data', () => socket.destroy()))
    const client = await clientOf(t, socketPath)
    const calls = await Promise.allSettled([client.status(), client.service.list()])
    for (const call of calls) t.match(call, { status: 'rejected', reason: { code: 'ERR_CONNECTION_LOST' } })
    await client.closed
    await t.rejects(client.status(), { code: 'ERR_CONNECTION_LOST' })
  },
)

t.test('why the daemon hangs up is told', async t => {
  const body = { code: 'ERR_BAD_REQUEST', message: 'too much', hint: null }
  const socketPath = await listen(
    t,
    socket => void socket.once('data', () => socket.end(encode({ id: null, error: body }))),
  )
  await t.rejects((await clientOf(t, socketPath)).status(), {
    code: 'ERR_CONNECTION_LOST',
    message: /too much/,
    cause: { code: 'ERR_BAD_REQUEST' },
  })
})

t.test('an answer that is no msgpack ends the connection; one for nobody is ignored', async t => {
  const garbage = await listen(t, socket => void socket.once('data', () => socket.write(Buffer.from([0xc1]))))
  await t.rejects((await clientOf(t, garbage)).status(), { code: 'ERR_CONNECTION_LOST', message: /0xc1/ })

  const strays = [
    null,
    5,
    {},
    { id: 99, result: 1 },
    { id: 'x', result: 1 },
    { id: 1, result: { ready: true } },
  ]
  const stray = await listen(
    t,
    socket =>
      void socket.once('data', () => socket.write(Buffer.concat(strays.map(s => encode(s as object))))),
  )
  t.same(await (await clientOf(t, stray)).status(), { ready: true })
})

t.test('a request too long for the daemon is refused before it is sent', async t => {
  const client = await clientOf(t, (await startDaemon(t)).socketPath)
  await t.rejects(client.apply('x'.repeat(2 ** 20)), { code: 'ERR_BAD_REQUEST' })
  t.match(await client.status(), { ready: true })
})

t.test('events come to each listener until it stops', async t => {
  const { socketPath, server } = await startDaemon(t)
  const client = await clientOf(t, socketPath)
  const [first, second]: [Event[], Event[]] = [[], []]
  const stop = await client.subscribe(event => first.push(event))
  await client.subscribe(event => second.push(event))
  const event = (name: string): Event => ({ kind: 'interface', name, mode: 'native', reason: null })
  server.publish(event('eth0'))
  await client.status()
  stop()
  server.publish(event('eth1'))
  await client.status()
  t.same(first, [event('eth0')])
  t.same(second, [event('eth0'), event('eth1')])
})

t.test('close ends the connection, for the process too', async t => {
  const client = await connect({ socketPath: (await startDaemon(t)).socketPath })
  const pending = client.status()
  pending.catch(() => undefined)
  await client.close()
  await t.rejects(pending, { code: 'ERR_CONNECTION_LOST' })
  await client.close()
})
