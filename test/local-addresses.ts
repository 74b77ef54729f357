import t from 'tap'
import { addressText } from '../src/address.js'
import { checkLocalAddress } from '../src/local-addresses.js'
import { createLocalAddresses } from '../src/local-addresses-followed.js'
import type { NetlinkRoute } from '../src/native.js'
import { keepLog } from './control/fixtures/daemon.js'
import { linkOf, ownOf, routeBy, routeOf } from './fixtures/kernel-tables.js'

const nameOf = (ifindex: number): string => `eth${ifindex}`

t.test("an address that the kernel has as the host's own is fine, whatever table says so", async t => {
  t.equal(checkLocalAddress('10.1.0.100', ownOf('10.1.0.100/32'), nameOf), null)
  t.equal(checkLocalAddress('10.1.0.100', ownOf('10.1.0.96/28', { table: 100 }), nameOf), null)
})

t.test('one on a link, where nobody answers for it, is not used, and it is said what to do', async t => {
  t.same(checkLocalAddress('10.1.0.100', routeOf('10.1.0.0/24'), nameOf), {
    address: '10.1.0.100',
    isUsable: false,
    text: "10.1.0.100 is not this host's, but on the link of eth1, where nobody answers for it: ip route add local 10.1.0.100 dev lo",
  })
  t.match(checkLocalAddress('fd00:1::100', routeOf('fd00:1::/64'), nameOf), {
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
    t.match(checkLocalAddress('10.9.0.1', route, nameOf), { isUsable: true, text: /a router sends here/ })
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
