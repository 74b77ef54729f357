import t from 'tap'
import { newBackend, parseConfig } from '../src/config.js'
import type { Service } from '../src/model.js'
import { problemLines } from './fixtures/config.js'

/** `root` are lines of the top level, `service` the keys of one on 192.0.2.10:80. */
const text = (root: readonly string[], ...service: readonly string[]): string =>
  [
    'interfaces: [eth0]',
    ...root,
    'services:',
    '  web:',
    '    vip: 192.0.2.10',
    '    port: 80',
    ...service.map(line => `    ${line}`),
    '',
  ].join('\n')
const backends = (...of: readonly string[]): string =>
  `backends: [${of.map(one => `{ address: ${one} }`).join(', ')}]`
const read = (root: readonly string[], ...service: readonly string[]) => parseConfig(text(root, ...service))
const serviceOf = (root: readonly string[], ...service: readonly string[]): Service =>
  read(root, ...service).config.services[0]!

const POOL = 'local-addresses: [10.1.0.100]'
const timeouts = {
  synSentMs: 120_000,
  synReceivedMs: 60_000,
  finWaitMs: 120_000,
  closeWaitMs: 60_000,
  lastAckMs: 30_000,
  timeWaitMs: 120_000,
  closeMs: 10_000,
  udpOnceMs: 30_000,
}

t.test('what is left out of a translated service has its default', async t => {
  t.same(serviceOf([], 'forward: nat', backends('10.0.0.1, port: 8080')).translation, {
    localAddresses: [],
    localPorts: { first: 1024, last: 65535 },
    toa: true,
    timeouts,
  })
  t.same(serviceOf([POOL], 'forward: fullnat', backends('10.0.0.1')).translation, {
    localAddresses: ['10.1.0.100'],
    localPorts: { first: 1024, last: 65535 },
    toa: true,
    timeouts,
  })
  t.equal(serviceOf([], 'forward: gue', backends('10.0.0.1')).translation, undefined)
  t.same(
    serviceOf([POOL], backends('10.0.0.1', '10.0.0.2, forward: fullnat')).translation?.localAddresses,
    ['10.1.0.100'],
    'one of the backends is enough',
  )
  t.equal(read([], 'forward: nat').config.snat, undefined)
  t.equal(read([], 'forward: nat').config.limits.natFlows, undefined)
})

t.test('local addresses are all addresses of their prefixes, of both families', async t => {
  const { translation } = serviceOf(
    ['local-addresses: [10.1.0.100, 10.1.1.0/30, "fd00::/127", "2001:DB8::5"]', 'local-ports: 40000-40099'],
    'forward: fullnat',
  )
  t.same(translation?.localAddresses, [
    '10.1.0.100',
    '10.1.1.0',
    '10.1.1.1',
    '10.1.1.2',
    '10.1.1.3',
    'fd00::',
    'fd00::1',
    '2001:db8::5',
  ])
  t.same(translation?.localPorts, { first: 40000, last: 40099 })
  const own = read(
    ['local-addresses: [10.1.0.100, 10.1.1.0/30, 10.1.2.0/32]'],
    'forward: fullnat',
    'local-addresses: fd00::/127',
    backends('fd00:1::1'),
  )
  t.same(own.config.localPrefixes, ['10.1.1.0/30', 'fd00::/127'], 'and how they were written is known')
  t.equal(read([POOL], 'forward: fullnat').config.localPrefixes, undefined)
  t.same(
    serviceOf(['local-addresses: 10.1.0.100', 'local-ports: 40000'], 'forward: fullnat').translation
      ?.localPorts,
    { first: 40000, last: 40000 },
  )
})

t.test('a service’s own local addresses replace those of the top level', async t => {
  const { config, warnings } = read(
    [POOL, 'snat: 10.2.0.0/24'],
    'forward: fullnat',
    'local-addresses: 10.1.0.7',
    backends('10.0.0.1'),
  )
  t.same(config.services[0]!.translation?.localAddresses, ['10.1.0.7'])
  t.same(config.snat, {
    prefixes: ['10.2.0.0/24'],
    localAddresses: ['10.1.0.100'],
    localPorts: { first: 1024, last: 65535 },
  })
  t.same(warnings, [])
})

t.test('timeouts are said one by one, the others keep their defaults', async t => {
  t.same(
    serviceOf([], 'forward: nat', 'timeouts: { syn-sent: 5s, udp-once: 1m, close: 18h }').translation
      ?.timeouts,
    { ...timeouts, synSentMs: 5000, udpOnceMs: 60_000, closeMs: 64_800_000 },
  )
})

