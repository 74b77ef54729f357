import fc from 'fast-check'
import t from 'tap'
import { ConfigError, DEFAULT_LIMITS, parseConfig } from '../src/config.js'
import { EXAMPLE, problemLines, withBackend, withHealth, withService, withWeb } from './fixtures/config.js'

const onlyService = (text: string) => parseConfig(text).config.services[0]!

t.test("the documentation's example is read as it is meant", async t => {
  const { config, warnings } = parseConfig(EXAMPLE)
  t.same(config, {
    interfaces: ['eth0'],
    xdp: 'auto',
    seed: '000102030405060708090a0b0c0d0e0f',
    limits: { services: 1024, backends: 16384, slots: 4194304, flows: 1048576 },
    services: [
      {
        name: 'web',
        vip: '192.0.2.10',
        port: 80,
        protocol: 'tcp',
        forward: { mode: 'dr' },
        tunnelSource: [],
        mss: 'keep',
        ping: 'answer',
        scheduler: 'maglev',
        ringSize: 65537,
        hash: ['source', 'source-port', 'destination', 'destination-port'],
        noBackend: 'reject',
        tracking: 'on-change',
        idleTimeMs: 900_000,
        udpIdleTimeMs: 60_000,
        leaveDeadlineMs: 3_600_000,
        lastResort: 'drained',
        health: {
          type: 'http',
          port: 80,
          intervalMs: 2000,
          timeoutMs: 1000,
          rise: 2,
          fall: 3,
          initiallyUp: false,
          path: '/healthz',
          host: null,
          expect: [{ from: 200, to: 399 }],
        },
        backends: [
          { name: '10.0.0.11', address: '10.0.0.11', port: null, weight: 2, mac: null },
          { name: 'b2', address: '10.0.0.12', port: null, weight: 1, mac: '02:00:00:00:00:0c' },
        ],
      },
    ],
    http: { listen: { address: '127.0.0.1', port: 9464 } },
  })
  t.same(warnings, [])
})

t.test('what is left out has its default', async t => {
  const { config, warnings } = parseConfig('interfaces: [eth0, eth1]\n')
  t.same(config, {
    interfaces: ['eth0', 'eth1'],
    xdp: 'auto',
    seed: null,
    limits: DEFAULT_LIMITS,
    services: [],
    http: null,
  })
  t.same(warnings, [])
  t.same(parseConfig('interfaces: [eth0]\nlimits: { flows: 8 }\nservices:\nhttp:\n').config.limits, {
    ...DEFAULT_LIMITS,
    flows: 8,
  })
  t.match(onlyService(withWeb()), {
    protocol: 'tcp',
    forward: { mode: 'dr' },
    tunnelSource: [],
    mss: 'keep',
    ping: 'answer',
    scheduler: 'maglev',
    ringSize: 65537,
    hash: ['source', 'source-port', 'destination', 'destination-port'],
    noBackend: 'reject',
    tracking: 'on-change',
    idleTimeMs: 900_000,
    udpIdleTimeMs: 60_000,
    leaveDeadlineMs: 3_600_000,
    lastResort: 'drained',
    health: null,
    backends: [],
  })
  t.same(onlyService(withWeb('health: null')).health, null)
  t.match(onlyService(withHealth()).health, {
    port: null,
    intervalMs: 2000,
    timeoutMs: 1000,
    rise: 2,
    fall: 3,
    initiallyUp: false,
    path: '/',
    host: null,
    expect: [{ from: 200, to: 399 }],
  })
  t.equal(
    onlyService(withHealth('interval: 500ms')).health?.timeoutMs,
    500,
    'a timeout never exceeds the interval',
  )
})

t.test('where the metrics are served is an address, a name or every address, with a port', async t => {
  const listenOf = (listen: string) =>
    parseConfig(JSON.stringify({ interfaces: ['eth0'], http: { listen } })).config.http?.listen
  t.same(listenOf('192.0.2.1:80'), { address: '192.0.2.1', port: 80 })
  t.same(listenOf('[2001:DB8::0:1]:9464'), { address: '2001:db8::1', port: 9464 })
  t.same(listenOf('localhost:9464'), { address: 'localhost', port: 9464 })
  t.same(listenOf(':9464'), { address: '', port: 9464 })
  for (const wrong of [
    '9464',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '300.0.0.1:1',
    '::1:9464',
    '[::1]',
  ])
    t.throws(() => listenOf(wrong), { code: 'ERR_CONFIG_INVALID' }, wrong)
})

