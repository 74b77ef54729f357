/** The decapsulator, frame by frame. What comes out is compared with the inner packet in a frame of its own. */
import t, { type Test } from 'tap'
import { concat, counting } from '../fixtures/bytes.js'
import {
  destinationOptions,
  fragment,
  frame,
  hopByHop,
  ipv4,
  ipv6,
  type Payload,
  raw,
  routing,
  type Tag,
} from '../fixtures/frames.js'
import { skip } from '../fixtures/native.js'
import { icmp, other, type Transport, tcp, udp } from '../fixtures/transport.js'
import {
  BALANCER4,
  BALANCER6,
  bareGue,
  CLIENT4,
  CLIENT6,
  gre,
  gue,
  ipip,
  OWN4,
  OWN6,
  openDecapsulator,
  outer4,
  outer6,
  VIP4,
  VIP6,
} from './fixtures/tunnelled.js'

const PASS = 2
const DROP = 1
const link = { to: '02:00:00:00:00:02', from: '02:00:00:00:00:01' }
const tagged: readonly (readonly Tag[])[] = [[], [{ tci: 100 }], [{ tpid: 0x88a8, tci: 7 }, { tci: 0x6064 }]]

const inner4 = (payload = counting(100), changes = {}): Payload =>
  ipv4({ from: CLIENT4, to: VIP4, ttl: 57, id: 4711, ...changes }, tcp({ from: 40000, to: 80 }, payload))
const inner6 = (payload = counting(100), changes = {}): Payload =>
  ipv6(
    { from: CLIENT6, to: VIP6, hopLimit: 57, flowLabel: 0xabcde, ...changes },
    udp({ from: 40000, to: 443 }, payload),
  )
const inners = { IPv4: inner4(), IPv6: inner6() }
const outers = { IPv4: outer4, IPv6: outer6 }

/** Every way to put a packet into a tunnel. */
const ways: Readonly<Record<string, readonly [verdict: string, wrap: (inner: Payload) => Transport]>> = {
  IPIP: ['DECAP_IPIP', ipip],
  GRE: ['DECAP_GRE', inner => gre(inner)],
  'GRE with a key': ['DECAP_GRE', inner => gre(inner, { key: 0xdeadbeef })],
  'GRE with a checksum': ['DECAP_GRE', inner => gre(inner, { hasChecksum: true })],
  'GRE with all it may have': ['DECAP_GRE', inner => gre(inner, { hasChecksum: true, key: 7, sequence: 9 })],
  GUE: ['DECAP_GUE', inner => gue(inner)],
  'GUE with optional fields': ['DECAP_GUE', inner => gue(inner, { words: 3 })],
  'GUE with all fields that there can be': ['DECAP_GUE', inner => gue(inner, { words: 31 })],
  'GUE without a checksum': ['DECAP_GUE', inner => gue(inner, { checksum: 0 })],
  'bare GUE': ['DECAP_GUE', inner => bareGue(inner)],
}

t.test('the inner packet arrives as it was, in the frame of the outer one', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  for (const [way, [verdict, wrap]] of Object.entries(ways))
    for (const [outerName, outer] of Object.entries(outers))
      for (const [innerName, inner] of Object.entries(inners))
        for (const tags of tagged)
          t.same(
            run(frame({ ...link, tags }, outer(wrap(inner)))),
            { action: PASS, verdict, packet: frame({ ...link, tags }, inner) },
            `${way}, ${innerName} in ${outerName}, ${tags.length} VLAN tags`,
          )
})

