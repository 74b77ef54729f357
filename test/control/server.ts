import { fstatSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../src/control/client.js'
import { encode } from '../../src/control/codec.js'
import { MAX_REQUEST_BYTES, type Peer } from '../../src/control/protocol.js'
import { serve } from '../../src/control/server.js'
import { BalancerError } from '../../src/errors.js'
import { fakeHandlers, keepLog, PEER, startDaemon, temporaryDirectory } from './fixtures/daemon.js'
import { rawConnect } from './fixtures/raw.js'

t.test('a request is answered with its own id, a number or a string', async t => {
  const { socketPath } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  client.send({ id: 7, method: 'backend.show', params: { service: 'web', backend: 'b1' } })
  t.match(await client.next(), { id: 7, result: { service: 'web', backend: 'b1', packets: '10' } })
  client.send({ id: 'seven', method: 'status' })
  t.match(await client.next(), { id: 'seven', result: { ready: true } })
  client.send({ id: 8, method: 'status', params: null })
  t.match(await client.next(), { id: 8, result: { ready: true } }, 'nil parameters are none')
})

t.test('malformed messages are answered, and the connection goes on', async t => {
  const { socketPath } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  const cases: readonly (readonly [unknown, number | string | null, string])[] = [
    [null, null, 'ERR_BAD_REQUEST'],
    [5, null, 'ERR_BAD_REQUEST'],
    [[1, 2], null, 'ERR_BAD_REQUEST'],
    [{}, null, 'ERR_BAD_REQUEST'],
    [{ method: 'status' }, null, 'ERR_BAD_REQUEST'],
    [{ id: {}, method: 'status' }, null, 'ERR_BAD_REQUEST'],
    [{ id: 2n ** 63n, method: 'status' }, null, 'ERR_BAD_REQUEST'],
    [{ id: 1, method: 'status', more: 1 }, 1, 'ERR_BAD_REQUEST'],
    [{ id: 1 }, 1, 'ERR_BAD_REQUEST'],
    [{ id: 1, method: 5 }, 1, 'ERR_BAD_REQUEST'],
    [{ id: 1, method: 'statsu' }, 1, 'ERR_UNKNOWN_METHOD'],
    [{ id: 'x', method: 'toString' }, 'x', 'ERR_UNKNOWN_METHOD'],
    [{ id: 1, method: 'constructor' }, 1, 'ERR_UNKNOWN_METHOD'],
    [{ id: 1, method: 'status', params: 5 }, 1, 'ERR_BAD_REQUEST'],
    [{ id: 1, method: 'status', params: { now: true } }, 1, 'ERR_BAD_REQUEST'],
    [{ id: 1, method: 'backend.set', params: { service: 'web' } }, 1, 'ERR_BAD_REQUEST'],
    [
      { id: 1, method: 'backend.set', params: { service: 'web', backend: 'b1', weight: 1001 } },
      1,
      'ERR_BAD_REQUEST',
    ],
    [
      { id: 1, method: 'backend.set', params: { service: 'web', backend: 'b1', weight: 1.5 } },
      1,
      'ERR_BAD_REQUEST',
    ],
    [
      { id: 1, method: 'backend.show', params: { service: Buffer.from('web'), backend: 'b1' } },
      1,
      'ERR_BAD_REQUEST',
    ],
  ]
  for (const [message, id, code] of cases) {
    client.send(encode(message as object))
    const answer = await client.next()
    t.equal(answer.id, id)
    t.equal(answer.error?.code, code, answer.error?.message ?? 'no error')
  }
  client.send({ id: 1, method: 'status' })
  t.match(await client.next(), { id: 1, result: { ready: true } })
})

t.test('bytes that are no msgpack close the connection, after the reason; others are served on', async t => {
  const { socketPath, log } = await startDaemon(t)
  const other = await rawConnect(t, socketPath)
  for (const bytes of [[0xc1], [0xd6, 0xff, 0, 0, 0, 0], Array<number>(100).fill(0x91)]) {
    const client = await rawConnect(t, socketPath)
    client.send(encode({ id: 1, method: 'status' }))
    client.send(Buffer.from(bytes))
    const messages = await client.rest()
    t.equal(messages.length, 2, 'the good request before is answered too')
    t.match(
      messages.find(({ id }) => id === 1),
      { result: { ready: true } },
    )
    t.match(
      messages.find(({ id }) => id === null),
      { error: { code: 'ERR_BAD_REQUEST' } },
    )
    other.send({ id: 1, method: 'status' })
    t.match(await other.next(), { result: { ready: true } })
  }
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 3)
})

