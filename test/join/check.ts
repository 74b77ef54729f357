/** Each wrong state that `--check` names: it is made, named, mended by join where join can, and not named any more. */
import t from 'tap'
import { checkBackend } from '../../src/join/check.js'
import { type FindingCode, findingCodes } from '../../src/join/finding.js'
import { joinBackend, leave } from '../../src/join/join.js'
import type { Wanted } from '../../src/join/wanted.js'
import { inOwnNamespaces, skip } from '../fixtures/native.js'
import { freshHost, sh, snapshot, VIP4, VIP6, wanted } from './fixtures/backend-host.js'

const PASS_OBJECT = new URL('../../build/native/bpf/lab_pass.bpf.o', import.meta.url).pathname
const named = new Set<string>()

interface Case {
  readonly code: FindingCode
  readonly what: string
  /** Makes it so, on a host that has joined. */
  readonly script: string
  readonly wanted?: Wanted
  /** How join answers; absent: it mends it. */
  readonly refusal?: string
  /** What else is wrong then. */
  readonly also?: readonly FindingCode[]
}

const conf = (name: string, value: number) => `echo ${value} >/proc/sys/net/ipv4/conf/${name}`

const cases: readonly Case[] = [
  { code: 'arp-ignore', what: 'of all', script: conf('all/arp_ignore', 0) },
  { code: 'arp-ignore', what: 'of the interface', script: conf('eth0/arp_ignore', 0) },
  {
    code: 'arp-ignore',
    what: '3, and the VIP is not of host scope',
    script: `${conf('all/arp_ignore', 3)}; ip address del ${VIP4}/32 dev lo; ip address add ${VIP4}/32 dev lo`,
  },
  { code: 'arp-announce', what: 'of all', script: conf('all/arp_announce', 1) },
  { code: 'arp-announce', what: 'of the interface', script: conf('eth0/arp_announce', 0) },
  {
    code: 'rp-filter',
    what: 'strict, and clients are behind another interface',
    script: `${conf('eth0/rp_filter', 1)}; ip link add eth1 type veth peer name peer1; ip address add 10.0.1.11/24 dev eth1; ip link set eth1 up; ip link set peer1 up; ip route replace default via 10.0.1.1 advmss 1000; ip route change 10.0.1.0/24 dev eth1 proto kernel scope link src 10.0.1.11 advmss 1000`,
  },
  {
    code: 'rp-filter',
    what: 'strict by the word for all',
    script: `${conf('all/rp_filter', 1)}; ip link add eth1 type veth peer name peer1; ip link set eth1 up; ip link set peer1 up; ip route add 10.0.1.0/24 dev eth1 advmss 1000`,
  },
  { code: 'vip-missing', what: 'IPv4', script: `ip address del ${VIP4}/32 dev lo` },
  { code: 'vip-missing', what: 'IPv6', script: `ip address del ${VIP6}/128 dev lo` },
  {
    code: 'vip-answered',
    what: 'IPv4 on the interface',
    script: `ip address add ${VIP4}/32 dev eth0`,
    refusal: 'ERR_CONFLICT',
    also: ['program-differs'],
  },
  {
    code: 'vip-answered',
    what: 'IPv6 on the interface, with its net',
    script: `ip address add ${VIP6}/64 dev eth0 nodad; ip -6 route del 2001:db8::/64 dev eth0`,
    refusal: 'ERR_CONFLICT',
    also: ['program-differs'],
  },
  {
    code: 'ipv6-disabled',
    what: 'on the loopback',
    script: 'echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6',
    refusal: 'ERR_CONFLICT',
  },
  { code: 'program-missing', what: 'taken off', script: 'ip link set dev eth0 xdpdrv off' },
  {
    code: 'program-foreign',
    what: 'another one instead',
    script: `ip link set dev eth0 xdpdrv off; ip link set dev eth0 xdpdrv obj ${PASS_OBJECT} sec xdp`,
    refusal: 'ERR_XDP_BUSY',
  },
  {
    code: 'program-differs',
    what: 'another mode is wanted',
    script: '',
    wanted: wanted(['gre']),
    also: ['route-mss'],
  },
  { code: 'program-differs', what: 'another port', script: '', wanted: wanted(['ipip'], { ports: [7000] }) },
  {
    code: 'program-differs',
    what: 'another VIP',
    script: 'ip address add 192.0.2.99/32 dev lo',
    wanted: wanted(['ipip'], { vips: [VIP4, VIP6, '192.0.2.99'] }),
  },
  {
    code: 'program-differs',
    what: 'the host has another address',
    script: 'ip address add 10.0.0.12/24 dev eth0',
  },
  {
    code: 'program-differs',
    what: 'from balancers that are named',
    script: '',
    wanted: wanted(['ipip'], { sources: [{ address: '10.0.0.0', bits: 24 }] }),
  },
  {
    code: 'program-mode',
    what: 'generic is wanted',
    script: '',
    wanted: wanted(['ipip'], { xdp: 'generic' }),
  },
  { code: 'route-mss', what: 'a route lost it', script: 'ip route change default via 10.0.0.1' },
  { code: 'route-mss', what: 'a route is new', script: 'ip -6 route add fd00:99::/48 via fd00:10::1' },
  {
    code: 'route-mss',
    what: 'the interface went down and up',
    script:
      'ip link set eth0 down; ip link set eth0 up; ip address replace fd00:10::11/64 dev eth0 nodad; ip route replace default via 10.0.0.1; ip -6 route replace default via fd00:10::1',
  },
  {
    code: 'packet-size',
    what: 'IPv6 demands more than the tunnel has room for',
    script: '',
    wanted: wanted(['ipip'], { mss: { kind: 'mtu', mtu: 1200 } }),
    refusal: 'ERR_CONFLICT',
    also: ['route-mss'],
  },
  {
    code: 'no-interface',
    what: 'none of that name',
    script: '',
    wanted: wanted(['ipip'], { interfaces: ['eth7'] }),
    refusal: 'ERR_NO_INTERFACE',
  },
  {
    code: 'no-interface',
    what: 'none with the address',
    script: '',
    wanted: wanted(['ipip'], { interfaces: [], addresses: ['10.5.5.5'] }),
    refusal: 'ERR_NO_INTERFACE',
    also: ['address-missing'],
  },
  {
    code: 'no-address',
    what: 'its addresses were taken off',
    script: 'ip address flush dev eth0 scope global',
    refusal: 'ERR_NOT_FOUND',
    also: ['program-differs'],
  },
  {
    code: 'no-address',
    what: 'none of the family by which the tunnel comes',
    script: '',
    wanted: wanted([], {
      addresses: ['10.0.0.11'],
      tunnels: [{ mode: 'ipip', between: 0, outer: 6, inner: 4 }],
    }),
    refusal: 'ERR_NOT_FOUND',
    also: ['program-differs', 'route-mss'],
  },
  {
    code: 'address-missing',
    what: 'one that was named',
    script: '',
    wanted: wanted(['ipip'], { addresses: ['10.0.0.11', '10.0.0.77'] }),
    refusal: 'ERR_NOT_FOUND',
    also: ['program-differs'],
  },
  {
    code: 'vip-is-own',
    what: 'a backend without an address of its own',
    script: '',
    wanted: wanted(['ipip'], { vips: ['10.0.0.11'], addresses: ['10.0.0.11'] }),
    refusal: 'ERR_CONFLICT',
    also: ['vip-answered', 'program-differs'],
  },
]

