/** NAT and FULLNAT through the tables that the control process writes: frames by the program itself. */
import t from 'tap'
import { Dataplane } from '../../src/dataplane/dataplane.js'
import { createTables } from '../../src/dataplane/tables.js'
import { mountBpffs } from '../fixtures/host.js'
import { inOwnNamespaces } from '../fixtures/native.js'
import { tcpFlags } from '../fixtures/transport.js'
import {
  BACKENDS,
  back,
  bring,
  CLIENT,
  configOf,
  connect,
  fill,
  fullnat,
  limits,
  loadTranslated,
  nat,
  request,
  SYN_ACK,
  send,
  shape,
} from './fixtures/translated.js'

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('NAT: to the backend’s address and port, and back', async t => {
    const { dataplane, tables } = await loadTranslated(t, {}, { web: nat('10.0.0.1') })
    const seen = connect(t, dataplane, request(1000))
    t.same(seen, { from: CLIENT, fromPort: 1000, to: '10.0.0.1', toPort: 8080 })
    t.equal(dataplane.shape.numbers, 0, 'no connections are kept')
    const count = tables.count('192.0.2.1:80/tcp', '10.0.0.1:8080')
    t.match(count, { tx: { packets: 2n }, replies: { tx: { packets: 1n } }, syns: 1n })
    const verdicts = await dataplane.counts.verdicts()
    t.equal(verdicts.get('TX_NAT')!.packets, 2n)
    t.equal(verdicts.get('TX_NAT_REPLY')!.packets, 1n)
    t.equal(verdicts.get('REDIRECT_NAT_REPLY')!.packets, 0n)
  })

  t.test('a backend that is taken out is answered for no longer; one that comes is', async t => {
    const { dataplane, tables } = await loadTranslated(t, {}, { web: nat('10.0.0.1') })
    connect(t, dataplane, request(1000))
    await bring(tables, configOf({}, { web: nat('10.0.0.2') }))
    const seen = connect(t, dataplane, request(1000))
    t.equal(seen.to, '10.0.0.2')
    t.equal(send(dataplane, back({ ...seen, to: '10.0.0.1' }), tcpFlags.ACK, BACKENDS), null)
    tables.remove(tables.identities())
    t.equal(send(dataplane, back(seen), tcpFlags.ACK, BACKENDS), null)
  })

  t.test('one backend of two services is told by the flow', async t => {
    const { dataplane, tables } = await loadTranslated(t, {}, { web: nat('10.0.0.1') })
    connect(t, dataplane, request(1000))
    const both = { web: nat('10.0.0.1'), other: nat('10.0.0.1', { vip: '192.0.2.2' }) }
    await bring(tables, configOf({ limits: { 'nat-flows': 1000 } }, both))
    t.equal(dataplane.shape.numbers, 1)
    connect(t, dataplane, request(2000))
    const seen = connect(t, dataplane, request(2001, '192.0.2.2'))
    t.same(send(dataplane, request(1000), tcpFlags.ACK), { ...seen, fromPort: 1000 }, 'the old flow goes on')
    t.same(
      send(dataplane, back({ ...seen, fromPort: 1000 }), tcpFlags.ACK, BACKENDS),
      back(request(1000)),
      'and its replies come from its own VIP',
    )
    t.same(
      send(dataplane, request(2001), tcpFlags.SYN),
      back(request(2001)),
      'two at once by the same client port cannot be told apart: the second is reset',
    )

    tables.remove(['192.0.2.2:80/tcp'])
    await bring(tables, configOf({}, { web: nat('10.0.0.1') }))
    await tables.fit(limits)
    t.equal(dataplane.shape.numbers, 0)
    connect(t, dataplane, request(3000))
  })

  t.test('a service on every port is told by the flow', async t => {
    const { dataplane } = await loadTranslated(
      t,
      {},
      { any: nat('10.0.0.1', { port: 0, backends: [{ address: '10.0.0.1' }] }) },
    )
    const seen = connect(t, dataplane, request(1000, '192.0.2.1', 4711))
    t.same(seen, { from: CLIENT, fromPort: 1000, to: '10.0.0.1', toPort: 4711 })
  })

  const POOL = { 'local-addresses': '10.1.0.100' }

  t.test('FULLNAT: from a local address and port', async t => {
    const { dataplane, tables } = await loadTranslated(t, POOL, { web: fullnat('10.0.0.1') })
    const seen = connect(t, dataplane, request(1000))
    t.match(seen, { from: '10.1.0.100', to: '10.0.0.1', toPort: 8080 })
    t.ok(seen.fromPort >= 1024)
    const verdicts = await dataplane.counts.verdicts()
    t.equal(verdicts.get('TX_FULLNAT')!.packets, 2n)
    t.equal(verdicts.get('TX_FULLNAT_REPLY')!.packets, 1n)
    t.match(tables.count('192.0.2.1:80/tcp', '10.0.0.1:8080').replies, { tx: { packets: 1n } })
  })

  t.test('connections live through every change of the pools, and of the seed', async t => {
    const { dataplane, tables } = await loadTranslated(t, POOL, { web: fullnat('10.0.0.1') })
    const seen = connect(t, dataplane, request(1000))
    const isThere = (why: string): void => {
      t.same(send(dataplane, request(1000), tcpFlags.ACK), seen, `${why}: requests`)
      t.same(send(dataplane, back(seen), tcpFlags.ACK, BACKENDS), back(request(1000)), `${why}: replies`)
    }
    const web = fullnat('10.0.0.1')
    const change = async (why: string, root: object, services: object = { web }) => {
      await bring(tables, configOf(root, services))
      isThere(why)
    }
    await change('one more before it', { 'local-addresses': ['10.1.0.99', '10.1.0.100'] })
    await change('IPv6 too', { 'local-addresses': ['10.1.0.98', '10.1.0.99', '10.1.0.100', 'fd00::1'] })
    await change('fewer ports', {
      'local-addresses': ['10.1.0.99', '10.1.0.100'],
      'local-ports': '60000-60099',
    })
    await tables.setSeed('f'.repeat(32))
    isThere('another seed')
    await change('a pool of its own besides', POOL, {
      web,
      other: fullnat('10.0.0.2', { vip: '192.0.2.2', 'local-addresses': ['10.1.0.7', '10.1.0.8'] }),
    })
    t.equal(connect(t, dataplane, request(1001, '192.0.2.2')).from.slice(0, 7), '10.1.0.')
    await change('its address taken out', { 'local-addresses': '10.1.0.101' })
    t.equal(connect(t, dataplane, request(1002)).from, '10.1.0.101')
    await change('SNAT too', { 'local-addresses': '10.1.0.101', snat: '10.2.0.0/24' })
    const out = { from: '10.2.0.5', fromPort: 5000, to: '203.0.113.9', toPort: 443 }
    const outside = send(dataplane, out, tcpFlags.SYN, BACKENDS)!
    t.equal(outside.from, '10.1.0.101')
    t.same(send(dataplane, back(outside), SYN_ACK), back(out))
    await change(
      'NAT by flow too',
      { 'local-addresses': '10.1.0.101' },
      {
        web,
        any: nat('10.0.0.3', { vip: '192.0.2.3', port: 0, backends: [{ address: '10.0.0.3' }] }),
      },
    )
    const flow = connect(t, dataplane, request(1003, '192.0.2.3', 99))
    await change(
      'other sizes',
      { 'local-addresses': ['10.1.0.101', '10.1.0.103'] },
      {
        web,
        any: nat('10.0.0.3', { vip: '192.0.2.3', port: 0, backends: [{ address: '10.0.0.3' }] }),
      },
    )
    t.same(send(dataplane, back(flow), tcpFlags.ACK, BACKENDS), back(request(1003, '192.0.2.3', 99)))
  })

  t.test('a process that finds the tables goes on with the connections', async t => {
    const pinDir = `${mountBpffs(t)}/linimo/translation`
    const options = { pinDir, shape, log: { debug() {}, info() {}, warn: t.comment, error: t.comment } }
    const config = configOf(POOL, { web: fullnat('10.0.0.1'), nat: nat('10.0.0.2', { vip: '192.0.2.2' }) })
    const first = await Dataplane.open(options)
    const tables = createTables(first, { now: () => performance.now() })
    await fill(first, tables)
    await bring(tables, config)
    await first.attach(1, 'generic')
    const [seen, other] = [connect(t, first, request(1000)), connect(t, first, request(1001, '192.0.2.2'))]
    await first.release()

    const second = await Dataplane.open(options)
    t.teardown(() => second.close())
    t.ok(second.isAdopted)
    const isThere = (why: string): void => {
      t.same(send(second, request(1000), tcpFlags.ACK), seen, `${why}: requests`)
      t.same(send(second, back(seen), tcpFlags.ACK, BACKENDS), back(request(1000)), `${why}: replies`)
      t.same(
        send(second, back(other), tcpFlags.ACK, BACKENDS),
        back(request(1001, '192.0.2.2')),
        `${why}: NAT`,
      )
    }
    isThere('at once')
    const again = createTables(second, { now: () => performance.now() })
    const { tag } = second
    await bring(again, config)
    t.equal(second.tag, tag)
    isThere('with the same configuration')
    await bring(
      again,
      configOf(
        { 'local-addresses': ['10.1.0.99', '10.1.0.100'] },
        {
          web: fullnat('10.0.0.1'),
          nat: nat('10.0.0.2', { vip: '192.0.2.2' }),
        },
      ),
    )
    isThere('with one more local address')
  })
}