t.test('JSON will do, with tabs too', async t => {
  const json = {
    interfaces: ['eth0'],
    services: { web: { vip: '2001:DB8::0:1', port: 0, backends: [{ address: '2001:db8::a' }] } },
  }
  for (const space of ['', '  ', '\t']) {
    const { config } = parseConfig(JSON.stringify(json, null, space))
    t.match(config.services[0], { vip: '2001:db8::1', port: 0, backends: [{ name: '2001:db8::a' }] })
  }
})

t.test('an unquoted seed is text, even where YAML sees a number', async t => {
  for (const seed of [
    '00000000000000000000000000000000',
    '00010203040506070809101112131415',
    '1e100000000000000000000000000000',
    '12345678901234567890123456789e99',
    'ABCDEF00000000000000000000000000',
    "'000102030405060708090a0b0c0d0e0f'",
  ])
    t.equal(
      parseConfig(`interfaces: [eth0]\nseed: ${seed}\n`).config.seed,
      seed.replaceAll("'", '').toLowerCase(),
    )
})

t.test('so are names that look like numbers', async t => {
  t.equal(onlyService(withBackend('name: 007')).backends[0]?.name, '007')
  t.equal(
    parseConfig('interfaces: [1e3]\nservices: { 80: { vip: 192.0.2.1, port: 80 } }').config.services[0]?.name,
    '80',
  )
})

t.test('a backend without a name is called by its address, and its port where it has one', async t => {
  t.equal(onlyService(withBackend()).backends[0]?.name, '10.0.0.11')
  t.equal(onlyService(withBackend('port: 80')).backends[0]?.name, '10.0.0.11:80')
  const six = withBackend('port: 80')
    .replace('192.0.2.10', '2001:db8::1')
    .replace('10.0.0.11', '"2001:db8:0::B"')
  t.equal(onlyService(six).backends[0]?.name, '[2001:db8::b]:80')
})

t.test('values are read into what they mean', async t => {
  const service = onlyService(
    withWeb(
      'protocol: udp',
      'hash: [source]',
      'no-backend: drop',
      'idle-time: 8h',
      'udp-idle-time: 1500ms',
      'leave-deadline: 0s',
      'last-resort: none',
      'ring-size: 251',
      'health: { type: http, expect: "200, 204,300-399", host: example.org, initially: up, interval: 1.5s, timeout: 1m }',
    ).replace('timeout: 1m', 'timeout: 10ms'),
  )
  t.match(service, {
    protocol: 'udp',
    hash: ['source'],
    noBackend: 'drop',
    idleTimeMs: 8 * 3_600_000,
    udpIdleTimeMs: 1500,
    ringSize: 251,
    health: { host: 'example.org', initiallyUp: true, intervalMs: 1500, timeoutMs: 10 },
  })
  t.same(service.health?.expect, [
    { from: 200, to: 200 },
    { from: 204, to: 204 },
    { from: 300, to: 399 },
  ])
  t.same(onlyService(withHealth('expect: 204')).health?.expect, [{ from: 204, to: 204 }])
  t.equal(onlyService(withBackend('mac: 02:00:00:00:00:0C')).backends[0]?.mac, '02:00:00:00:00:0c')
  t.equal(onlyService(withBackend('weight: 0')).backends[0]?.weight, 0)
})

t.test('an anchor may stand for what several services share', async t => {
  const text = `interfaces: [eth0]
services:
  a: { vip: 192.0.2.1, port: 80, backends: &pool [{ address: 10.0.0.1 }, { address: 10.0.0.2 }] }
  b: { vip: 192.0.2.2, port: 80, backends: *pool }
`
  const [a, b] = parseConfig(text).config.services
  t.same(a?.backends, b?.backends)
})

t.test('one VIP may have services on one port and on every port, of both protocols', async t => {
  const text = `interfaces: [eth0]
services:
  a: { vip: 192.0.2.1, port: 80 }
  b: { vip: 192.0.2.1, port: 80, protocol: udp }
  c: { vip: 192.0.2.1, port: 0 }
  d: { vip: 192.0.2.2, port: 80 }
`
  t.equal(parseConfig(text).config.services.length, 4)
})

