import t from 'tap'
import { addressText } from '../src/address.js'
import { checkLocalAddresses } from '../src/local-addresses.js'
import { createLocalAddresses } from '../src/local-addresses-followed.js'
import type { NetlinkRoute } from '../src/native.js'
import type { Route } from '../src/next-hop.js'
import { keepLog } from './control/fixtures/daemon.js'
import { linkOf, ownOf, routeBy, routeOf } from './fixtures/kernel-tables.js'

const nameOf = (ifindex: number): string => `eth${ifindex}`
const checkOne = (address: string, route: Route) =>
  checkLocalAddresses([address], [], () => route, nameOf)[0] ?? null

t.test("an address that the kernel has as the host's own is fine, whatever table says so", async t => {
  t.equal(checkOne('10.1.0.100', ownOf('10.1.0.100/32')), null)
  t.equal(checkOne('10.1.0.100', ownOf('10.1.0.96/28', { table: 100 })), null)
})

t.test('one on a link, where nobody answers for it, is not used, and it is said what to do', async t => {
  t.same(checkOne('10.1.0.100', routeOf('10.1.0.0/24')), {
    address: '10.1.0.100',
    addresses: ['10.1.0.100'],
    isUsable: false,
    text: "10.1.0.100 is not this host's, but on the link of eth1, where nobody answers for it: ip route add local 10.1.0.100 dev lo",
  })
  t.match(checkOne('fd00:1::100', routeOf('fd00:1::/64')), {
    isUsable: false,
    text: /: ip -6 addr add fd00:1::100\/128 dev eth1 nodad$/,
  })
})

t.test('one that a router may send here is used, and that is said', async t => {
  const routes = [
    routeBy('0.0.0.0/0', '10.1.0.1'),
    routeOf('10.9.0.0/16', { type: 6, nextHops: [] }),
    { error: 'ENETUNREACH' },
  ]
  for (const route of routes)
    t.match(checkOne('10.9.0.1', route), { isUsable: true, text: /a router sends here/ })
})

const allOf = (net: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) =>
    net.includes(':') ? `${net}${i === 0 ? '' : i.toString(16)}` : `${net}${i}`,
  )

t.test('a prefix is one finding, which counts its addresses and names it in what to do', async t => {
  const prefixes = ['10.1.0.0/28', 'fd00:1::/124', 'fd00:9::/124']
  const addresses = [
    ...allOf('10.1.0.', 16),
    '10.1.0.100',
    ...allOf('fd00:1::', 16),
    ...allOf('fd00:9::', 16),
  ]
  const routeTo = (address: string): Route => {
    if (address === '10.1.0.0') return ownOf('10.1.0.0/32')
    if (address.startsWith('fd00:9:')) return routeBy('::/0', 'fd00:1::fe')
    return routeOf(address.includes(':') ? 'fd00:1::/64' : '10.1.0.0/24')
  }
  const findings = checkLocalAddresses(addresses, prefixes, routeTo, nameOf)
  t.same(
    findings.map(({ address, addresses, isUsable }) => [address, addresses.length, isUsable]),
    [
      ['10.1.0.0/28', 15, false],
      ['10.1.0.100', 1, false],
      ['fd00:1::/124', 16, false],
      ['fd00:9::/124', 16, true],
    ],
  )
  t.equal(
    findings[0]?.text,
    "15 addresses of 10.1.0.0/28, the first is 10.1.0.1, are not this host's, but on the link of eth1, where nobody answers for them: ip route add local 10.1.0.0/28 dev lo",
  )
  t.match(findings[1]?.text, /^10\.1\.0\.100 is .*: ip route add local 10\.1\.0\.100 dev lo$/)
  t.match(
    findings[2]?.text,
    /: route fd00:1::\/124 here from .*, and ip -6 route add local fd00:1::\/124 dev lo$/,
  )
  t.match(findings[3]?.text, /sends here what is for them, or ip -6 route add local fd00:9::\/124 dev lo$/)
})