t.test('any inner packet to a VIP will do', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  const packets = {
    'with options': inner4(counting(5), { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0) }),
    'the first fragment': inner4(counting(64), { moreFragments: true }),
    'a later fragment': ipv4({ from: CLIENT4, to: VIP4, fragmentOffset: 9 }, other(17, counting(3))),
    'an ICMP error': ipv4({ from: CLIENT4, to: VIP4 }, icmp({ type: 3, code: 4, rest: 1400 }, counting(28))),
    'with extension headers': inner6(counting(9), { extensions: [hopByHop(1), fragment(0, true)] }),
    'without payload': ipv4({ from: CLIENT4, to: VIP4 }, other(6)),
    'a SYN with a checksum that is wrong': inner4(counting(1), { checksum: 0x1234 }),
    'of full size': inner4(counting(1440)),
  }
  for (const [name, inner] of Object.entries(packets))
    for (const outer of Object.values(outers))
      t.same(
        run(frame(link, outer(ipip(inner)))),
        { action: PASS, verdict: 'DECAP_IPIP', packet: frame(link, inner) },
        name,
      )
})

t.test('outer headers with options are taken off whole', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  for (const length of [1, 4, 39, 40])
    t.match(run(frame(link, outer4(ipip(inner4()), { options: new Uint8Array(length).fill(1) }))), {
      verdict: 'DECAP_IPIP',
      packet: frame(link, inner4()),
    })
  for (const extensions of [[destinationOptions()], [hopByHop(2), destinationOptions(1)]])
    t.match(run(frame(link, outer6(gre(inner6()), { extensions }))), {
      verdict: 'DECAP_GRE',
      packet: frame(link, inner6()),
    })
})

t.test('padding behind the outer packet stays behind the inner one', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  const tiny = ipv4({ from: CLIENT4, to: VIP4 }, other(6, counting(3)))
  const { verdict, packet } = run(frame({ ...link, padTo: 60 }, outer4(ipip(tiny))))
  t.equal(verdict, 'DECAP_IPIP')
  t.same(packet, frame({ ...link, padTo: 40 }, tiny))
})

/** RFC 6040, figure 4: by the inner ECN field and the outer one. null: drop. */
const combined = [
  [0, 0, 0, null],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
] as const

t.test('the mark of congestion is passed on as RFC 6040 has it', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  for (const inner of [0, 1, 2, 3])
    for (const outer of [0, 1, 2, 3]) {
      const arriving = combined[inner]?.[outer] ?? null
      for (const dscp of [0, 46 << 2, 63 << 2]) {
        const title = `inner ${inner}, outer ${outer}, DSCP ${dscp >> 2}`
        const in4 = (ecn: number) => inner4(counting(9), { tos: dscp | ecn })
        const in6 = (ecn: number) => inner6(counting(9), { trafficClass: dscp | ecn })
        for (const [at, packet] of [
          [frame(link, outer4(ipip(in4(inner)), { tos: outer })), in4],
          [frame(link, outer6(gue(in4(inner)), { trafficClass: 0xf0 | outer })), in4],
          [frame(link, outer4(gre(in6(inner)), { tos: 0xf0 | outer })), in6],
          [frame(link, outer6(ipip(in6(inner)), { trafficClass: outer })), in6],
        ] as const) {
          const found = run(at)
          if (arriving === null) t.same([found.action, found.verdict], [DROP, 'DROP_CONGESTION'], title)
          else t.same([found.action, found.packet], [PASS, frame(link, packet(arriving))], title)
        }
      }
    }
})

/** A wrong inner checksum must not become right. */
t.test('a mark does not mend a broken header', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  const broken = inner4(counting(9), { tos: 2, checksum: 0x1234 })
  const { packet } = run(frame(link, outer4(ipip(broken), { tos: 3 })))
  const header = packet.subarray(14, 34)
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += header[i]! * 256 + header[i + 1]!
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  t.equal(header[1], 3)
  t.not(sum, 0xffff)
})

const untouched = (
  t: Test,
  run: (f: Uint8Array) => object,
  cases: Readonly<Record<string, readonly [string, Uint8Array]>>,
) => {
  for (const [name, [verdict, sent]] of Object.entries(cases))
    t.same(run(sent), { action: PASS, verdict, packet: sent }, name)
}

