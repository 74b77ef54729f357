/** What is reckoned and read without a kernel. */
import t from 'tap'
import { mergingFindings, parseFeatures } from '../../src/join/aggregation.js'
import { parseCgroupMounts } from '../../src/join/cgroup.js'
import { wantedFromFlags } from '../../src/join/flags.js'
import { wantedFromConfig } from '../../src/join/from-config.js'
import { readRoute, restoring, withAdvmss } from '../../src/join/rtnetlink.js'
import { unitText } from '../../src/join/systemd.js'
import { toaSources } from '../../src/join/toa.js'
import { announcedMss, anyTunnel } from '../../src/join/wanted.js'

t.test('flags become what is wanted', async t => {
  t.same(
    wantedFromFlags({
      vip: ['192.0.2.10', '2001:DB8:0::10', '192.0.2.10'],
      interface: ['eth0'],
      forward: ['dr', 'gue', 'gue'],
      port: ['7000'],
      fromBalancer: ['10.0.0.0/24', 'fd00::1'],
    }),
    {
      vips: ['192.0.2.10', '2001:db8::10'],
      interfaces: ['eth0'],
      addresses: null,
      tunnels: [{ mode: 'gue', between: 12, outer: null, inner: null }],
      ports: [7000],
      sources: [
        { address: '10.0.0.0', bits: 24 },
        { address: 'fd00::1', bits: 128 },
      ],
      xdp: 'auto',
      mss: { kind: 'reckoned' },
      toa: null,
    },
  )
  t.match(wantedFromFlags({ vip: ['192.0.2.10'], interface: ['eth0'] }), { tunnels: [], ports: [6080] })
})

t.test('TCP option 254 is read where that is asked for, with or without VIPs', async t => {
  t.match(wantedFromFlags({ toa: true }), {
    vips: [],
    interfaces: [],
    toa: { sources: [], cgroup: null },
  })
  t.match(
    wantedFromFlags({
      toa: true,
      toaFrom: ['10.0.0.100', 'fd00::/64'],
      cgroup: '/sys/fs/cgroup/web',
      vip: ['192.0.2.10'],
      interface: ['eth0'],
    }),
    {
      vips: ['192.0.2.10'],
      toa: {
        sources: [
          { address: '10.0.0.100', bits: 32 },
          { address: 'fd00::', bits: 64 },
        ],
        cgroup: '/sys/fs/cgroup/web',
      },
    },
  )
  t.throws(() => wantedFromFlags({ toa: true, forward: ['ipip'] }), /no VIP is given/)
  t.throws(() => wantedFromFlags({ toa: true, toaFrom: ['10.0.0.0/33'] }), /is not a prefix/)
  for (const flags of [{ toaFrom: ['10.0.0.1'] }, { cgroup: '/x' }, { toa: false, cgroup: '/x' }])
    t.throws(() => wantedFromFlags({ vip: ['192.0.2.10'], interface: ['eth0'], ...flags }), /goes with --toa/)
})

t.test('prefixes of one network are one, and in one order', async t => {
  const prefix = (address: string, bits: number) => ({ address, bits })
  t.same(toaSources([prefix('fd00::1:0', 64), prefix('10.9.0.77', 24), prefix('10.9.0.0', 24)]), [
    prefix('10.9.0.0', 24),
    prefix('fd00::', 64),
  ])
  t.same(toaSources([prefix('10.255.255.255', 9), prefix('10.1.2.3', 0), prefix('10.1.2.3', 32)]), [
    prefix('0.0.0.0', 0),
    prefix('10.1.2.3', 32),
    prefix('10.128.0.0', 9),
  ])
  t.same(toaSources([prefix('::ffff:0:0', 96), prefix('fd00::f', 127), prefix('fd00::f', 0)]), [
    prefix('0.0.0.0', 0),
    prefix('::', 0),
    prefix('fd00::e', 127),
  ])
})

t.test('the root of the cgroups is found among the mounts', async t => {
  const line = (root: string, path: string, type: string) => `31 24 0:27 ${root} ${path} rw - ${type} none rw`
  t.same(
    parseCgroupMounts(
      [
        line('/', '/sys/fs/cgroup/cpu', 'cgroup'),
        line('/system.slice', '/mnt/slice', 'cgroup2'),
        '32 24 0:28 / /sys/fs/cgroup\\040two rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate',
        line('/', '/sys/fs/cgroup/unified', 'cgroup2'),
        '',
      ].join('\n'),
    ),
    ['/sys/fs/cgroup two', '/sys/fs/cgroup/unified'],
  )
})