t.test('what has no effect is a warning', async t => {
  const warningsOf = (text: string) => parseConfig(text).warnings
  t.same(warningsOf(withWeb('tracking: never')), [])
  t.same(warningsOf(withWeb('tracking: always')), [])
  t.same(warningsOf('interfaces: [eth0]\nprobe-prefix: 240.0.0.0/12\n'), [
    '2:15 probe-prefix: this version probes the backends by their own addresses',
  ])
  const backends = [1, 2, 3].map(n => `  - address: 10.0.0.${n}`)
  t.same(warningsOf(withWeb('ring-size: 251', 'backends:', ...backends)), [
    '6:16 services.web.ring-size: 251 slots for 3 backends: below 100 each the shares are uneven',
  ])
})

t.test(
  'the error has a code, all problems in the order of the text, and the first in its message',
  async t => {
    const text = `interfaces: [eth0]
xpd: auto
services:
  web:
    vip: 192.0.2.300
    port: 80
    backends:
      - { address: 10.0.0.1, wieght: 3 }
      - { address: 10.0.0.1 }
`
    t.same(problemLines(text), [
      '2:1 xpd: unknown key "xpd" | did you mean xdp?',
      '5:10 services.web.vip: vip "192.0.2.300" is no IPv4 or IPv6 address',
      '8:30 services.web.backends[0].wieght: unknown key "wieght" | did you mean weight?',
      '9:20 services.web.backends[1].address: 10.0.0.1:80 is the backend of line 8 already',
    ])
    try {
      parseConfig(text)
      t.fail('it is not valid')
    } catch (error) {
      t.ok(error instanceof ConfigError)
      t.match(error, {
        code: 'ERR_CONFIG_INVALID',
        message: 'the configuration is invalid: 2:1 unknown key "xpd" (and 3 more)',
      })
    }
  },
)

t.test('no text does anything but give a configuration or its problems', async t => {
  const pieces = EXAMPLE.split(/(?<=[\s,:{}[\]"])/)
  const token = fc.oneof(
    fc.constantFrom(...pieces),
    fc.constantFrom(
      '&a ',
      '*a',
      '!t ',
      '? ',
      '- ',
      '|\n',
      '>\n',
      '\t',
      '---\n',
      '...\n',
      '%YAML 1.2\n',
      '<<: ',
      '.nan',
      '~',
    ),
    fc.constantFrom(
      '"',
      "'",
      '#',
      '@',
      '`',
      '\u0000',
      '\ufeff',
      '\r\n',
      '\u{1f600}',
      '__proto__: ',
      'constructor: ',
    ),
    fc.string({ maxLength: 6 }),
  )
  const mutated = fc
    .array(fc.tuple(fc.nat(pieces.length), fc.nat(3), token), { minLength: 1, maxLength: 6 })
    .map(changes => {
      const text = [...pieces]
      for (const [at, removed, put] of changes) text.splice(at, removed, put)
      return text.join('')
    })
  const random = fc.array(token, { maxLength: 60 }).map(tokens => tokens.join(''))
  fc.assert(
    fc.property(fc.oneof(mutated, random), text => {
      const lines = text.split(/\r\n|\n|\r/).length
      try {
        return Array.isArray(parseConfig(text).config.services)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        return (
          error.problems.length > 0 &&
          error.problems.every(({ line, column }) => line >= 1 && line <= lines + 1 && column >= 1)
        )
      }
    }),
    { numRuns: 1500 },
  )
  t.pass()
})

t.test('nesting has an end, long before the stack has', async t => {
  const deep = ['[', '{a: ', '- ', '? ', '[? ', '? - ', '{? '].map(piece => piece.repeat(20_000))
  const indented = Array.from({ length: 2000 }, (_, level) => `${' '.repeat(level)}a:`).join('\n')
  for (const text of [...deep, indented])
    t.match(
      problemLines(text)[0],
      /nested more deeply than any configuration is/,
      JSON.stringify(text.slice(0, 20)),
    )
  const bomb = ['a0: &a0 [x]']
  for (let i = 1; i < 40; i++) bomb.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(10)}]`)
  const problems = problemLines(`${bomb.join('\n')}\ninterfaces: *a39\n`)
  t.equal(problems.filter(problem => /must be the name of an interface, not a list/.test(problem)).length, 10)
})

t.test('a service takes port 0 for every port, and then no backend has one', async t => {
  t.equal(onlyService(withService('port: 0')).port, 0)
  t.equal(onlyService(withService('port: 0', 'health: { type: tcp, port: 22 }')).health?.port, 22)
})
