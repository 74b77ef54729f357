import { createServer as createHttp, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import t, { type Test } from 'tap'
import { probe } from '../../src/health/probe.js'
import type { HealthCheck } from '../../src/model.js'

const check = (changes: Partial<HealthCheck> = {}): HealthCheck => ({
  type: 'http',
  port: null,
  intervalMs: 1000,
  timeoutMs: 300,
  rise: 1,
  fall: 1,
  initiallyUp: false,
  path: '/healthz',
  host: null,
  expect: [{ from: 200, to: 399 }],
  ...changes,
})

const listen = async (t: Test, server: Server | HttpServer, host = '127.0.0.1') => {
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  t.teardown(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  return { address: host, port: (server.address() as AddressInfo).port, vip: '192.0.2.10' }
}

t.test('tcp: a connection made passes, one refused does not', async t => {
  const target = await listen(
    t,
    createServer(socket => socket.destroy()),
  )
  t.same(await probe(check({ type: 'tcp' }), target), { ok: true })
  const free = await listen(t, createServer())
  const unused = { ...free, address: '127.0.0.2' }
  t.same(await probe(check({ type: 'tcp' }), unused), {
    ok: false,
    reason: `tcp 127.0.0.2:${free.port}: connection refused`,
  })
})

t.test('http: the status decides, the request is the one configured', async t => {
  const seen: string[] = []
  let status = 200
  const target = await listen(
    t,
    createHttp((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.host}`)
      response.writeHead(status).end('hello')
    }),
  )
  t.same(await probe(check(), target), { ok: true })
  t.same(await probe(check({ host: 'shop.example', path: '/x?y=1' }), target), { ok: true })
  t.same(seen, ['GET /healthz 192.0.2.10', 'GET /x?y=1 shop.example'])
  status = 503
  t.same(await probe(check(), target), {
    ok: false,
    reason: `http 127.0.0.1:${target.port}/healthz: status 503`,
  })
  t.same(await probe(check({ expect: [{ from: 503, to: 503 }] }), target), { ok: true })
})

t.test('http: a redirect is an answer, and is not followed', async t => {
  let requests = 0
  const target = await listen(
    t,
    createHttp((_, response) => {
      requests++
      response.writeHead(302, { location: '/elsewhere' }).end()
    }),
  )
  t.same(await probe(check(), target), { ok: true })
  t.equal(requests, 1)
})

t.test('whoever accepts and says nothing, or never ends, has failed when the time is up', async t => {
  const mute = await listen(
    t,
    createServer(() => {}),
  )
  t.match(await probe(check(), mute), { ok: false, reason: /no answer within 300 ms/ })
  const endless = await listen(
    t,
    createHttp((_, response) => void response.writeHead(200).write('...')),
  )
  t.match(await probe(check(), endless), { ok: false, reason: /no answer within 300 ms/ })
})

t.test('whoever talks something else than HTTP has failed', async t => {
  const target = await listen(
    t,
    createServer(socket => socket.end('220 smtp.example ready\r\n')),
  )
  t.match(await probe(check(), target), { ok: false })
})

t.test('IPv6 addresses stand in brackets', async t => {
  const target = await listen(
    t,
    createHttp((_, response) => void response.writeHead(500).end()),
    '::1',
  )
  t.match(await probe(check(), target), {
    ok: false,
    reason: `http [::1]:${target.port}/healthz: status 500`,
  })
})