/** facts of RFC 2003, 2473, 2784, 2890 and GUE: (family inside, outer addresses, tunnel) -> MSS with an MTU of 1500 */
t.test('the segment size is what is left of the MTU', async t => {
  const reckoned = { kind: 'reckoned' } as const
  const tunnels = { ipip: anyTunnel('ipip'), gre: anyTunnel('gre'), gue: anyTunnel('gue') }
  for (const [name, inner, addresses, mss] of [
    ['ipip', 4, ['10.0.0.1'], 1440],
    ['ipip', 6, ['10.0.0.1'], 1420],
    ['ipip', 4, ['fd00::1'], 1420],
    ['ipip', 6, ['fd00::1'], 1400],
    ['ipip', 4, ['10.0.0.1', 'fd00::1'], 1420],
    ['gre', 4, ['10.0.0.1'], 1432],
    ['gue', 4, ['10.0.0.1'], 1428],
    ['gue', 6, ['fd00::1'], 1388],
  ] as const)
    t.equal(
      announcedMss({ mss: reckoned, tunnels: [tunnels[name]] }, inner, 1500, addresses),
      mss,
      `${name} ${inner} ${addresses}`,
    )
  t.equal(announcedMss({ mss: reckoned, tunnels: [] }, 4, 1500, ['10.0.0.1']), null)
  t.equal(announcedMss({ mss: { kind: 'mtu', mtu: 1400 }, tunnels: [] }, 6, 1500, []), 1340)
  const exact = { mode: 'gre', between: 4, outer: 4, inner: 6 } as const
  t.equal(announcedMss({ mss: reckoned, tunnels: [exact] }, 6, 1500, ['10.0.0.1', 'fd00::1']), 1416)
  t.equal(
    announcedMss({ mss: reckoned, tunnels: [exact] }, 4, 1500, ['10.0.0.1']),
    null,
    'no such packet comes',
  )
})

t.test('the configuration tells of each tunnel of a backend exactly', async t => {
  const config = {
    interfaces: ['eth0'],
    services: {
      a: {
        vip: '192.0.2.1',
        port: 80,
        forward: 'ipip',
        backends: [
          { name: 'b1', address: '10.0.0.1' },
          { name: 'b2', address: '10.0.0.2', forward: { mode: 'gre', key: 7 } },
        ],
      },
      b: {
        vip: '2001:db8::1',
        port: 80,
        forward: { mode: 'gue', port: 7777, variant: 1 },
        backends: [
          { name: 'b2', address: 'fd00::2' },
          { name: 'b3', address: 'fd00::3', forward: 'dr' },
        ],
      },
      c: { vip: '192.0.2.3', port: 0, forward: 'gre', backends: [{ name: 'b2', address: '10.0.0.2' }] },
    },
  }
  const text = JSON.stringify(config)
  t.same(wantedFromConfig(text, 'b2', { fromBalancer: ['10.0.0.9'] }), {
    vips: ['192.0.2.1', '2001:db8::1', '192.0.2.3'],
    interfaces: [],
    addresses: ['10.0.0.2', 'fd00::2'],
    tunnels: [
      { mode: 'gre', between: 8, outer: 4, inner: 4 },
      { mode: 'gue', between: 8, outer: 6, inner: 6 },
      { mode: 'gre', between: 4, outer: 4, inner: 4 },
    ],
    ports: [7777],
    sources: [{ address: '10.0.0.9', bits: 32 }],
    xdp: 'auto',
    mss: { kind: 'reckoned' },
    toa: null,
  })
  t.match(wantedFromConfig(text, 'b3', {}), { vips: ['2001:db8::1'], tunnels: [], ports: [6080] })
  t.match(wantedFromConfig(text, 'FD00:0::2', {}), { vips: ['2001:db8::1'], addresses: ['fd00::2'] })
})

t.test('translated packets need no VIP, and FULLNAT tells who may be believed', async t => {
  const text = JSON.stringify({
    interfaces: ['eth0'],
    'local-addresses': ['10.1.0.100', 'fd00:1::100'],
    services: {
      a: { vip: '192.0.2.1', port: 80, forward: 'nat', backends: [{ name: 'b1', address: '10.0.0.1' }] },
      b: {
        vip: '192.0.2.2',
        port: 80,
        forward: 'fullnat',
        backends: [
          { name: 'b2', address: '10.0.0.2', port: 8080 },
          { name: 'b3', address: '10.0.0.3', forward: 'ipip' },
        ],
      },
      c: {
        vip: '192.0.2.3',
        port: 80,
        forward: 'fullnat',
        'local-addresses': ['10.1.1.0/31'],
        backends: [{ name: 'b2', address: '10.0.0.2' }],
      },
      d: {
        vip: '192.0.2.4',
        port: 80,
        forward: 'fullnat',
        toa: false,
        backends: [{ name: 'b4', address: '10.0.0.4' }],
      },
      e: {
        vip: '192.0.2.5',
        port: 53,
        protocol: 'udp',
        forward: 'fullnat',
        backends: [{ name: 'b4', address: '10.0.0.4' }],
      },
      f: { vip: '192.0.2.6', port: 80, backends: [{ name: 'b2', address: '10.0.0.22' }] },
    },
  })
  const prefix = (address: string, bits: number) => ({ address, bits })
  const own = [prefix('10.1.0.100', 32), prefix('fd00:1::100', 128)]
  const ofC = [prefix('10.1.1.0', 32), prefix('10.1.1.1', 32)]
  for (const [name, vips, addresses, sources] of [
    ['b1', [], ['10.0.0.1'], null],
    ['b2', ['192.0.2.6'], ['10.0.0.22'], [...own, ...ofC]],
    ['10.0.0.2', [], ['10.0.0.2'], [...own, ...ofC]],
    ['b3', ['192.0.2.2'], ['10.0.0.3'], null],
    ['b4', [], ['10.0.0.4'], null],
  ] as const) {
    const { toa, ...rest } = wantedFromConfig(text, name, {})
    t.match(rest, { vips, addresses }, name)
    t.equal(rest.vips.length, vips.length)
    t.same(toa, sources && { sources, cgroup: null }, name)
  }
  t.same(wantedFromConfig(text, 'b2', { toa: false }).toa, null)
  t.same(wantedFromConfig(text, 'b4', { toa: true }).toa, { sources: [], cgroup: null })
  t.same(wantedFromConfig(text, '10.0.0.2', { toaFrom: ['10.1.2.0/24'], cgroup: '/c' }).toa, {
    sources: [...own, ...ofC, prefix('10.1.2.0', 24)],
    cgroup: '/c',
  })
})