t.test('a backend may have another port where it is translated, and another family with fullnat', async t => {
  t.same(problemLines(text([], 'forward: nat', backends('10.0.0.1, port: 8080'))), [])
  t.same(
    problemLines(
      text(
        ['local-addresses: [10.1.0.100, "fd00::1"]'],
        'forward: fullnat',
        backends('10.0.0.1, port: 8080', '"2001:db8::1", port: 81'),
      ),
    ),
    [],
  )
  t.same(problemLines(text([], 'forward: nat', backends('"2001:db8::1"'))), [
    '7:27 services.web.backends[0].address: address 2001:db8::1 is IPv6, the VIP 192.0.2.10 is not: nat leaves its source as it is',
  ])
  t.same(problemLines(text([], 'forward: dr', backends('10.0.0.1, port: 81'))), [
    "7:43 services.web.backends[0].port: port 81 differs from the service's 80: direct routing leaves the packet as it is",
  ])
})

const wrong: readonly (readonly [
  root: readonly string[],
  service: readonly string[],
  ...problems: string[],
])[] = [
  [
    [],
    ['forward: fullnat', backends('10.0.0.1', '10.0.0.2')],
    '7:27 services.web.backends[0].address: fullnat to 10.0.0.1 takes local addresses of IPv4, and there is none | addresses of this host that packets to it are routed to: local-addresses: [10.0.0.100]',
  ],
  [
    [POOL],
    ['forward: fullnat', backends('10.0.0.1', '"2001:db8::1"')],
    '8:50 services.web.backends[1].address: fullnat to 2001:db8::1 takes local addresses of IPv6, and there is none | addresses of this host that packets to it are routed to: local-addresses: ["fd00::100"]',
  ],
  [
    [POOL],
    ['forward: fullnat', 'local-addresses: "fd00::1"', backends('10.0.0.1')],
    '9:27 services.web.backends[0].address: fullnat to 10.0.0.1 takes local addresses of IPv4, and there is none | addresses of this host that packets to it are routed to: local-addresses: [10.0.0.100]',
  ],
  [
    ['local-addresses: [10.1.0.100, 10.1.0.0/25]'],
    ['forward: fullnat'],
    '2:31 local-addresses[1]: 10.1.0.100 (of 10.1.0.0/25) is a local address of line 2 already',
  ],
  [
    [POOL],
    ['forward: fullnat', 'local-addresses: [10.1.0.100]'],
    '8:23 services.web.local-addresses[0]: 10.1.0.100 is a local address of line 2 already',
  ],
  [
    ['local-addresses: [192.0.2.10, 10.0.0.1]'],
    ['forward: fullnat', backends('10.0.0.1')],
    '2:19 local-addresses[0]: 192.0.2.10 is the VIP of line 5 | a local address is nobody else’s',
    '2:31 local-addresses[1]: 10.0.0.1 is the backend of line 8 | a local address is nobody else’s',
  ],
  [
    [
      'local-addresses: [10.1.0.0/23, 10.4.0.0/24, 10.5.0.0/31, 127.0.0.1, 10.1.0.1/24, 10.1.0/24, 224.0.0.0/30]',
    ],
    ['forward: fullnat'],
    '2:19 local-addresses[0]: each of local-addresses 10.1.0.0/23 has 512 addresses: at most 256',
    '2:45 local-addresses[2]: these are 258 local addresses: at most 256 in all',
    '2:58 local-addresses[3]: each of local-addresses 127.0.0.1 is a loopback address',
    '2:69 local-addresses[4]: each of local-addresses 10.1.0.1/24 has bits set behind the prefix | the prefix is 10.1.0.0/24, the address 10.1.0.1',
    '2:82 local-addresses[5]: each of local-addresses must be an address or a prefix such as 10.1.0.0/28, not 10.1.0/24',
    '2:93 local-addresses[6]: each of local-addresses 224.0.0.0 is a multicast address',
  ],
  [
    [`${POOL}`, 'local-ports: 9-8'],
    ['forward: fullnat'],
    '3:14 local-ports: local-ports 9-8 ends before it begins',
  ],
  [
    [POOL, 'local-ports: 1024-65536'],
    ['forward: fullnat'],
    '3:14 local-ports: local-ports must be a range of ports from 1 to 65535 such as 1024-65535, not 1024-65536',
  ],
  [
    ['snat: [10.2.0.0/24]'],
    ['forward: nat'],
    '2:8 snat[0]: snat of 10.2.0.0/24 takes local addresses of IPv4, and there is none at the top level | addresses of this host that packets to it are routed to: local-addresses: [10.0.0.100]',
  ],
  [
    [POOL, 'snat: [10.2.0.0/24, 10.2.0.0/24, 10.2.0.1/24]'],
    ['forward: nat'],
    '3:21 snat[1]: snat has 10.2.0.0/24 twice: first in line 3',
    '3:34 snat[2]: each of snat 10.2.0.1/24 has bits set behind the prefix | the prefix is 10.2.0.0/24, the address 10.2.0.1',
  ],
  [
    ['local-adresses: 10.1.0.1'],
    [],
    '2:1 local-adresses: unknown key "local-adresses" | did you mean local-addresses?',
  ],
  [
    [],
    ['local-addresses: 10.1.0.1'],
    '6:22 services.web.local-addresses: local-addresses is for forward: fullnat, not dr',
  ],
  [[], ['toa: true'], '6:10 services.web.toa: toa is for forward: fullnat and protocol: tcp, not dr'],
  [
    [POOL],
    ['forward: fullnat', 'protocol: udp', 'toa: false'],
    '9:10 services.web.toa: toa is for forward: fullnat and protocol: tcp, not udp',
  ],
  [[POOL], ['forward: fullnat', 'toa: yes'], '8:10 services.web.toa: toa must be true or false, not yes'],
  [
    [],
    ['forward: gue', 'timeouts: { close: 1s }'],
    '7:15 services.web.timeouts: timeouts are for forward: nat and fullnat, not gue: idle-time and udp-idle-time are for all',
  ],
  [
    [],
    [
      'forward: nat',
      'timeouts: { syn-sent: 1500ms, fin_wait: 3s, last-ack: 500ms, close: 19h, established: 1m, time-wait: 10 }',
    ],
    '7:27 services.web.timeouts.syn-sent: syn-sent is 1500ms: a timeout is counted in whole seconds',
    '7:35 services.web.timeouts.fin_wait: unknown key "fin_wait" | did you mean fin-wait?',
    '7:59 services.web.timeouts.last-ack: last-ack is 500ms: at least 1s',
    '7:73 services.web.timeouts.close: close is 19h: at most 18h',
    "7:78 services.web.timeouts.established: established is the service's idle-time",
    '7:106 services.web.timeouts.time-wait: time-wait must be a duration from 1s to 18h, not 10 | say the unit: 10s or 10ms',
  ],
  [
    [],
    ['forward: nat', 'tunnel-source: 10.0.0.9', backends('10.0.0.1')],
    '7:20 services.web.tunnel-source: tunnel-source is for tunnels (ipip, gre, gue): nat has no outer header',
  ],
]

