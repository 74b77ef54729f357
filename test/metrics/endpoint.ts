import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Status } from '../../src/control/protocol.js'
import { createEndpoint } from '../../src/metrics/endpoint.js'
import { createExposition } from '../../src/metrics/exposition.js'
import { fakeHandlers, keepLog, PEER } from '../control/fixtures/daemon.js'

const status = (): Promise<Status> => fakeHandlers().status({}, PEER)

/** A listener of somebody else's; or only its port, when it is closed again. */
const occupy = async (t: Test): Promise<{ readonly server: Server; readonly port: number }> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  return { server, port: (server.address() as { port: number }).port }
}
const freePort = async (t: Test): Promise<number> => {
  const { server, port } = await occupy(t)
  await new Promise(resolve => server.close(resolve))
  return port
}

const at = (port: number) => ({ listen: { address: '127.0.0.1', port } })

const start = async (t: Test) => {
  const log = keepLog()
  const endpoint = createEndpoint(createExposition(), log)
  t.teardown(() => endpoint.close())
  const port = await freePort(t)
  await endpoint.open(at(port))
  return { endpoint, port, log }
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** On a connection of its own. */
const get = (port: number, path = '/metrics', method = 'GET', body = ''): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, agent: false }, answer => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
      })
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }))
      answer.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })

/** Says something, and gives everything that comes back until the connection ends. */
const say = async (port: number, text: string): Promise<string> => {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    answer += chunk
  })
  socket.on('error', () => undefined)
  socket.write(text)
  await once(socket, 'close')
  return answer
}

t.test('metrics are text for GET, nothing but heads for HEAD', async t => {
  const { endpoint, port } = await start(t)
  endpoint.serve(status)
  const response = await get(port)
  t.equal(response.status, 200)
  t.match(response.headers['content-type'], 'text/plain; version=0.0.4')
  t.match(response.text, 'linimo_ready 1\n')
  t.equal((await get(port, '/metrics?debug=1')).status, 200)
  const head = await get(port, '/metrics', 'HEAD')
  t.equal(head.status, 200)
  t.ok(Number(head.headers['content-length']) > 1000)
  t.equal(head.text, '')
  t.same(endpoint.status(), { listen: `127.0.0.1:${port}`, error: null })
})

t.test('anything else is refused in words, and nothing of it does harm', async t => {
  const { endpoint, port } = await start(t)
  endpoint.serve(status)
  const elsewhere = await get(port, '/')
  t.equal(elsewhere.status, 404)
  t.match(elsewhere.text, '/metrics')
  const post = await get(port, '/metrics', 'POST', 'x')
  t.equal(post.status, 405)
  t.equal(post.headers.allow, 'GET, HEAD')
  for (const nonsense of [
    '\x16\x03\x01\x02\x00',
    'GET /metrics HTTP/9.9\r\n\r\n',
    'GET /metrics HTTP/1.1\r\nx\r\n\r\n',
  ])
    t.match(await say(port, nonsense), /^HTTP\/1\.1 400 /)
  t.match(
    await say(port, `GET /metrics HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`),
    /^HTTP\/1\.1 4\d\d /,
  )
  t.equal((await get(port)).status, 200)
})

t.test('before there is something to say, and when it cannot be said, the answer is 503', async t => {
  const { endpoint, port } = await start(t)
  const early = await get(port)
  t.equal(early.status, 503)
  t.match(early.text, 'starting')
  endpoint.serve(async () => {
    throw new Error('the map has gone')
  })
  const failed = await get(port)
  t.equal(failed.status, 503)
  t.match(failed.text, 'the map has gone')
  endpoint.serve(status)
  t.equal((await get(port)).status, 200)
})

t.test('scrapes at one time share one reading', async t => {
  const { endpoint, port } = await start(t)
  let readings = 0
  const waiting: (() => void)[] = []
  const asked = new Promise<void>(resolve =>
    endpoint.serve(async () => {
      readings++
      resolve()
      await new Promise<void>(go => waiting.push(go))
      return status()
    }),
  )
  const sockets = await Promise.all(
    Array.from({ length: 8 }, async (): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1').setEncoding('utf8')
      await once(socket, 'connect')
      socket.write('GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n')
      return socket
    }),
  )
  await asked
  // A request on a connection that was taken after theirs is answered after they have been read.
  t.equal((await get(port, '/')).status, 404)
  for (const go of waiting) go()
  for (const socket of sockets) {
    t.match((await once(socket, 'data'))[0], 'HTTP/1.1 200 OK')
    socket.destroy()
  }
  t.equal(readings, 1)
})

t.test('hundreds of connections that say nothing are bounded, and end by themselves', async t => {
  const { endpoint, port } = await start(t)
  endpoint.serve(status)
  const idle = Array.from({ length: 300 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
  t.teardown(() => {
    for (const socket of idle) socket.destroy()
  })
  const ended = idle.map(async socket => {
    socket.resume()
    await once(socket, 'close')
  })
  await Promise.all(ended)
  t.equal((await get(port)).status, 200, 'then there is room again')
})

t.test('a port that is taken is a conflict at the start, named', async t => {
  const { port } = await occupy(t)
  const endpoint = createEndpoint(createExposition(), keepLog())
  t.teardown(() => endpoint.close())
  await t.rejects(endpoint.open(at(port)), {
    code: 'ERR_CONFLICT',
    message: `metrics: 127.0.0.1:${port} cannot be listened on: the port is taken`,
    hint: /http\.listen/,
  })
})

t.test('an address that this host has not is waited for', async t => {
  const log = keepLog()
  const endpoint = createEndpoint(createExposition(), log)
  t.teardown(() => endpoint.close())
  await endpoint.open({ listen: { address: '192.0.2.77', port: 9464 } })
  t.same(endpoint.status(), {
    listen: '192.0.2.77:9464',
    error: '192.0.2.77:9464 cannot be listened on: this host has no such address',
  })
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 1)
})

t.test('what is asked for after the end opens nothing', async t => {
  const endpoint = createEndpoint(createExposition(), keepLog())
  const port = await freePort(t)
  await endpoint.close()
  t.equal(await endpoint.follow(at(port)), null)
  await t.rejects(get(port))
})

t.test('another address at run time: the new one is served, the old one is not', async t => {
  const { endpoint, port } = await start(t)
  endpoint.serve(status)
  const next = await freePort(t)
  t.equal(await endpoint.follow(at(next)), null)
  t.equal((await get(next)).status, 200)
  await t.rejects(get(port))
  t.equal(
    await endpoint.follow({ listen: { address: '', port: next } }),
    null,
    'the same port on every address',
  )
  t.equal((await get(next)).status, 200)
  t.equal(await endpoint.follow(null), null)
  await t.rejects(get(next))
  t.equal(endpoint.status(), null)
})

t.test('an address that cannot be had at run time is a warning, and the old one goes on', async t => {
  const { endpoint, port, log } = await start(t)
  endpoint.serve(status)
  const busy = await occupy(t)
  t.match(
    await endpoint.follow(at(busy.port)),
    `127.0.0.1:${busy.port} cannot be listened on: the port is taken`,
  )
  t.match(endpoint.status(), { listen: `127.0.0.1:${busy.port}`, error: /the port is taken/ })
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 1)
  t.equal((await get(port)).status, 200)
  t.match(
    await endpoint.follow({ listen: { address: '192.0.2.77', port } }),
    'no such address',
    'on the same port the old one has to go first',
  )
  t.equal((await get(port)).status, 200, 'and comes back')
  t.equal(await endpoint.follow(at(port)), null)
  t.same(endpoint.status(), { listen: `127.0.0.1:${port}`, error: null })
})