const attribute = (type: number, value: readonly number[]): number[] => [
  4 + value.length,
  0,
  type,
  0,
  ...value,
  ...Array((4 - (value.length % 4)) % 4).fill(0),
]

/** Little-endian hosts, as all that Linux runs BPF on here. */
t.test('a route keeps all that is not known of it', async t => {
  const head = [2, 16, 0, 8, 254, 186, 0, 1, 0x14, 0, 0, 0] // RTNH_F_LINKDOWN and RTNH_F_ONLINK
  const unknown = attribute(99, [1, 2, 3])
  const message = Uint8Array.from([
    ...head,
    ...unknown,
    ...attribute(15, [254, 0, 0, 0]),
    ...attribute(8, [...attribute(10, [20, 0, 0, 0]), ...attribute(2, [0xdc, 5, 0, 0])]),
    ...attribute(1, [10, 20, 0, 0]),
    ...attribute(4, [3, 0, 0, 0]),
  ])
  const route = readRoute(message)!
  t.match(route, {
    destination: '10.20.0.0/16',
    table: 254,
    ifindexes: [3],
    mtu: 1500,
    advmss: null,
    isPassing: false,
  })
  t.same([...route.message.subarray(8, 12)], [4, 0, 0, 0], 'what only the kernel says is left out')
  t.equal(Buffer.from(route.message).indexOf(Buffer.from(unknown)), route.message.length - unknown.length)

  const changed = readRoute(withAdvmss(route.message, 1440))!
  t.match(changed, { ...route, advmss: 1440, message: Uint8Array })
  t.same(readRoute(withAdvmss(changed.message, 1000))!.advmss, 1000)
  t.same(readRoute(changed.message)!.message, changed.message, 'a second reading changes nothing')
  t.same(restoring(route.message), route.message)
})

t.test('what is no way out of the host is no route', async t => {
  const route = (type: number, table: number, flags = 0): Uint8Array =>
    Uint8Array.from([2, 0, 0, 0, table, 3, 0, type, 0, flags, 0, 0, ...attribute(4, [2, 0, 0, 0])])
  t.ok(readRoute(route(1, 254)))
  t.equal(readRoute(route(2, 255)), null, 'local')
  t.equal(readRoute(route(1, 255)), null, 'the local table')
  t.equal(readRoute(route(6, 254)), null, 'blackhole')
  t.equal(readRoute(route(1, 254, 2)), null, 'cloned')
  t.ok(
    readRoute(Uint8Array.from([...route(1, 254).subarray(0, 5), 9, ...route(1, 254).subarray(6)]))?.isPassing,
  )
})

t.test('ethtool tells of merged packets', async t => {
  const features = parseFeatures(`Features for eth0:
rx-checksumming: on
generic-receive-offload: on
large-receive-offload: on [requested off]
	rx-gro-hw: on
rx-gro-list: on
rx-udp-gro-forwarding: off
`)
  t.match(mergingFindings('eth0', features), [
    { code: 'aggregation', kind: 'warning', hint: 'ethtool -K eth0 lro off' },
    { hint: 'ethtool -K eth0 rx-gro-hw off' },
  ])
  t.same(mergingFindings('eth0', parseFeatures('rx-gro-hw: off [fixed]')), [])
})

t.test('a unit quotes what systemd would take apart', async t => {
  const text = unitText({
    join: ['/usr/bin/node', '/opt/l/cli.js', 'join', '--from', '/etc/a b/$x%n"\\.yaml'],
    leave: ['/usr/bin/node', 'leave'],
    interfaces: ['eth0', 'bond-1.7'],
  })
  t.match(text, String.raw`ExecStart=/usr/bin/node /opt/l/cli.js join --from "/etc/a b/$$x%%n\"\\.yaml"`)
  t.match(text, String.raw`sys-subsystem-net-devices-bond\x2d1.7.device`)
})
