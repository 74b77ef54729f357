import t from 'tap'
import { parseConfig } from '../src/config.js'
import type { Backend, Service } from '../src/model.js'
import { forwardOf } from '../src/model.js'
import { tunnelSourceOf } from '../src/reach.js'
import { problemLines, withBackend, withWeb } from './fixtures/config.js'

const serviceOf = (...lines: string[]): Service => parseConfig(withWeb(...lines)).config.services[0]!
const forwardsOf = ({ backends, ...service }: Service) =>
  backends.map(backend => forwardOf(service as Service, backend))

t.test('how packets reach backends is a word, or a map with what the mode takes', async t => {
  for (const [lines, forward] of [
    [['forward: dr'], { mode: 'dr' }],
    [['forward: ipip'], { mode: 'ipip' }],
    [['forward: { mode: ipip }'], { mode: 'ipip' }],
    [['forward: gre'], { mode: 'gre', key: null }],
    [['forward: gre', 'key: 0'], { mode: 'gre', key: 0 }],
    [['forward: { mode: gre, key: 4294967295 }'], { mode: 'gre', key: 0xffff_ffff }],
    [['forward: gue'], { mode: 'gue', port: 6080, variant: 0 }],
    [['forward: { mode: gue, port: 5555, variant: 1 }'], { mode: 'gue', port: 5555, variant: 1 }],
    [['forward: gue', 'tunnel-port: 5555', 'variant: 1'], { mode: 'gue', port: 5555, variant: 1 }],
    [['forward: { mode: gue }', 'variant: 1'], { mode: 'gue', port: 6080, variant: 1 }],
  ] as const)
    t.same(serviceOf(...lines).forward, forward, lines.join('; '))
})

t.test('a backend has its own mode, and goes on with what its service says of the same one', async t => {
  const backends = (...of: string[]) => ['backends:', ...of.map(one => `  - { address: ${one} }`)]
  t.same(
    forwardsOf(
      serviceOf(
        'forward: { mode: gre, key: 7 }',
        ...backends(
          '10.0.0.1',
          '10.0.0.2, key: 8',
          '10.0.0.3, forward: gre',
          '10.0.0.4, forward: gue',
          '10.0.0.5, forward: { mode: gue, variant: 1 }, tunnel-port: 7',
          '10.0.0.6, forward: dr',
        ),
      ),
    ),
    [
      { mode: 'gre', key: 7 },
      { mode: 'gre', key: 8 },
      { mode: 'gre', key: 7 },
      { mode: 'gue', port: 6080, variant: 0 },
      { mode: 'gue', port: 7, variant: 1 },
      { mode: 'dr' },
    ],
  )
  const [inherits, own] = serviceOf(
    'forward: gue',
    ...backends('10.0.0.1', '10.0.0.2, forward: gue'),
  ).backends
  t.equal(inherits!.forward, undefined)
  t.same(own!.forward, { mode: 'gue', port: 6080, variant: 0 })
})

t.test(
  'the outer source is the backend’s, the service’s, or everybody’s, of the backend’s family',
  async t => {
    const text = (root: string, service: string) =>
      [
        'interfaces: [eth0]',
        root,
        'services:',
        '  web:',
        '    vip: 192.0.2.10',
        '    port: 80',
        '    forward: ipip',
        service,
        '    backends:',
        '      - { address: 10.0.0.1 }',
        '      - { address: "2001:db8::1" }',
        '      - { address: 10.0.0.2, tunnel-source: 10.7.0.0/24 }',
        '',
      ].join('\n')
    const sources = (root: string, service: string) => {
      const [one] = parseConfig(text(root, service)).config.services
      return one!.backends.map((backend: Backend) => tunnelSourceOf(one!, backend))
    }
    t.same(sources('', ''), [null, null, '10.7.0.0/24'])
    t.same(sources('', '    tunnel-source: 10.9.0.0/16'), ['10.9.0.0/16', null, '10.7.0.0/24'])
    t.same(sources('', '    tunnel-source: [2001:DB8:9::/64, 10.9.0.1]'), [
      '10.9.0.1',
      '2001:db8:9::/64',
      '10.7.0.0/24',
    ])
    t.same(sources('tunnel-source: [10.8.0.1, "2001:db8:8::1"]', '    tunnel-source: 10.9.0.1'), [
      '10.9.0.1',
      '2001:db8:8::1',
      '10.7.0.0/24',
    ])
    t.same(
      parseConfig(text('', '    tunnel-source: [2001:db8::9, 10.9.0.1/32]')).config.services[0]!.tunnelSource,
      ['10.9.0.1', '2001:db8::9'],
      'the order of the text does not matter, and one address is no prefix',
    )
  },
)

