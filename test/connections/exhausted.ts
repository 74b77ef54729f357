/** A pool in which nearly all is taken: what is free is found, and nothing is refused while something is. */
import t from 'tap'
import { VIP } from '../fixtures/cases.js'
import { connectionTables, times } from '../fixtures/connection-tables.js'
import { skip } from '../fixtures/native.js'
import { GATEWAY_MAC } from '../fixtures/tables.js'
import type { Flags } from '../model/connections.js'
import type { Pool } from '../model/tables.js'
import { type End, openSite, type Site, text } from './fixtures/site.js'

const none: Flags = { syn: false, ack: false, fin: false, rst: false }
const SYN: Flags = { ...none, syn: true }
const ACK: Flags = { ...none, ack: true }
const SYN_ACK: Flags = { ...none, syn: true, ack: true }

const client = (n: number): End => ({
  host: `198.51.${100 + (n >> 14)}.${(n >> 7) & 127}`,
  port: 1024 + (n & 127),
})
const vip = { host: VIP, port: 83 }
const server = { host: '10.9.2.4', port: 83 }

const fromClient = (site: Site, n: number, flags: Flags) =>
  site.send({ from: client(n), to: vip, protocol: 'tcp', flags, mac: GATEWAY_MAC })
const fromServer = (site: Site, local: End, flags: Flags) =>
  site.send({ from: server, to: local, protocol: 'tcp', flags, mac: GATEWAY_MAC })

const world = (
  ports: number,
  ranges: number,
  addresses: readonly string[] = ['10.200.0.1'],
): readonly Pool[] => [{ index: 1, addresses, firstPort: 2000, ports, ranges }]

interface Tap {
  fail(text: string): unknown
}

/** Opens so many, each established; their local ends. */
const open = (t: Tap, site: Site, from: number, count: number): Map<number, End> => {
  const locals = new Map<number, End>()
  for (let n = from; n < from + count; n++) {
    const { verdict, left } = fromClient(site, n, SYN)
    if (verdict !== 'TX_FULLNAT' || left === null) {
      t.fail(`connection ${n}: ${verdict}`)
      return locals
    }
    locals.set(n, left.from)
  }
  return locals
}
const establish = (site: Site, locals: ReadonlyMap<number, End>): void => {
  for (const [n, local] of locals) {
    fromServer(site, local, SYN_ACK)
    fromClient(site, n, ACK)
  }
}

for (const ranges of [1, 4])
  t.test(`every port of the pool is used, and no more, in ${ranges} ranges`, { skip }, async t => {
    const ports = 600
    const site = await openSite(
      t,
      connectionTables({ pools: world(ports, ranges, ['10.200.0.1', '10.200.0.2']) }),
    )
    site.dataPlane.setSeconds(1000)
    const locals = open(t, site, 0, 2 * ports)
    t.equal(new Set([...locals.values()].map(text)).size, 2 * ports)
    const refused = fromClient(site, 5000, SYN)
    t.equal(refused.verdict, 'TX_EXHAUSTED')
    t.same([refused.left?.from, refused.left?.to], [vip, client(5000)])
    t.equal(site.dataPlane.poolCounts(1).opened, 2 * ports)
    t.ok(site.dataPlane.poolCounts(1).refused > 0)
    for (const [n, local] of locals) t.same(fromServer(site, local, SYN_ACK).left?.to, client(n))
  })

for (const ranges of [1, 4])
  t.test(`few free ports among long runs of taken ones are found, in ${ranges} ranges`, { skip }, async t => {
    const ports = 3000
    const site = await openSite(t, connectionTables({ pools: world(ports, ranges) }))
    site.dataPlane.setSeconds(1000)
    const locals = open(t, site, 0, ports)
    // All but a few have come to stay; those few lie far apart, and together.
    const leaving = new Set([7, 1500, 1501, 2999])
    establish(site, new Map([...locals].filter(([n]) => !leaving.has(n))))
    const later = 1000 + times.synSent + 1
    site.dataPlane.setSeconds(later)
    const free = [...locals].filter(([n]) => leaving.has(n)).map(([, local]) => text(local))
    const found: string[] = []
    for (let i = 0; i < free.length; i++) {
      const { verdict, left } = fromClient(site, 10_000 + i, SYN)
      t.equal(verdict, 'TX_FULLNAT', `${free.length - i} are free`)
      if (left !== null) found.push(text(left.from))
    }
    t.same(found.sort(), free.sort())
    t.equal(fromClient(site, 20_000, SYN).verdict, 'TX_EXHAUSTED')
  })

t.test('half of the pool in one long run: the other half serves all new connections', { skip }, async t => {
  const ports = 4000
  const site = await openSite(t, connectionTables({ pools: world(ports, 2) }))
  site.dataPlane.setSeconds(1000)
  const locals = open(t, site, 0, ports)
  establish(site, new Map([...locals].slice(0, ports / 2)))
  let refused = 0
  for (let second = 1; second <= 20; second++) {
    site.dataPlane.setSeconds(1000 + times.synSent + second)
    for (let i = 0; i < 100; i++)
      if (fromClient(site, 10_000 + second * 100 + i, SYN).left === null) refused++
    for (const n of [...locals.keys()].slice(0, 5)) fromClient(site, n, ACK)
  }
  t.equal(refused, 0, 'with hundreds of ports free')
})

t.test('what ends makes room a second later at most', { skip }, async t => {
  const ports = 16
  const site = await openSite(t, connectionTables({ pools: world(ports, 1) }))
  let now = 1000
  site.dataPlane.setSeconds(now)
  const locals = open(t, site, 0, ports)
  establish(site, locals)
  t.equal(fromClient(site, 100, SYN).verdict, 'TX_EXHAUSTED')
  fromClient(site, 3, { ...none, rst: true })
  now += times.close
  site.dataPlane.setSeconds(now)
  t.equal(fromClient(site, 100, SYN).verdict, 'TX_EXHAUSTED', 'in the last second of a reset one')
  now += 1
  site.dataPlane.setSeconds(now)
  const { verdict, left } = fromClient(site, 100, SYN)
  t.equal(verdict, 'TX_FULLNAT')
  t.same(left?.from, locals.get(3))
  for (const [n, local] of locals)
    if (n !== 3) t.same(fromServer(site, local, ACK).left?.to, client(n), 'unharmed')
})
