/** ICMP errors about what a backend has sent: to that backend and no other, in its mode, the message as it came. */
import t from 'tap'
import { counting, hex } from '../fixtures/bytes.js'
import {
  ANY_PORT_VIP,
  CLIENT,
  CLIENT6,
  caseTables,
  DOWN_VIP,
  DOWN_VIP6,
  instance,
  OTHER,
  sent,
  VIP,
  VIP6,
  withMacs,
} from '../fixtures/cases.js'
import { errorKinds, errorTo, familyOf, minimal, packet } from '../fixtures/errors.js'
import { fragment } from '../fixtures/frames.js'
import { wrongChecksums } from '../fixtures/parse.js'
import {
  BALANCER_MAC,
  backendEntry,
  entryInterface,
  hashKeys,
  OUT_MAC,
  serviceEntry,
  tunnel,
} from '../fixtures/tables.js'
import { type Transport, tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'
import type { Tables } from '../model/tables.js'

const clientOf = (vip: string): string => (familyOf(vip) === 4 ? CLIENT : CLIENT6)
/** What a backend has sent from the VIP. */
const replyOf = (vip: string, transport: Transport): Uint8Array => packet(vip, clientOf(vip), transport)
const quotes = (whole: Uint8Array) => ({ whole, minimal: minimal(whole) })

/** Sixteen backends, each by another tunnel or none, so that the wrong one shows. */
const BACKENDS = Array.from({ length: 16 }, (_, i) => i + 1)
const manyTables: Tables = {
  hashKeys,
  services: VIPS.flatMap(vip =>
    (['tcp', 'udp'] as const).map(protocol => ({ vip, port: 80, protocol, owners: BACKENDS })),
  ).map((spec, id) => serviceEntry(id, spec)),
  backends: BACKENDS.map(id =>
    backendEntry(id, 0, {
      tunnel:
        id % 4 === 0
          ? null
          : tunnel(id % 4 === 1 ? 'ipip' : id % 4 === 2 ? 'gre' : 'gue', `10.9.0.${id}`, '10.9.0.254'),
    }),
  ),
  interfaces: [entryInterface],
  vips: [],
}

t.test('every kind of error, with every quote, goes to the flow’s own backend', async t => {
  const dataPlane = await instance(t, manyTables)
  const met = new Set<number>()
  for (const vip of VIPS)
    for (const build of [tcp, udp] as const)
      for (let port = 30000; port < 30060; port++) {
        const forward = dataPlane.run(sent(vip, build({ from: port, to: 80 }))).backend!
        met.add(forward.id)
        const reply = replyOf(vip, build({ from: 80, to: port }, counting(100)))
        const kinds = errorKinds[familyOf(vip)]
        const fields = kinds[port % kinds.length]!
        for (const [name, quote] of Object.entries(quotes(reply))) {
          const { verdict, backend } = dataPlane.run(errorTo(vip, fields, quote))
          t.equal(backend?.id, forward.id, `${vip}, port ${port}, ${name} quote`)
          t.match(verdict, /^TX_(DR|IPIP|GRE|GUE)$/)
        }
      }
  t.equal(met.size, BACKENDS.length, 'all backends had flows')
})

t.test('through every tunnel, the message as it came', async t => {
  const dataPlane = await instance(t, tunnelTables())
  for (const { port, name, tunnel } of variants)
    for (const vip of VIPS)
      for (const fields of errorKinds[familyOf(vip)])
        for (const [size, quote] of Object.entries(
          quotes(replyOf(vip, tcp({ from: port, to: 40000, flags: tcpFlags.ACK }, counting(300)))),
        )) {
          const bytes = errorTo(vip, fields, quote)
          const { verdict, packet: out } = dataPlane.run(bytes)
          t.equal(verdict, `TX_${tunnel.mode.toUpperCase()}`, `${name}, ${vip}, type ${fields.type}`)
          const { inner, outer } = unwrap(out)
          t.equal(hex(inner), hex(bytes.subarray(14)), `${name}, ${size} quote`)
          t.equal(outer.tos, 0xc0)
          t.same(wrongChecksums(out), [], name)
        }
})

t.test('by direct routing, and by another interface, too', async t => {
  const dataPlane = await instance(t)
  for (const vip of [VIP, VIP6])
    for (const fields of errorKinds[familyOf(vip)]) {
      const direct = errorTo(vip, fields, replyOf(vip, tcp({ from: 80, to: 40000 })))
      t.match(dataPlane.run(direct), {
        verdict: 'TX_DR',
        backend: { id: 1 },
        packet: withMacs(direct, backendEntry(1, 0).nextHopMac, BALANCER_MAC),
      })
      const redirected = errorTo(vip, fields, replyOf(vip, tcp({ from: 82, to: 40000 })))
      t.match(dataPlane.run(redirected), {
        action: 'REDIRECT',
        verdict: 'REDIRECT_DR',
        packet: withMacs(redirected, backendEntry(3, 0).nextHopMac, OUT_MAC),
      })
      const unresolved = errorTo(vip, fields, replyOf(vip, tcp({ from: 81, to: 40000 })))
      t.match(dataPlane.run(unresolved), { verdict: 'DROP_NO_NEXT_HOP', packet: unresolved })
    }
})

t.test('a service of every port gets the errors of every port', async t => {
  const dataPlane = await instance(t)
  for (const [port, id] of [
    [1, 4],
    [65535, 4],
    [8080, 1],
  ] as const) {
    const bytes = errorTo(
      ANY_PORT_VIP,
      { type: 3, code: 4, rest: 1300 },
      replyOf(ANY_PORT_VIP, tcp({ from: port, to: 4 })),
    )
    t.match(dataPlane.run(bytes), { verdict: 'TX_DR', backend: { id } }, `port ${port}`)
  }
})

t.test('counted by its backend, and opens no flow', async t => {
  const dataPlane = await instance(t)
  const bytes = errorTo(
    VIP,
    { type: 11, code: 0 },
    replyOf(VIP, tcp({ from: 80, to: 40000, flags: tcpFlags.SYN })),
  )
  dataPlane.runAll([bytes, bytes])
  t.same(dataPlane.backendCounts(1), {
    tx: { packets: 2, bytes: 2 * bytes.length },
    redirect: { packets: 0, bytes: 0 },
    syns: 0,
  })
})

t.test('without a backend it is dropped, never answered', async t => {
  const dataPlane = await instance(t)
  for (const vip of [DOWN_VIP, DOWN_VIP6])
    for (const transport of [tcp({ from: 80, to: 40000 }), udp({ from: 53, to: 40000 })]) {
      const bytes = errorTo(vip, { type: 3, code: 3 }, replyOf(vip, transport))
      t.match(dataPlane.run(bytes), { action: 'DROP', verdict: 'DROP_NO_BACKEND', packet: bytes })
    }
})

t.test('what is no error about a service’s packet is the host’s', async t => {
  const dataPlane = await instance(t)
  const passes = (bytes: Uint8Array, verdict = 'PASS_NOT_A_SERVICE', why = ''): void => {
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict, packet: bytes }, why)
  }
  for (const vip of [VIP, VIP6]) {
    const reply = replyOf(vip, tcp({ from: 80, to: 40000 }))
    const fields = errorKinds[familyOf(vip)][0]!
    passes(errorTo(vip, fields, replyOf(vip, tcp({ from: 12345, to: 40000 }))), undefined, 'another port')
    passes(errorTo(vip, fields, replyOf(vip, udp({ from: 80, to: 40000 }))), undefined, 'another protocol')
    passes(
      errorTo(vip, fields, packet(clientOf(vip), vip, tcp({ from: 40000, to: 80 }))),
      undefined,
      'the other direction',
    )
    passes(errorTo(vip, fields, reply.subarray(0, minimal(reply).length - 5)), undefined, 'the ports are cut')
    passes(errorTo(vip, fields, new Uint8Array(0)), undefined, 'nothing is quoted')
    passes(errorTo(vip, { type: 5, code: 1 }, reply), undefined, 'a redirect, or an unknown type')
    const other = vip === VIP ? 4 : 127
    passes(errorTo(vip, { type: other, code: 0 }, reply), undefined, 'source quench, or one to come')
    passes(errorTo(vip, fields, reply, { ethernet: { to: '02:00:00:00:00:ff' } }), 'PASS_OTHER_HOST')
  }
  passes(
    errorTo(OTHER, { type: 3, code: 3 }, replyOf(VIP, tcp({ from: 80, to: 40000 }))),
    undefined,
    'to another address',
  )
  const offset = sent(CLIENT, tcp({ from: 80, to: 40000 }), {
    ip: { from: VIP, fragmentOffset: 10 },
  }).subarray(14)
  passes(errorTo(VIP, { type: 3, code: 3 }, offset), undefined, 'a later fragment')
  const later = sent(CLIENT6, tcp({ from: 80, to: 40000 }), {
    ip: { from: VIP6, extensions: [fragment(10, false)] },
  })
  passes(errorTo(VIP6, { type: 1, code: 0 }, later.subarray(14)), undefined, 'a later fragment')
})