t.test('what is wrong with a translation is said in its place, and what to write instead', async t => {
  for (const [root, service, ...problems] of wrong)
    t.same(problemLines(text(root, ...service)), problems, text(root, ...service))
})

t.test('what has no effect is told', async t => {
  t.same(read([POOL], 'forward: nat').warnings, [
    '2:18 local-addresses: no service is fullnat by them, and there is no snat: they are not used',
  ])
  t.same(read([POOL, 'snat: 192.0.2.0/24'], 'forward: nat').warnings, [
    '3:7 snat: the VIP 192.0.2.10 of line 6 lies in 192.0.2.0/24',
  ])
})

t.test('nat-flows is a limit of its own', async t => {
  t.equal(read(['limits: { nat-flows: 1000 }'], 'forward: nat').config.limits.natFlows, 1000)
})

t.test('a backend that is added at run time has to fit the translation', async t => {
  const service = serviceOf([POOL], 'forward: fullnat', backends('10.0.0.1'))
  t.same(newBackend(service, { address: '10.0.0.2', port: 8080 }).port, 8080)
  t.throws(() => newBackend(service, { address: '2001:db8::2' }), {
    code: 'ERR_BAD_REQUEST',
    message: 'fullnat to 2001:db8::2 takes local addresses of IPv6: service "web" has none',
  })
  t.throws(() => newBackend(service, { address: '10.1.0.100' }), { code: 'ERR_BAD_REQUEST' })
  t.throws(() => newBackend(serviceOf([], 'forward: nat'), { address: '2001:db8::2' }), {
    code: 'ERR_BAD_REQUEST',
  })
})