t.test('through a tunnel the families may differ, not so the ports', async t => {
  t.same(problemLines(withWeb('forward: ipip', 'backends:', '  - address: 2001:db8::1')), [])
  t.same(
    problemLines(
      withWeb('backends:', '  - { address: 2001:db8::1, forward: gre }', '  - address: 2001:db8::2'),
    ),
    [
      '8:18 services.web.backends[1].address: address 2001:db8::2 is IPv6, the VIP 192.0.2.10 is not: direct routing leaves the packet as it is',
    ],
  )
  for (const [mode, hint] of [
    ['ipip', ''],
    ['gre', ''],
    ['gue', " | the tunnel's own port is forward: { mode: gue, port: 6080 }"],
  ] as const)
    t.same(
      problemLines(withBackend(`forward: ${mode}`, 'port: 6080')),
      [
        `9:15 services.web.backends[0].port: port 6080 differs from the service's 80: the tunnel (${mode}) leaves the packet as it is${hint}`,
      ],
      mode,
    )
})

const ONLY = 'is for tunnels (ipip, gre, gue): direct routing leaves the packet as it is'

t.test('what is wrong with a tunnel is said in its place', async t => {
  for (const [text, ...problems] of [
    [
      withWeb('forward: vxlan'),
      '6:14 services.web.forward: forward vxlan is not built: its inner Ethernet header needs a MAC address of each backend, and takes 14 bytes more | use gue, which goes by UDP too',
    ],
    [
      withWeb('forward: tun'),
      '6:14 services.web.forward: forward must be dr, ipip, gre, gue, nat or fullnat, not tun | did you mean ipip?',
    ],
    [
      withWeb('forward: { mode: ipi, key: 1 }'),
      '6:22 services.web.forward.mode: mode must be dr, ipip, gre, gue, nat or fullnat, not ipi | did you mean ipip?',
    ],
    [
      withWeb('forward: { mode: gue, prot: 1 }'),
      '6:27 services.web.forward.prot: unknown key "prot" | did you mean port?',
    ],
    [
      withWeb('forward: gre', 'key: -1'),
      '7:10 services.web.key: key must be a whole number from 0 to 4294967295, not -1',
    ],
    [
      withWeb('forward: gre', 'key: 4294967296'),
      '7:10 services.web.key: key must be a whole number from 0 to 4294967295, not 4294967296',
    ],
    [withWeb('forward: gue', 'key: 1'), '7:10 services.web.key: key is for forward: gre, not gue'],
    [withWeb('key: 1'), '6:10 services.web.key: key is for forward: gre, not dr'],
    [
      withWeb('forward: { mode: ipip, port: 6080, variant: 0 }'),
      '6:34 services.web.forward.port: port is for forward: gue, not ipip',
      '6:49 services.web.forward.variant: variant is for forward: gue, not ipip',
    ],
    [
      withBackend('forward: ipip', 'tunnel-port: 6080'),
      '9:22 services.web.backends[0].tunnel-port: tunnel-port is for forward: gue, not ipip',
    ],
    [
      withWeb('forward: { mode: gue, variant: 2 }'),
      '6:36 services.web.forward.variant: variant must be 0 or 1, not 2',
    ],
    [
      withWeb('forward: { mode: gue, port: 0 }'),
      '6:33 services.web.forward.port: port must be a whole number from 1 to 65535, not 0',
    ],
    [withWeb('forward: { mode: gre, key: 1 }', 'key: 2'), '7:10 services.web.key: key is in forward already'],
    [
      withWeb('forward: ipip', 'tunnel-source: 10.9.0.1/16'),
      '7:20 services.web.tunnel-source: tunnel-source 10.9.0.1/16 has bits set behind the prefix | the prefix is 10.9.0.0/16, the address 10.9.0.1',
    ],
    [withWeb('forward: ipip', 'tunnel-source: "2001:db8:8000::/33"', 'backends: [{ address: 2001:db8::1 }]')],
    [
      withWeb('forward: ipip', 'tunnel-source: "2001:db8:8000::/32"'),
      '7:20 services.web.tunnel-source: tunnel-source 2001:db8:8000::/32 has bits set behind the prefix | the prefix is 2001:db8::/32, the address 2001:db8:8000::',
    ],
    [
      withWeb('forward: ipip', 'tunnel-source: 10.0.0.0/7'),
      '7:20 services.web.tunnel-source: tunnel-source 10.0.0.0/7 is too wide: at least /8',
    ],
    [
      withWeb('forward: ipip', 'tunnel-source: 10.0.0.0/33'),
      '7:20 services.web.tunnel-source: tunnel-source 10.0.0.0/33 is no prefix: IPv4 has 32 bits',
    ],
    [
      withWeb('forward: ipip', 'tunnel-source: [10.9.0.1, 10.9.0.2, eth0]'),
      '7:31 services.web.tunnel-source[1]: tunnel-source has two of IPv4, 10.9.0.1 and 10.9.0.2: one of each family',
      '7:41 services.web.tunnel-source[2]: each of tunnel-source "eth0" is no IPv4 or IPv6 address',
    ],
    [withWeb('tunnel-source: 10.9.0.1'), `6:20 services.web.tunnel-source: tunnel-source ${ONLY}`],
    [
      withBackend('tunnel-source: 10.9.0.1'),
      `8:24 services.web.backends[0].tunnel-source: tunnel-source ${ONLY}`,
    ],
    [
      withBackend('forward: ipip', 'tunnel-source: 2001:db8::9'),
      "9:24 services.web.backends[0].tunnel-source: tunnel-source 2001:db8::9 is IPv6, the backend 10.0.0.11 is not: the outer header is of the backend's family",
    ],
    [
      withWeb('forward: ipip', 'tunnel-source: 10.9.0.1', 'backends: [{ address: 2001:db8::1 }]'),
      "7:20 services.web.tunnel-source: tunnel-source 10.9.0.1 is IPv4, the backend 2001:db8::1 is not: the outer header is of the backend's family",
    ],
    [
      withWeb(
        'tunnel-source: 10.9.0.1',
        'backends: [{ address: 10.0.0.1, forward: ipip }, { address: 10.0.0.2 }]',
      ),
    ],
    [withWeb('forward: ipip', 'tunnel-source: [10.9.0.1, 2001:db8::9]', 'backends: [{ address: 10.0.0.1 }]')],
    [
      withWeb('mss: clap'),
      '6:10 services.web.mss: mss must be keep or clamp, not clap | did you mean clamp?',
    ],
    [withWeb('ping: reply'), '6:11 services.web.ping: ping must be answer, pass or drop, not reply'],
  ] as [string, ...string[]][])
    t.same(problemLines(text), problems, text)
})

