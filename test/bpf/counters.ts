import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { caseTables, DOWN_VIP, DOWN_VIP6, instance, OTHER, sent, VIP, VIP6 } from '../fixtures/cases.js'
import { ENTRY_IFINDEX, type Traffic } from '../fixtures/data-plane.js'
import { seededRandom } from '../fixtures/random.js'
import { randomFrame } from '../fixtures/random-frames.js'
import { mixedTables } from '../fixtures/tables.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { balance } from '../model/balancer.js'

const { FIN, SYN, RST, PSH, ACK } = tcpFlags
/** By its backend's mode. */
/** By backend: what goes to it, and its replies; the action comes first. */
const FORWARDED = /^([A-Z]+)_(DR|IPIP|GRE|GUE|NAT|FULLNAT)(_REPLY)?$/
const nothing: Traffic = { packets: 0, bytes: 0 }

t.test('a packet that is not forwarded is counted by its verdict, with the bytes that came in', async t => {
  const dataPlane = await instance(t)
  const frames = {
    PASS_NOT_A_SERVICE: sent(OTHER, tcp({ from: 1, to: 80 }, counting(100))),
    PASS_FRAGMENT: sent(VIP, tcp({ from: 1, to: 80 }), { ip: { moreFragments: true } }),
    DROP_NO_NEXT_HOP: sent(VIP6, tcp({ from: 1, to: 81 }, counting(9))),
    DROP_NO_BACKEND: sent(DOWN_VIP, tcp({ from: 1, to: 81 })),
    TX_REJECT_RST: sent(DOWN_VIP, tcp({ from: 1, to: 80 }, counting(300))),
    TX_REJECT_UNREACHABLE: sent(DOWN_VIP6, udp({ from: 1, to: 53 }, counting(1400))),
  }
  for (const [verdict, frame] of Object.entries(frames)) t.equal(dataPlane.run(frame).verdict, verdict)
  t.same(
    dataPlane.verdictCounts(),
    Object.fromEntries(
      Object.entries(frames).map(([verdict, frame]) => [verdict, { packets: 1, bytes: frame.length }]),
    ),
  )
})

t.test('a forwarded packet is counted by its backend and way out, and by no verdict', async t => {
  const dataPlane = await instance(t)
  const [small, large] = [
    sent(VIP, udp({ from: 1, to: 53 })),
    sent(VIP6, udp({ from: 1, to: 53 }, counting(500))),
  ]
  const redirected = sent(VIP, tcp({ from: 1, to: 82, flags: ACK }))
  dataPlane.runAll([small, large, small, redirected])
  t.same(dataPlane.verdictCounts(), {})
  t.same(dataPlane.backendCounts(1), {
    tx: { packets: 3, bytes: 2 * small.length + large.length },
    redirect: nothing,
    syns: 0,
  })
  t.same(dataPlane.backendCounts(3), {
    tx: nothing,
    redirect: { packets: 1, bytes: redirected.length },
    syns: 0,
  })
  t.same(dataPlane.backendCounts(2), { tx: nothing, redirect: nothing, syns: 0 })
})

t.test('only a SYN without ACK opens a flow, and only TCP has one', async t => {
  const dataPlane = await instance(t)
  const withFlags = (flags: number) => sent(VIP, tcp({ from: 1, to: 80, flags }))
  for (const flags of [ACK, SYN | ACK, FIN, RST, PSH | ACK, 0]) dataPlane.run(withFlags(flags))
  dataPlane.run(sent(VIP, udp({ from: 1, to: 53 }, counting(64).fill(2))))
  t.equal(dataPlane.backendCounts(1).syns, 0)
  for (const flags of [SYN, SYN | PSH, SYN | 0xc0]) dataPlane.run(withFlags(flags))
  t.equal(dataPlane.backendCounts(1).syns, 3)
  dataPlane.run(sent(VIP6, tcp({ from: 1, to: 82 })))
  t.equal(dataPlane.backendCounts(3).syns, 1, 'redirected ones too')
})

t.test('a service’s packets that are not forwarded are counted by service', async t => {
  const dataPlane = await instance(t)
  const id = caseTables.services.find(service => service.name === 'down-web' && service.vip === DOWN_VIP)!.id
  const frame = sent(DOWN_VIP, tcp({ from: 1, to: 80 }, counting(10)))
  dataPlane.runAll([frame, frame])
  t.same(dataPlane.serviceCounts(id), { packets: 2, bytes: 2 * frame.length })
  const web = caseTables.services[0]!.id
  dataPlane.run(sent(VIP, tcp({ from: 1, to: 80 })))
  t.same(dataPlane.serviceCounts(web), nothing)
})

t.test('over random traffic, every packet is counted exactly once', async t => {
  const tables = mixedTables()
  const dataPlane = await instance(t, tables)
  const random = seededRandom(99)
  const frames = Array.from({ length: 5000 }, () => randomFrame(random, tables))
  dataPlane.runAll(frames)

  const expected: Record<string, { packets: number; bytes: number }> = {}
  for (const frame of frames) {
    const { verdict, backend } = balance(tables, frame, ENTRY_IFINDEX)
    const [, action, , reply] = FORWARDED.exec(verdict) ?? []
    const key = action ? `${action}${reply ?? ''} ${backend?.id}` : verdict
    expected[key] ??= { packets: 0, bytes: 0 }
    expected[key].packets++
    expected[key].bytes += frame.length
  }
  const counted: Record<string, Traffic> = { ...dataPlane.verdictCounts() }
  for (const { id } of tables.backends) {
    const { tx, redirect } = dataPlane.backendCounts(id)
    if (tx.packets > 0) counted[`TX ${id}`] = tx
    if (redirect.packets > 0) counted[`REDIRECT ${id}`] = redirect
    const replies = dataPlane.replyCounts(id)
    if (replies.tx.packets > 0) counted[`TX_REPLY ${id}`] = replies.tx
    if (replies.redirect.packets > 0) counted[`REDIRECT_REPLY ${id}`] = replies.redirect
  }
  t.same(counted, expected)
})