t.test('a first fragment, and options, are no hindrance', async t => {
  const dataPlane = await instance(t)
  const first = sent(CLIENT, tcp({ from: 80, to: 40000 }), {
    ip: { from: VIP, moreFragments: true, options: counting(8) },
  })
  t.equal(dataPlane.run(errorTo(VIP, { type: 3, code: 4, rest: 1300 }, first.subarray(14))).verdict, 'TX_DR')
  t.equal(
    dataPlane.run(errorTo(VIP, { type: 3, code: 4, rest: 1300 }, minimal(first.subarray(14)))).verdict,
    'TX_DR',
  )
})

t.test('nothing is noted of the path of a backend’s own packets', async t => {
  const dataPlane = await instance(t, tunnelTables())
  for (const vip of VIPS)
    for (const fields of errorKinds[familyOf(vip)]) {
      const reply = replyOf(vip, tcp({ from: variants[0]!.port, to: 40000 }))
      t.equal(dataPlane.run(errorTo(vip, fields, reply)).pathMtu, null)
    }
})

t.test('an error is no SYN and no RST of its flow, whatever it quotes', async t => {
  const dataPlane = await instance(t, caseTables)
  for (const flags of [tcpFlags.SYN, tcpFlags.RST, tcpFlags.FIN | tcpFlags.ACK]) {
    const bytes = errorTo(VIP, { type: 3, code: 1 }, replyOf(VIP, tcp({ from: 80, to: 40000, flags })))
    t.equal(dataPlane.run(bytes).verdict, 'TX_DR')
  }
  t.equal(dataPlane.backendCounts(1).syns, 0)
})