t.test('a request of 1 MiB is read; one longer closes the connection, after the reason', async t => {
  const { socketPath } = await startDaemon(t)
  const request = (length: number) => {
    const empty = encode({ id: 1, method: 'check', params: { config: 'x'.repeat(70_000) } }).length - 70_000
    return encode({ id: 1, method: 'check', params: { config: 'x'.repeat(length - empty) } })
  }
  t.equal(request(MAX_REQUEST_BYTES).length, MAX_REQUEST_BYTES)

  const fits = await rawConnect(t, socketPath)
  fits.send(request(MAX_REQUEST_BYTES))
  t.match(await fits.next(), { id: 1, result: { ok: true } })

  for (const bytes of [
    request(MAX_REQUEST_BYTES + 1),
    request(4 * MAX_REQUEST_BYTES),
    Buffer.from('dbffffffff', 'hex'),
  ]) {
    const client = await rawConnect(t, socketPath)
    client.send(bytes)
    t.match(await client.rest(), [
      { id: null, error: { code: 'ERR_BAD_REQUEST', hint: 'the connection is closed' } },
    ])
  }
})

t.test('a byte at a time is enough', async t => {
  const { socketPath } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  client.socket.setNoDelay(true)
  for (const byte of encode({ id: 1, method: 'backend.list', params: {} })) {
    client.send(Buffer.from([byte]))
    await new Promise(resolve => setImmediate(resolve))
  }
  t.match(await client.next(), { id: 1, result: [{ backend: 'b1' }, { backend: 'b2' }] })
})

t.test("requests may end the client's side: they are answered before the connection ends", async t => {
  const { socketPath } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  client.socket.end(
    Buffer.concat([encode({ id: 1, method: 'status' }), encode({ id: 2, method: 'service.list' })]),
  )
  t.same((await client.rest()).map(({ id }) => id).sort(), [1, 2])
})

t.test('5,000 requests at once are each answered once', async t => {
  const { socketPath } = await startDaemon(t)
  const client = await rawConnect(t, socketPath)
  const requests = Array.from({ length: 5000 }, (_, id) =>
    id % 2 === 0
      ? { id, method: 'backend.set', params: { service: 'web', backend: 'b1', weight: id % 1001 } }
      : { id, method: 'status' },
  )
  client.send(Buffer.concat(requests.map(encode)))
  const ids = new Set<unknown>()
  for (let i = 0; i < 5000; i++) {
    const { id, result } = await client.next()
    if (result === undefined) t.fail('an error')
    ids.add(id)
  }
  t.equal(ids.size, 5000)
})

t.test('answers come as they are ready, in any order', async t => {
  let finish: () => void = () => undefined
  const { socketPath } = await startDaemon(t, {
    check: () => new Promise(resolve => (finish = () => resolve({ ok: true, warnings: [] }))),
  })
  const client = await rawConnect(t, socketPath)
  client.send({ id: 1, method: 'check' })
  client.send({ id: 2, method: 'service.list' })
  t.equal((await client.next()).id, 2)
  finish()
  t.equal((await client.next()).id, 1)
})

t.test('two clients interleaved both get all of their own answers', async t => {
  const { socketPath } = await startDaemon(t)
  const clients = await Promise.all([1, 2].map(() => connect({ socketPath })))
  t.teardown(() => clients.map(client => client.close()))
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, i) =>
      clients[i % 2]!.backend.set('web', i % 2 ? 'b1' : 'b2', { weight: i }),
    ),
  )
  t.same(
    answers.map(({ backend, weight }) => [backend, weight]),
    answers.map((_, i) => [i % 2 ? 'b1' : 'b2', i]),
  )
})

t.test("a handler's BalancerError is the answer; any other is ERR_INTERNAL, and logged", async t => {
  const problems = [{ line: 1, column: 2, path: 'a', message: 'b', hint: null }]
  const { socketPath, log } = await startDaemon(t, {
    check: async () => {
      throw Object.assign(new BalancerError('ERR_CONFIG_INVALID', 'no good', { hint: 'look' }), { problems })
    },
    diff: async () => {
      throw new TypeError('x is not a function')
    },
    apply: () => {
      throw 'not even an error'
    },
    status: async () => ({ huge: 2n ** 80n }) as never,
  })
  const client = await rawConnect(t, socketPath)
  const ask = (method: string) => {
    client.send({ id: method, method })
    return client.next()
  }
  t.same(await ask('check'), {
    id: 'check',
    error: { code: 'ERR_CONFIG_INVALID', message: 'no good', hint: 'look', problems },
  })
  t.match(await ask('diff'), { id: 'diff', error: { code: 'ERR_INTERNAL', message: /x is not a function/ } })
  t.match(await ask('apply'), { id: 'apply', error: { code: 'ERR_INTERNAL', message: /not even an error/ } })
  t.match(
    await ask('status'),
    { id: 'status', error: { code: 'ERR_INTERNAL' } },
    'an answer that cannot be sent',
  )
  t.match(await ask('service.list'), { id: 'service.list', result: [{ service: 'web' }] })
  t.same(
    log.lines
      .filter(({ level }) => level === 'error')
      .map(({ fields }) => (fields as { method: string }).method),
    ['diff', 'apply', 'status'],
  )
})

