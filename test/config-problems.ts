/** Every rule of the configuration, by the problem that breaking it gives: place, path, message and hint. */
import t from 'tap'
import { problemLines, withBackend, withHealth, withService, withWeb } from './fixtures/config.js'

const KEYS =
  'the keys here are interfaces, xdp, seed, limits, services, http, tunnel-source, local-addresses, local-ports, snat, probe-prefix'
const withBackends = (...lines: string[]) => withWeb('backends:', ...lines.map(line => `  ${line}`))
const withVip = (vip: string) => withService('port: 80').replace('192.0.2.10', vip)
const top = (...lines: string[]) => ['interfaces: [eth0]', ...lines, ''].join('\n')

type Case = readonly [text: string, ...problems: string[]]

const expectProblems = (title: string, cases: readonly Case[]) =>
  t.test(title, async t => {
    for (const [text, ...problems] of cases)
      t.same(problemLines(text), problems, JSON.stringify(text.slice(0, 70)))
  })

expectProblems('text that is no YAML map is refused with its place', [
  ['', '1:1 : the configuration is empty'],
  ['# nothing\n', '1:1 : the configuration is empty'],
  ['- a\n', '1:1 : the configuration must be a map, not a list'],
  ['hello', '1:1 : the configuration must be a map, not hello'],
  ['interfaces:\n\t- eth0\n', '2:1 : Tabs are not allowed as indentation'],
  [
    'interfaces: [eth0\nxdp: auto\n',
    '2:1 : Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['interfaces: [eth0]\n---\nxdp: auto\n', '2:1 : a second document begins here'],
  ['interfaces: !foo [eth0]\n', '1:13 : Unresolved tag: !foo'],
  ['%FOO\n---\ninterfaces: [eth0]\n', '1:1 : Unknown directive %FOO'],
  [
    'interfaces: *x\n',
    '1:13 interfaces: there is no anchor &x before this',
    '1:13 interfaces: interfaces must be a list, not empty',
  ],
  [top('? [a]', ': b'), '2:3 : a key must be a word'],
  [top(': b'), '1:1 : a key must be a word'],
  [
    top('seed: !!binary aGk='),
    '2:7 : Unresolved tag: tag:yaml.org,2002:binary',
    '2:16 seed: seed must be 32 hex digits, not aGk=',
  ],
])

expectProblems('keys are there once, and are known', [
  [top('xdp: auto', 'xdp: native'), '3:1 xdp: "xdp" is here twice: first in line 2'],
  ['interface: [eth0]\n', '1:1 interface: unknown key "interface" | did you mean interfaces?'],
  ['xdp: auto\n', '1:1 interfaces: "interfaces" is missing'],
  [top('bananas: 1'), `2:1 bananas: unknown key "bananas" | ${KEYS}`],
  [
    top('__proto__: 1', 'constructor: 2'),
    `2:1 __proto__: unknown key "__proto__" | ${KEYS}`,
    `3:1 constructor: unknown key "constructor" | ${KEYS}`,
  ],
  [withWeb('ringSize: 65537'), '6:5 services.web.ringSize: unknown key "ringSize" | did you mean ring-size?'],
  [
    top('limits:', '  <<: { flows: 8 }'),
    '3:3 limits.<<: unknown key "<<" | the keys here are services, backends, slots, flows, nat-flows',
  ],
  [
    top('http: { listen: "127.0.0.1:9464", tls: true }'),
    '2:35 http.tls: unknown key "tls" | the keys here are listen',
  ],
])

expectProblems('YAML 1.1 is not brought back by a directive', [
  ['%YAML 1.1\n---\ninterfaces: [eth0]\nxdp: no\n', '4:6 xdp: xdp must be auto, native or generic, not no'],
])

expectProblems('interfaces, seed, limits and the rest are checked', [
  ['interfaces: eth0\n', '1:13 interfaces: interfaces must be a list, not eth0 | write interfaces: [eth0]'],
  ['interfaces: []\n', '1:13 interfaces: interfaces must not be empty'],
  ['interfaces: [eth0, eth1, eth0]\n', '1:26 interfaces[2]: interfaces has eth0 twice: first in line 1'],
  [
    'interfaces: [abcdefghijklmnop, "a b", ".", 5, null]\n',
    '1:14 interfaces[0]: each of interfaces must be a name of up to 15 characters without spaces, colons and slashes, not "abcdefghijklmnop"',
    '1:32 interfaces[1]: each of interfaces must be a name of up to 15 characters without spaces, colons and slashes, not "a b"',
    '1:39 interfaces[2]: each of interfaces must be a name of up to 15 characters without spaces, colons and slashes, not "."',
    '1:47 interfaces[4]: each of interfaces must be the name of an interface, not empty',
  ],
  [top('xdp: natve'), '2:6 xdp: xdp must be auto, native or generic, not natve | did you mean native?'],
  [top('xdp: true'), '2:6 xdp: xdp must be auto, native or generic, not true'],
  [top('seed: 0001'), '2:7 seed: seed must be 32 hex digits, not 0001'],
  [top('seed:'), '2:1 seed: seed must be 32 hex digits, not empty'],
  [
    top('limits: { services: 0, backends: 1048576, slots: 1e3, flow: 5, flows: .nan }'),
    '2:21 limits.services: services must be a whole number from 1 to 65536, not 0',
    '2:34 limits.backends: backends must be a whole number from 1 to 1048575, not 1048576',
    '2:55 limits.flow: unknown key "flow" | did you mean flows?',
    '2:71 limits.flows: flows must be a whole number from 8 to 1073741824, not .nan',
  ],
  [
    top('limits: { flows: 99999999999999999999 }'),
    '2:18 limits.flows: flows must be a whole number from 8 to 1073741824, not 99999999999999999999',
  ],
  [top('limits: [1]'), '2:9 limits: limits must be a map, not a list'],
  [top('services: [a]'), '2:11 services: services must be a map, not a list'],
  [top('services:', '  web:'), '3:3 services.web: service web must be a map, not empty'],
  [
    top('services: { Web_1: { vip: 192.0.2.1, port: 80 } }'),
    `2:13 services.Web_1: the service's name "Web_1" must be of a-z, 0-9 and -, up to 40`,
  ],
  [top('http: {}'), '2:7 http.listen: "listen" is missing'],
  [
    top('http: { listen: 9464 }'),
    '2:17 http.listen: listen must be an address and port such as 127.0.0.1:9464, not "9464"',
  ],
  [
    top('probe-prefix: 240.0.0.0/33'),
    '2:15 probe-prefix: probe-prefix must be an address prefix such as 240.0.0.0/12, not "240.0.0.0/33"',
  ],
])

expectProblems('a service has a VIP and a port', [
  [
    top('services:', '  web:', '    protocol: tcp'),
    '3:3 services.web.vip: "vip" is missing',
    '3:3 services.web.port: "port" is missing',
  ],
  [
    withService('port: 65536'),
    '5:11 services.web.port: port must be a number from 1 to 65535, or 0 for every port, not 65536',
  ],
  [
    withService('port: -1'),
    '5:11 services.web.port: port must be a number from 1 to 65535, or 0 for every port, not -1',
  ],
  [
    withService('port: http'),
    '5:11 services.web.port: port must be a number from 1 to 65535, or 0 for every port, not http',
  ],
  [
    withService('port: 80.5'),
    '5:11 services.web.port: port must be a number from 1 to 65535, or 0 for every port, not 80.5',
  ],
])

expectProblems('words of a service are checked, those of other versions told', [
  [
    withWeb('protocol: tpc'),
    '6:15 services.web.protocol: protocol must be tcp or udp, not tpc | did you mean tcp?',
  ],
  [
    withWeb('forward: masq'),
    '6:14 services.web.forward: forward must be dr, ipip, gre, gue, nat or fullnat, not masq | did you mean nat?',
  ],
  [
    withWeb('forward: ddr'),
    '6:14 services.web.forward: forward must be dr, ipip, gre, gue, nat or fullnat, not ddr | did you mean dr?',
  ],
  [
    withWeb('forward: [dr]'),
    '6:14 services.web.forward: forward must be dr, ipip, gre, gue, nat or fullnat, not a list',
  ],
  [withWeb('scheduler: wrr'), '6:16 services.web.scheduler: scheduler wrr is not available in this version'],
  [
    withWeb('scheduler: magelv'),
    '6:16 services.web.scheduler: scheduler must be maglev, not magelv | did you mean maglev?',
  ],
  [
    withWeb('no-backend: rejct'),
    '6:17 services.web.no-backend: no-backend must be reject or drop, not rejct | did you mean reject?',
  ],
  [
    withWeb('tracking: allways'),
    '6:15 services.web.tracking: tracking must be on-change, always or never, not allways | did you mean always?',
  ],
  [
    withWeb('hash: [source, source, sorce]'),
    '6:20 services.web.hash[1]: hash has source twice: first in line 6',
    '6:28 services.web.hash[2]: each of hash must be source, source-port, destination or destination-port, not sorce | did you mean source?',
  ],
  [withWeb('hash: []'), '6:11 services.web.hash: hash must not be empty'],
  [withWeb('hash: source'), '6:11 services.web.hash: hash must be a list, not source | write hash: [source]'],
])

expectProblems('ring sizes are primes', [
  [
    withWeb('ring-size: 65536'),
    '6:16 services.web.ring-size: ring-size must be a prime from 251 to 655373, not 65536 | the nearest: 65521, 65537',
  ],
  [
    withWeb('ring-size: 7'),
    '6:16 services.web.ring-size: ring-size must be a prime from 251 to 655373, not 7 | the nearest: 251',
  ],
  [
    withWeb('ring-size: 1e9'),
    '6:16 services.web.ring-size: ring-size must be a prime from 251 to 655373, not 1000000000 | the nearest: 655373',
  ],
  [
    withWeb('ring-size: big'),
    '6:16 services.web.ring-size: ring-size must be a prime from 251 to 655373, not big',
  ],
  [
    withWeb('ring-size: .nan'),
    '6:16 services.web.ring-size: ring-size must be a prime from 251 to 655373, not .nan',
  ],
  [
    withWeb(
      'ring-size: 251',
      'backends:',
      ...Array.from({ length: 252 }, (_, i) => `  - address: 10.0.0.${i}`),
    ),
    '6:16 services.web.ring-size: ring-size 251 is less than the 252 backends of web',
  ],
])

expectProblems('durations have a unit and a range', [
  [withWeb('idle-time: 9h'), '6:16 services.web.idle-time: idle-time is 9h: at most 8h'],
  [
    withWeb('idle-time: 900'),
    '6:16 services.web.idle-time: idle-time must be a duration from 1s to 8h, not 900 | say the unit: 900s or 900ms',
  ],
  [
    withWeb('idle-time: 15 minutes'),
    '6:16 services.web.idle-time: idle-time must be a duration from 1s to 8h, not 15 minutes | a number and ms, s, m or h: 500ms, 2s, 15m, 1h',
  ],
  [withWeb('udp-idle-time: 0s'), '6:20 services.web.udp-idle-time: udp-idle-time is 0s: at least 1s'],
])

expectProblems('VIPs are addresses of one host', [
  [withVip('0.0.0.0'), '4:10 services.web.vip: vip 0.0.0.0 is of 0.0.0.0/8: no host has such an address'],
  [withVip('127.0.0.1'), '4:10 services.web.vip: vip 127.0.0.1 is a loopback address'],
  [withVip('224.0.0.1'), '4:10 services.web.vip: vip 224.0.0.1 is a multicast address'],
  [
    withVip('255.255.255.255'),
    '4:10 services.web.vip: vip 255.255.255.255 is of the reserved 240.0.0.0/4, or the broadcast address',
  ],
  [
    withVip('192.0.2.010'),
    '4:10 services.web.vip: vip 192.0.2.010 has leading zeros, which some read as octal',
  ],
  [withVip('192.0.2'), '4:10 services.web.vip: vip "192.0.2" is no IPv4 or IPv6 address'],
  [withVip('1'), '4:10 services.web.vip: vip must be an IPv4 or IPv6 address, not 1'],
  [withVip('192.0.2.1/32'), '4:10 services.web.vip: vip 192.0.2.1/32 is a prefix: an address has no /length'],
  [withVip('"::"'), '4:10 services.web.vip: vip :: is the unspecified address'],
  [withVip('"::1"'), '4:10 services.web.vip: vip ::1 is the loopback address'],
  [withVip('ff02::1'), '4:10 services.web.vip: vip ff02::1 is a multicast address'],
  [
    withVip('"::ffff:192.0.2.1"'),
    '4:10 services.web.vip: vip ::ffff:192.0.2.1 is an IPv4-mapped address: write it as IPv4',
  ],
  [
    withVip('"::192.0.2.1"'),
    '4:10 services.web.vip: vip ::192.0.2.1 is an IPv4-compatible address, which nothing uses any more (RFC 4291)',
  ],
  [
    withVip('fe80::1'),
    '4:10 services.web.vip: vip fe80::1 is a link-local address: no interface is known for it',
  ],
  [
    withVip('"fe80::1%eth0"'),
    '4:10 services.web.vip: vip fe80::1%eth0 names a zone, which only link-local addresses have',
  ],
  [withVip('2001:db8::g'), '4:10 services.web.vip: vip "2001:db8::g" is no IPv4 or IPv6 address'],
  [withVip('example.org'), '4:10 services.web.vip: vip "example.org" is no IPv4 or IPv6 address'],
  [withVip('[a]'), '4:10 services.web.vip: vip must be an IPv4 or IPv6 address, not a list'],
])

expectProblems('health checks are checked', [
  [withWeb('health: http'), '6:13 services.web.health: health must be a map, not http'],
  [withWeb('health: { port: 80 }'), '6:5 services.web.health.type: "type" is missing'],
  [
    withWeb('health: { type: tcp, path: /, host: a, expect: 200 }'),
    '6:26 services.web.health.path: path is for checks of type http, not tcp',
    '6:35 services.web.health.host: host is for checks of type http, not tcp',
    '6:44 services.web.health.expect: expect is for checks of type http, not tcp',
  ],
  [withHealth('interval: 50ms'), '8:17 services.web.health.interval: interval is 50ms: at least 100ms'],
  [
    withHealth('interval: 2'),
    '8:17 services.web.health.interval: interval must be a duration from 100ms to 1h, not 2 | say the unit: 2s or 2ms',
  ],
  [withHealth('timeout: 3s'), '8:16 services.web.health.timeout: timeout 3s is longer than the interval 2s'],
  [
    withHealth('rise: 0', 'fall: 1.5'),
    '8:13 services.web.health.rise: rise must be a whole number from 1 to 1000, not 0',
    '9:13 services.web.health.fall: fall must be a whole number from 1 to 1000, not 1.5',
  ],
  [
    withHealth('expect: 399-200'),
    '8:15 services.web.health.expect: expect has 399-200, which is no range: the smaller code comes first',
  ],
  [
    withHealth('expect: ok'),
    '8:15 services.web.health.expect: expect must be status codes such as 200-399 or "200,204", not "ok"',
  ],
  [
    withHealth('expect: 99'),
    '8:15 services.web.health.expect: expect must be status codes such as 200-399 or "200,204", not "99"',
  ],
  [withHealth('expect: 600'), '8:15 services.web.health.expect: expect has 600: status codes are 100 to 599'],
  [
    withHealth('path: healthz'),
    '8:13 services.web.health.path: path must begin with / and have no spaces, up to 2048 characters of ASCII',
  ],
  [
    withHealth('host: "a b"'),
    '8:13 services.web.health.host: host must have no spaces and slashes, up to 255 characters of ASCII',
  ],
  [
    withHealth('initially: upp'),
    '8:18 services.web.health.initially: initially must be down or up, not upp | did you mean up?',
  ],
  [
    withHealth('intervall: 2s'),
    '8:7 services.web.health.intervall: unknown key "intervall" | did you mean interval?',
  ],
  [
    withService('port: 0', 'health: { type: tcp }'),
    '6:13 services.web.health.port: health of a service on every port needs a port',
  ],
])

expectProblems('backends are checked', [
  [
    withWeb('backends: 10.0.0.1'),
    '6:15 services.web.backends: backends must be a list of maps | - address: 10.0.0.11',
  ],
  [withBackends('- 10.0.0.1'), '7:9 services.web.backends[0]: a backend must be a map | - address: 10.0.0.1'],
  [withBackends('- name: a'), '7:9 services.web.backends[0].address: "address" is missing'],
  [
    withBackend('wieght: 2'),
    '8:9 services.web.backends[0].wieght: unknown key "wieght" | did you mean weight?',
  ],
  [
    withBackend('weight: 1001'),
    '8:17 services.web.backends[0].weight: weight must be a whole number from 0 to 1000, not 1001',
  ],
  [
    withBackend('weight: half'),
    '8:17 services.web.backends[0].weight: weight must be a whole number from 0 to 1000, not half',
  ],
  [
    withBackend('mac: 02-00-00-00-00-01'),
    '8:14 services.web.backends[0].mac: mac must be six hex octets such as "02:00:00:00:00:0c", not "02-00-00-00-00-01"',
  ],
  [
    withBackend('mac: 01:00:5e:00:00:01'),
    '8:14 services.web.backends[0].mac: mac 01:00:5e:00:00:01 is a multicast address',
  ],
  [
    withBackend('mac: 00:00:00:00:00:00'),
    "8:14 services.web.backends[0].mac: mac 00:00:00:00:00:00 is no host's address",
  ],
  [
    withBackend('name: a/b'),
    '8:15 services.web.backends[0].name: name must be of printable characters without spaces and slashes',
  ],
  [
    withBackend('name: "a b"'),
    '8:15 services.web.backends[0].name: name must be of printable characters without spaces and slashes',
  ],
  [withBackend('name: ""'), '8:15 services.web.backends[0].name: name must not be empty'],
  [
    withBackend(`name: ${'x'.repeat(81)}`),
    '8:15 services.web.backends[0].name: name has 81 characters: at most 80',
  ],
])

expectProblems('under direct routing a backend fits its service', [
  [
    withBackend('port: 81'),
    "8:15 services.web.backends[0].port: port 81 differs from the service's 80: direct routing leaves the packet as it is",
  ],
  [
    withService('port: 0', 'backends: [{ address: 10.0.0.1, port: 80 }]'),
    '6:43 services.web.backends[0].port: port 80: a service on every port has backends without one',
  ],
  [
    withBackends('- address: 2001:db8::1'),
    '7:18 services.web.backends[0].address: address 2001:db8::1 is IPv6, the VIP 192.0.2.10 is not: direct routing leaves the packet as it is',
  ],
  [
    withBackends('- address: 192.0.2.10'),
    '7:18 services.web.backends[0].address: address 192.0.2.10 is the VIP itself',
  ],
])

expectProblems('nothing is there twice: the second is told where the first is', [
  [
    withBackends('- { name: a, address: 10.0.0.1 }', '- { name: b, address: 10.0.0.1, port: 80 }'),
    '8:29 services.web.backends[1].address: 10.0.0.1:80 is the backend of line 7 already',
  ],
  [
    withBackends('- { name: a, address: 10.0.0.1 }', '- { name: a, address: 10.0.0.2 }'),
    '8:17 services.web.backends[1].name: the name a is taken by the backend of line 7',
  ],
  [
    withBackends('- { name: 10.0.0.2, address: 10.0.0.1 }', '- address: 10.0.0.2'),
    '8:9 services.web.backends[1].name: the name 10.0.0.2 is taken by the backend of line 7',
  ],
  [
    withBackends('- address: 10.0.0.2', '- address: 10.0.0.2'),
    '8:18 services.web.backends[1].address: 10.0.0.2:80 is the backend of line 7 already',
  ],
  [
    top(
      'services:',
      '  a: { vip: 2001:db8::1, port: 80 }',
      '  b: { vip: "2001:DB8:0::1", port: 80, protocol: tcp }',
    ),
    '4:3 services.b: b has the VIP, port and protocol of line 3: [2001:db8::1]:80/tcp',
  ],
])