t.test('of a prefix whose addresses go to two places, each place is a finding', async t => {
  const routeTo = (address: string): Route =>
    address === '10.1.0.3' ? routeBy('10.1.0.3/32', '10.1.0.1') : routeOf('10.1.0.0/24')
  t.match(checkLocalAddresses(allOf('10.1.0.', 4), ['10.1.0.0/30'], routeTo, nameOf), [
    { address: '10.1.0.0/30', addresses: ['10.1.0.0', '10.1.0.1', '10.1.0.2'], isUsable: false },
    { address: '10.1.0.0/30', addresses: ['10.1.0.3'], isUsable: true, text: /^10\.1\.0\.3 is / },
  ])
})

const open = () => {
  const routes = new Map<string, NetlinkRoute>()
  const log = keepLog()
  let changes = 0
  const local = createLocalAddresses({
    netlink: {
      routeTo: async address => {
        const route = routes.get(addressText(address))
        if (!route) throw Object.assign(new Error('none'), { code: 'ENETUNREACH' })
        return route
      },
    },
    tables: () => ({ link: ifindex => linkOf(ifindex), neighbour: () => undefined }),
    onChange: () => {
      changes++
    },
    log,
  })
  const changed = async (): Promise<void> => {
    local.changed({ links: false, addresses: true, neighbours: false, routes: true })
    await new Promise(resolve => setImmediate(resolve))
  }
  return { local, routes, log, changed, changes: () => changes }
}

t.test('those of use are followed as routes change; a backend without any says why', async t => {
  const { local, routes, log, changed, changes } = open()
  const pool = ['10.1.0.100', '10.1.0.101', 'fd00::100']
  routes.set('10.1.0.100', routeOf('10.1.0.0/24'))
  routes.set('10.1.0.101', routeOf('10.1.0.0/24'))
  routes.set('fd00::100', ownOf('fd00::100/128'))
  t.same(local.usable(pool), pool, 'nothing is known of them yet')
  await local.follow(pool)
  t.equal(changes(), 1)
  t.same(local.usable(pool), ['fd00::100'])
  t.match(local.lacking(pool, 4), /^no local address: 10\.1\.0\.100 is not .*, nor are the 1 others of use$/)
  t.equal(local.lacking(pool, 6), null)
  t.match(local.lacking(['fd00::100'], 4), /no IPv4 local address/)
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 2)

  routes.set('10.1.0.101', ownOf('10.1.0.101/32'))
  await changed()
  t.equal(changes(), 2)
  t.same(local.usable(pool), ['10.1.0.101', 'fd00::100'])
  t.equal(local.lacking(pool, 4), null)
  t.match(local.findings(), [{ address: '10.1.0.100', isUsable: false }])

  await changed()
  t.equal(changes(), 2, 'nothing is another')
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 2, 'and nothing is said twice')
  routes.delete('10.1.0.100')
  await changed()
  t.match(local.findings(), [{ address: '10.1.0.100', isUsable: true }])
  await local.follow([])
  t.same(local.findings(), [])
})

t.test('the addresses of prefixes are told about together, once, and when they are found', async t => {
  const { local, routes, log, changed } = open()
  const pool = [...allOf('10.1.0.', 16), ...allOf('fd00::', 16)]
  for (const address of pool)
    routes.set(address, routeOf(address.includes(':') ? 'fd00::/64' : '10.1.0.0/24'))
  await local.follow(pool, ['10.1.0.0/28', 'fd00::/124'])
  const told = (level: string) => log.lines.filter(line => line.level === level).length
  t.equal(told('warn'), 2)
  t.match(local.lacking(pool, 4), /^no local address: 16 addresses of 10\.1\.0\.0\/28.* dev lo$/)
  for (const address of allOf('10.1.0.', 16)) {
    routes.set(address, ownOf(`${address}/32`))
    await changed()
  }
  t.same([told('warn'), told('info')], [2, 1], 'not once more for each')
  t.same(
    local.findings().map(({ address }) => address),
    ['fd00::/124'],
  )
  t.same(local.usable(pool), allOf('10.1.0.', 16))
  routes.set('10.1.0.7', routeOf('10.1.0.0/24'))
  await changed()
  t.equal(told('warn'), 3, 'one that is lost again is worth a word')
})