t.test('a clamp on UDP has nothing to clamp', async t => {
  t.same(parseConfig(withWeb('protocol: udp', 'mss: clamp')).warnings, [
    '7:10 services.web.mss: UDP has no MSS to clamp',
  ])
  t.equal(serviceOf('mss: clamp').mss, 'clamp')
})

t.test('the services of a VIP say together what becomes of pings', async t => {
  const text = (...pings: (string | null)[]) =>
    JSON.stringify(
      {
        interfaces: ['eth0'],
        services: Object.fromEntries(
          pings.map((ping, i) => [
            `s${i}`,
            { vip: i < 3 ? '192.0.2.10' : '192.0.2.11', port: 80 + i, ...(ping === null ? {} : { ping }) },
          ]),
        ),
      },
      null,
      1,
    )
  const pingsOf = (...pings: (string | null)[]) =>
    parseConfig(text(...pings)).config.services.map(({ ping }) => ping)
  t.same(pingsOf(null, null), ['answer', 'answer'])
  t.same(pingsOf(null, 'drop', null, null), ['drop', 'drop', 'drop', 'answer'])
  t.same(pingsOf('pass', 'pass', null, 'drop'), ['pass', 'pass', 'pass', 'drop'])
  t.same(problemLines(text('pass', null, 'drop')), [
    '18:12 services.s2.ping: ping is drop, but pass in line 9 for s0, which has the same VIP 192.0.2.10 | say it once for each VIP',
  ])
})