/** What is named with the code, and nothing that is not expected. */
const codesOf = async (wish: Wanted): Promise<readonly string[]> => {
  const { findings, ok } = await checkBackend(wish)
  for (const { code } of findings) named.add(code)
  t.equal(
    ok,
    findings.every(({ kind }) => kind === 'warning'),
  )
  for (const { message, hint } of findings) t.ok(message.length > 10 && hint.length > 10, message)
  return [...new Set(findings.map(({ code }) => code))]
}

if (inOwnNamespaces(t, import.meta.url)) {
  for (const { code, what, script, wanted: wish = wanted(), refusal, also = [] } of cases)
    t.test(`${code}: ${what}`, { skip }, async t => {
      const { statePath } = await freshHost(t)
      await joinBackend(wanted(), statePath)
      t.same(await codesOf(wanted()), [], 'nothing is wrong before')

      if (script !== '') sh(script)
      const codes = await codesOf(wish)
      t.ok(codes.includes(code), codes.join(' '))
      t.same(
        codes.filter(one => one !== code && !(also as readonly string[]).includes(one)),
        [],
      )

      if (refusal !== undefined) {
        const before = snapshot()
        await t.rejects(joinBackend(wish, statePath), { code: refusal })
        t.same(snapshot(), before, 'a refused join changes nothing')
        return
      }
      await joinBackend(wish, statePath)
      t.same(await codesOf(wish), [], 'join has mended it')
      await leave(statePath)
    })

  t.test('interface-down: packets cannot come; join does what it can', { skip }, async t => {
    const { statePath } = await freshHost(t)
    sh('ip link set eth0 down; ip address replace fd00:10::11/64 dev eth0 nodad')
    t.ok((await codesOf(wanted())).includes('interface-down'))
    const { warnings } = await joinBackend(wanted(), statePath)
    t.match(warnings, [{ code: 'interface-down' }])
    t.same(await codesOf(wanted()), ['interface-down'])
    sh('ip link set eth0 up')
    await joinBackend(wanted(), statePath)
    t.same(await codesOf(wanted()), [])
  })

  t.test('warnings are no failure', { skip }, async t => {
    const { statePath } = await freshHost(t)
    sh(`
      ip link add bridge0 type bridge; ip address add 10.0.5.11/24 dev bridge0; ip link set bridge0 up
      ip -6 route add fd00:77::/48 via fd00:10::1 proto ra
      ip -6 route add fd00:78::/48 via fd00:10::1 expires 1000
      ip route add 10.7.0.0/16 via 10.0.0.1 metric 5; ip route append 10.7.0.0/16 via 10.0.0.2 metric 5
    `)
    const wish = wanted(['ipip'], { interfaces: ['bridge0'] })
    const before = snapshot()
    const { warnings } = await joinBackend(wish, statePath)
    t.same(
      warnings.map(({ code, kind }) => `${kind} ${code}`),
      Array(4).fill('warning route-passing'),
    )
    t.same([...(await codesOf(wish))].sort(), ['program-generic', 'route-passing'])
    t.ok((await checkBackend(wish)).ok)
    await leave(statePath)
    t.same(snapshot(), before)
  })

  t.test('a strict filter that drops nothing is left alone', { skip }, async t => {
    const { statePath } = await freshHost(t)
    sh(conf('all/rp_filter', 1))
    const { changed } = await joinBackend(wanted(), statePath)
    t.notMatch(changed.join('\n'), /rp_filter/)
    t.same(await codesOf(wanted()), [])
  })

  t.test('IPv6 alone needs nothing of ARP', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const { changed } = await joinBackend(wanted([], { vips: [VIP6] }), statePath)
    t.same(changed, [`address ${VIP6} on the loopback`])
  })

  t.test(
    'every finding has been met here but that of the network card, and those of TOA: see toa.ts',
    { skip },
    async t => {
      t.same(
        Object.keys(findingCodes).filter(code => !named.has(code) && !code.startsWith('toa-')),
        ['aggregation'],
      )
    },
  )
}