t.test('what is not for here goes on untouched, byte for byte', { skip }, async t => {
  const { run } = await openDecapsulator(t, { ports: [6080, 7000] })
  const strange = '10.0.0.12'
  untouched(t, run, {
    ARP: ['PASS_NO_TUNNEL', frame(link, raw(0x0806, counting(28)))],
    'TCP to this host': [
      'PASS_NO_TUNNEL',
      frame(link, ipv4({ from: CLIENT4, to: OWN4 }, tcp({ from: 1, to: 22 }))),
    ],
    'UDP to another port': ['PASS_NO_TUNNEL', frame(link, outer4(gue(inner4(), { port: 6081 })))],
    'three VLAN tags': [
      'PASS_NO_TUNNEL',
      frame({ ...link, tags: [{ tci: 1 }, { tci: 2 }, { tci: 3 }] }, outer4(ipip(inner4()))),
    ],
    'to another IPv4 address': ['PASS_OTHER_ADDRESS', frame(link, outer4(ipip(inner4()), { to: strange }))],
    'to another IPv6 address': [
      'PASS_OTHER_ADDRESS',
      frame(link, outer6(ipip(inner4()), { to: 'fd00:10::12' })),
    ],
    'to the VIP as outer destination': [
      'PASS_OTHER_ADDRESS',
      frame(link, outer4(ipip(inner4()), { to: VIP4 })),
    ],
    'to no VIP, IPv4': [
      'PASS_NOT_A_VIP',
      frame(link, outer4(ipip(inner4(counting(9), { to: '192.0.2.11' })))),
    ],
    'to no VIP, IPv6': [
      'PASS_NOT_A_VIP',
      frame(link, outer4(gre(inner6(counting(9), { to: '2001:db8::11' })))),
    ],
    'to this host itself': ['PASS_NOT_A_VIP', frame(link, outer6(gue(inner4(counting(9), { to: OWN4 }))))],
    'a mapped address is no VIP': [
      'PASS_NOT_A_VIP',
      frame(link, outer4(ipip(inner6(counting(9), { to: `::ffff:${VIP4}` })))),
    ],
    'a mapped address is not of this host': [
      'PASS_OTHER_ADDRESS',
      frame(link, outer6(ipip(inner4()), { to: `::ffff:${OWN4}` })),
    ],
    'nor one of a balancer': [
      'PASS_OTHER_ADDRESS',
      frame(link, outer6(ipip(inner4()), { from: `::ffff:${BALANCER4}` })),
    ],
    'an outer fragment': [
      'PASS_OUTER_FRAGMENT',
      frame(link, outer4(ipip(inner4()), { moreFragments: true })),
    ],
    'a later outer fragment': [
      'PASS_OUTER_FRAGMENT',
      frame(link, outer4(gre(inner4()), { fragmentOffset: 80 })),
    ],
    'a first fragment of GUE': [
      'PASS_OUTER_FRAGMENT',
      frame(link, outer4(gue(inner4()), { moreFragments: true })),
    ],
    'an outer IPv6 fragment': [
      'PASS_OUTER_FRAGMENT',
      frame(link, outer6(ipip(inner4()), { extensions: [fragment(0, true)] })),
    ],
    'a source route': ['PASS_NO_TUNNEL', frame(link, outer6(ipip(inner4()), { extensions: [routing(1)] }))],
    'a wrong outer checksum': ['PASS_BAD_HEADER', frame(link, outer4(ipip(inner4()), { checksum: 0xabcd }))],
    'GRE with a route': ['PASS_BAD_HEADER', frame(link, outer4(gre(inner4(), { flags: 0x4000 })))],
    'GRE version 1': ['PASS_BAD_HEADER', frame(link, outer4(gre(inner4(), { flags: 0x0001 })))],
    'GRE with reserved bits': ['PASS_BAD_HEADER', frame(link, outer4(gre(inner4(), { flags: 0x0800 })))],
    'GRE with Ethernet': ['PASS_BAD_HEADER', frame(link, outer4(gre(inner4(), { protocol: 0x6558 })))],
    'a GUE control message': ['PASS_BAD_HEADER', frame(link, outer4(gue(inner4(), { first: 0x20 })))],
    'GUE variant 2': ['PASS_BAD_HEADER', frame(link, outer4(gue(inner4(), { first: 0x80 })))],
    'GUE variant 3': ['PASS_BAD_HEADER', frame(link, outer4(gue(inner4(), { first: 0xc0 })))],
    'GUE with another protocol': ['PASS_BAD_HEADER', frame(link, outer4(gue(inner4(), { protocol: 47 })))],
    'bare GUE that is no IP': [
      'PASS_BAD_HEADER',
      frame(link, outer4(bareGue(raw(0, Uint8Array.of(0x50, ...counting(40)))))),
    ],
    'IPIP that says IPv4 and is not': ['PASS_BAD_HEADER', frame(link, outer4(other(4, inner6().bytes)))],
    'GRE that says IPv6 and is not': [
      'PASS_BAD_HEADER',
      frame(link, outer4(gre(inner4(), { protocol: 0x86dd }))),
    ],
    'inner header length 4': [
      'PASS_BAD_HEADER',
      frame(link, outer4(ipip(inner4(counting(9), { headerLength: 4 })))),
    ],
    'an inner packet longer than the outer': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(ipip(inner4(counting(9), { totalLength: 200 })))),
    ],
    'an inner IPv6 packet longer than the outer': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(ipip(inner6(counting(9), { payloadLength: 200 })))),
    ],
    'an inner length below its header': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(ipip(inner4(counting(9), { totalLength: 19 })))),
    ],
    'an outer length beyond the frame': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(ipip(inner4()), { totalLength: 1000 })),
    ],
    'an outer IPv6 length beyond the frame': [
      'PASS_BAD_LENGTH',
      frame(link, outer6(ipip(inner4()), { payloadLength: 1000 })),
    ],
    'a UDP length beyond the outer packet': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(gue(inner4(), { length: 1000 }))),
    ],
    'a UDP length below its header': ['PASS_BAD_LENGTH', frame(link, outer4(gue(inner4(), { length: 7 })))],
    'a UDP length that cuts the inner packet': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(gue(inner4(), { length: 100 }))),
    ],
    'a datagram that reaches into the padding': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(gue(inner4()), { totalLength: 20 + 8 + 4 + 140 - 10 })),
    ],
    'an inner packet that reaches into the padding': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(ipip(inner4()), { totalLength: 20 + 140 - 10 })),
    ],
    'two packets in one GUE datagram': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(gue(raw(0x0800, concat(inner4().bytes, inner4().bytes))))),
    ],
    'more GUE fields than there is packet': [
      'PASS_BAD_LENGTH',
      frame(link, outer4(gue(raw(0x0800, counting(20)), { first: 31 }))),
    ],
  })
  t.match(
    run(frame(link, outer4(gue(inner4(), { port: 7000 })))),
    { verdict: 'DECAP_GUE' },
    'each of two ports',
  )
})