t.test(
  'the peer is read once a connection from its descriptor, given to the handlers, logged with a change',
  async t => {
    const socketPath = join(temporaryDirectory(t), 'control.sock')
    const log = keepLog()
    const fds: number[] = []
    const peers: Peer[] = []
    const handlers = fakeHandlers()
    const server = await serve({
      socketPath,
      log,
      handlers: {
        ...handlers,
        'backend.set': (params, peer) => {
          peers.push(peer)
          return handlers['backend.set'](params, peer)
        },
      },
      peerOf: fd => {
        fds.push(fd)
        return PEER
      },
    })
    t.teardown(() => server.close())
    const client = await connect({ socketPath })
    t.teardown(() => client.close())
    await client.backend.set('web', 'b1', { weight: 2 })
    await client.backend.set('web', 'b1', { weight: 3 })
    await client.apply('secret: text')

    t.equal(fds.length, 1)
    t.ok(fstatSync(fds[0]!).isSocket())
    t.same(peers, [PEER, PEER])
    const changes = log.lines.filter(({ message }) => message.includes('changed'))
    t.same(
      changes.map(({ fields }) => fields),
      [
        { method: 'backend.set', params: { service: 'web', backend: 'b1', weight: 2 }, peer: PEER },
        { method: 'backend.set', params: { service: 'web', backend: 'b1', weight: 3 }, peer: PEER },
        { method: 'apply', peer: PEER },
      ],
    )
  },
)

t.test('a peer that cannot be told is refused, and the server lives', async t => {
  const socketPath = join(temporaryDirectory(t), 'control.sock')
  let isKnown = false
  const peerOf = () => {
    if (!isKnown) throw new Error('EBADF')
    return PEER
  }
  const server = await serve({ socketPath, handlers: fakeHandlers(), log: keepLog(), peerOf })
  t.teardown(() => server.close())
  t.same(await (await rawConnect(t, socketPath)).rest(), [])
  isKnown = true
  const client = await connect({ socketPath })
  t.match(await client.status(), { ready: true })
  await client.close()
})

t.test('events reach those who have subscribed, after their answer, and nobody else', async t => {
  const { socketPath, server } = await startDaemon(t)
  const [subscriber, other] = [await rawConnect(t, socketPath), await rawConnect(t, socketPath)]
  const event = { kind: 'health', service: 'web', backend: 'b1', health: 'down', reason: 'refused' } as const
  subscriber.send({ id: 1, method: 'subscribe' })
  t.match(await subscriber.next(), { id: 1, result: { subscribed: true } })
  server.publish(event)
  t.same(await subscriber.next(), { event: 'health', data: event })
  other.send({ id: 1, method: 'service.list' })
  t.equal((await other.next()).id, 1)
})

t.test('a subscriber that does not read is disconnected; one that does gets everything', async t => {
  const { socketPath, server, log } = await startDaemon(t)
  const slow = await rawConnect(t, socketPath)
  const quick = await connect({ socketPath })
  t.teardown(() => quick.close())
  slow.send({ id: 1, method: 'subscribe' })
  await slow.next()
  slow.socket.pause()
  let received = 0
  await quick.subscribe(() => received++)
  const reason = 'x'.repeat(10_000)
  const isCut = () => log.lines.some(({ message }) => message.includes('subscriber'))
  let published = 0
  while (!isCut() && published < 5000) {
    server.publish({ kind: 'interface', name: 'eth0', mode: null, reason })
    if (++published % 50 === 0) await quick.status() // the loop turns; what came before has been read
  }
  t.ok(isCut(), `${published} events of 10 kB`)
  await quick.status()
  t.equal(received, published)
})

t.test('a client that reads no answers is not read either: what it is owed stays bounded', async t => {
  let begun = 0
  const owners = Array<string>(50_000).fill('a-backend')
  const { socketPath } = await startDaemon(t, {
    'ring.show': async ({ service }) => {
      begun++
      return { service, size: owners.length, digest: '', backends: [], owners }
    },
  })
  const deaf = await rawConnect(t, socketPath)
  deaf.socket.pause()
  const request = { id: 1, method: 'ring.show', params: { service: 'web', slots: true } }
  deaf.send(Buffer.concat(Array.from({ length: 100 }, () => encode(request))))
  const client = await connect({ socketPath })
  t.teardown(() => client.close())
  for (let i = 0; i < 200; i++) await client.status()
  t.ok(begun < 40, `${begun} of 100 begun, 500 kB each`)

  deaf.socket.resume()
  for (let i = 0; i < 100; i++) await deaf.next()
  t.equal(begun, 100, 'they are all answered once it reads')
})