t.test('a tunnel that was not asked for is left alone', { skip }, async t => {
  const { run } = await openDecapsulator(t, { modes: ['gre'] })
  untouched(t, run, {
    ipip: ['PASS_OTHER_MODE', frame(link, outer4(ipip(inner4())))],
    gue: ['PASS_OTHER_MODE', frame(link, outer6(gue(inner4())))],
  })
  t.match(run(frame(link, outer4(gre(inner4())))), { verdict: 'DECAP_GRE' })
})

t.test('only the balancers that are named are believed', { skip }, async t => {
  const sources = [
    { address: '10.0.0.0', bits: 30 },
    { address: '10.9.0.0', bits: 16 },
    { address: 'fd00:10::2', bits: 128 },
  ]
  const { run } = await openDecapsulator(t, { sources })
  for (const from of [BALANCER4, '10.0.0.3', '10.9.255.1'])
    t.match(run(frame(link, outer4(ipip(inner4()), { from }))), { verdict: 'DECAP_IPIP' }, from)
  t.match(run(frame(link, outer6(ipip(inner4()), { from: BALANCER6 }))), { verdict: 'DECAP_IPIP' })
  for (const from of ['10.0.0.4', '10.10.0.1', '192.0.2.1'])
    t.match(run(frame(link, outer4(ipip(inner4()), { from }))), { verdict: 'PASS_OTHER_SOURCE' }, from)
  for (const from of ['fd00:10::3', '::a00:2'])
    t.match(run(frame(link, outer6(ipip(inner4()), { from }))), { verdict: 'PASS_OTHER_SOURCE' }, from)
})

t.test('a frame that is cut anywhere is never decapsulated', { skip }, async t => {
  const { run } = await openDecapsulator(t)
  for (const [way, [, wrap]] of Object.entries(ways))
    for (const outer of Object.values(outers))
      for (const tags of [tagged[0]!, tagged[2]!]) {
        const whole = frame({ ...link, tags }, outer(wrap(inner4(counting(12)))))
        let wrong = 0
        for (let length = 14; length < whole.length; length++) {
          const sent = whole.slice(0, length)
          const { action, packet } = run(sent)
          if (action !== PASS || Buffer.compare(packet, sent) !== 0) wrong++
        }
        t.equal(wrong, 0, `${way}, ${whole.length} bytes`)
      }
})

/** A generator of its own, so that a failure can be repeated. */
const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

t.test(
  'whatever bytes are changed: untouched, dropped for congestion, or exactly a part of the frame',
  { skip },
  async t => {
    const { run, counts } = await openDecapsulator(t)
    const next = random(20260)
    const templates = Object.values(ways).flatMap(([, wrap]) =>
      Object.values(outers).flatMap(outer =>
        Object.values(inners).map(inner =>
          frame({ ...link, tags: tagged[Math.floor(next() * 3)]! }, outer(wrap(inner))),
        ),
      ),
    )
    let wrong = 0
    for (let i = 0; i < 6000; i++) {
      const sent = templates[i % templates.length]!.slice()
      for (let changes = 1 + Math.floor(next() * 4); changes > 0; changes--)
        sent[12 + Math.floor(next() * Math.min(110, sent.length - 12))] = Math.floor(next() * 256)
      const { action, verdict, packet } = run(sent)
      if (verdict.startsWith('DECAP')) {
        // But for the Ethernet type, the mark and its checksum it is the end of what was sent.
        const l2 = sent.length - packet.length
        const tail = sent.subarray(sent.length - (packet.length - 34))
        if (action !== PASS || l2 < 20 || Buffer.compare(packet.subarray(34), tail) !== 0) wrong++
      } else if (
        verdict === 'DROP_CONGESTION'
          ? action !== DROP
          : action !== PASS || Buffer.compare(packet, sent) !== 0
      ) {
        wrong++
      }
    }
    t.equal(wrong, 0)
    const total = Object.values(counts()).reduce((sum, packets) => sum + packets, 0)
    t.equal(total, 6000, 'each is counted once')
    t.ok(counts().DECAP_GUE! > 100 && counts().PASS_BAD_LENGTH! > 50, 'of all kinds')
  },
)

t.test('what it was told can be read again from the kernel', { skip }, async t => {
  const { everything } = await import('./fixtures/tunnelled.js')
  const { filling, loadDecapsulator, readDecapsulator } = await import('../../src/join/decapsulator.js')
  const told = filling({
    ...everything,
    ports: [7000, 80],
    sources: [
      { address: 'fd00::', bits: 8 },
      { address: '10.0.0.0', bits: 8 },
    ],
  })
  const program = await loadDecapsulator(told)
  t.same(readDecapsulator(program.info.id)!.filling, told)
  t.equal(readDecapsulator(program.info.id)!.tag, program.info.tag)
  const { id } = program.info
  program.close()
  t.equal(readDecapsulator(id), null)
  t.same([OWN4, OWN6].sort(), [...told.addresses])
})
