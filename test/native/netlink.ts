import t from 'tap'
import type { NetlinkEvent } from '../../src/native.js'
import { ifindexOf, ipJson, otherNamespace, run, until, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'

const { Netlink } = native

/** Dotted IPv4, or the 32 hex digits of an IPv6 address. */
const bytes = (text: string): Uint8Array =>
  text.includes('.') ? Uint8Array.from(text.split('.'), Number) : Uint8Array.from(Buffer.from(text, 'hex'))

/** As `ip -json` writes it: `02:00:..`. */
const macText = (mac: Uint8Array | null): string | undefined =>
  mac
    ? Buffer.from(mac)
        .toString('hex')
        .replace(/(..)(?=.)/g, '$1:')
    : undefined

const v4Text = (address: Uint8Array): string => address.join('.')

if (inOwnNamespaces(t, import.meta.url)) {
  const netlink = new Netlink()
  t.teardown(() => netlink.close())
  run('ip link set lo up')
  vethPair(t, 'one', 'two')
  run('ip addr add 10.9.0.1/24 dev one')
  run('ip -6 addr add fd00::1/64 dev one nodad')
  const one = ifindexOf('one')

  t.test('links are those that ip shows', async t => {
    run('ip link add bridge0 type bridge')
    t.teardown(() => run('ip link delete bridge0'))
    run('ip link set bridge0 up mtu 1400')
    interface Row {
      readonly ifindex: number
      readonly ifname: string
      readonly mtu: number
      readonly address: string
      readonly flags: readonly string[]
      readonly linkinfo?: { readonly info_kind: string }
    }
    const expected = ipJson<Row>('-details link show')
    const links = await netlink.links()
    t.same(
      links.map(link => [link.ifindex, link.name, link.mtu, macText(link.mac), link.kind]),
      expected.map(row => [row.ifindex, row.ifname, row.mtu, row.address, row.linkinfo?.info_kind ?? null]),
    )
    const byName = new Map(links.map(link => [link.name, link]))
    t.match(byName.get('lo'), { type: 772, lower: null, kind: null })
    t.match(byName.get('one'), { type: 1, lower: ifindexOf('two'), kind: 'veth' })
    t.equal((byName.get('bridge0')?.flags ?? 0) & 1, 1, 'IFF_UP')
  })

  t.test('a device whose peer is in another namespace has no lower device', async t => {
    const other = await otherNamespace(t)
    run('ip link add three type veth peer name four')
    t.teardown(() => run('ip link delete three'))
    run(`ip link set four netns ${other.pid}`)
    t.equal((await netlink.links()).find(link => link.name === 'three')?.lower, null)
  })

  t.test('addresses are those that ip shows', async t => {
    run('ip addr add 10.77.0.1 peer 10.77.0.2/32 dev two')
    interface Row {
      readonly ifindex: number
      readonly addr_info: readonly {
        readonly family: string
        readonly local: string
        readonly prefixlen: number
      }[]
    }
    const expected = ipJson<Row>('-4 addr show').flatMap(row =>
      row.addr_info.map(info => [row.ifindex, info.local, info.prefixlen]),
    )
    const addresses = await netlink.addresses()
    t.same(
      addresses
        .filter(({ address }) => address.length === 4)
        .map(({ ifindex, address, prefixLength }) => [ifindex, v4Text(address), prefixLength]),
      expected,
    )
    t.ok(
      addresses.some(
        ({ ifindex, address, prefixLength }) =>
          ifindex === one &&
          prefixLength === 64 &&
          Buffer.from(address).toString('hex') === 'fd000000000000000000000000000001',
      ),
    )
  })

  t.test('routes of both families, every kind, with all their next hops', async t => {
    run('ip route add 10.50.0.0/16 nexthop via 10.9.0.2 weight 3 nexthop via 10.9.0.3')
    run('ip route add 10.51.0.0/16 via inet6 fd00::9 dev one')
    run('ip route add blackhole 10.52.0.0/16')
    run('ip route add unreachable 10.53.0.0/16 metric 77')
    run('ip route add prohibit 10.54.0.0/16')
    run('ip nexthop add id 7 via 10.9.0.7 dev one')
    run('ip route add 10.55.0.0/16 nhid 7')
    run('ip route add 10.56.0.0/16 via 10.9.0.5 table 1000')
    run('ip route add default via 10.9.0.254')
    run('ip -6 route add fd56::/64 nexthop via fd00::2 nexthop via fd00::3')
    const routes = await netlink.routes()
    const to = (destination: string, prefixLength = 16) => {
      const wanted = bytes(destination)
      return routes.find(
        route =>
          route.prefixLength === prefixLength &&
          route.table !== 255 &&
          Buffer.compare(route.destination, wanted) === 0,
      )
    }
    const hop = (gateway: string, weight = 1) => ({
      ifindex: one,
      gateway: bytes(gateway),
      weight,
      flags: 0,
      isEncapsulated: false,
    })
    const main = { table: 254, type: 1, priority: 0, prefixLength: 16 }
    t.match(to('10.9.0.0', 24), { type: 1, nextHops: [{ ifindex: one, gateway: null, weight: 1 }] })
    t.match(to('10.50.0.0'), { ...main, nextHops: [hop('10.9.0.2', 3), hop('10.9.0.3')] })
    t.same(to('10.51.0.0')?.nextHops, [hop('fd000000000000000000000000000009')], 'IPv4 by an IPv6 gateway')
    t.match(to('10.52.0.0'), { ...main, type: 6, nextHops: [] })
    t.match(to('10.53.0.0'), { ...main, type: 7, priority: 77 })
    t.match(to('10.54.0.0'), { ...main, type: 8 })
    t.same(to('10.55.0.0')?.nextHops, [hop('10.9.0.7')], 'a next hop object')
    t.match(to('10.56.0.0'), { ...main, table: 1000 })
    t.match(to('0.0.0.0', 0), { ...main, prefixLength: 0, nextHops: [hop('10.9.0.254')] })
    t.same(to('fd560000000000000000000000000000', 64)?.nextHops, [
      hop('fd000000000000000000000000000002'),
      hop('fd000000000000000000000000000003'),
    ])
    t.ok(
      routes.some(
        route => route.type === 2 && route.table === 255 && v4Text(route.destination) === '10.9.0.1',
      ),
    )
    run('ip route delete default')
  })

  t.test('the route to an address is the kernel’s choice', async t => {
    const hopTo = async (address: string) => (await netlink.routeTo(bytes(address))).nextHops[0]
    const hop = (gateway: string | null) => ({
      ifindex: one,
      gateway: gateway && bytes(gateway),
      weight: 1,
      flags: 0,
      isEncapsulated: false,
    })
    t.same(await netlink.routeTo(bytes('10.9.0.9')), {
      destination: bytes('10.9.0.9'),
      prefixLength: 32,
      table: 254,
      type: 1,
      priority: 0,
      mtu: null,
      source: bytes('10.9.0.1'),
      tos: 0,
      sourceLength: 0,
      nextHops: [hop(null)],
    })
    const oneOfTwo = (await hopTo('10.50.1.1'))?.gateway
    t.ok(oneOfTwo && ['10.9.0.2', '10.9.0.3'].includes(v4Text(oneOfTwo)))
    t.same(await hopTo('10.51.0.1'), hop('fd000000000000000000000000000009'))
    t.same(await hopTo('10.55.0.1'), hop('10.9.0.7'))
    t.same(await hopTo('fd000000000000000000000000000042'), hop(null))
    t.match(await netlink.routeTo(bytes('10.9.0.1')), { type: 2, nextHops: [{ ifindex: 1 }] }, 'of this host')
  })

  t.test('a route says its MTU and the source that the kernel prefers', async t => {
    run('ip addr add 10.9.0.8/24 dev one')
    run('ip route add 10.61.0.0/16 via 10.9.0.2 mtu 1400 src 10.9.0.8')
    run('ip route add 10.62.0.0/16 via 10.9.0.2 mtu lock 1300')
    run('ip -6 route add fd61::/64 via fd00::2 mtu 1380')
    const route = (address: string) => netlink.routeTo(bytes(address))
    t.match(await route('10.61.0.1'), { mtu: 1400, source: bytes('10.9.0.8') })
    t.match(await route('10.62.0.1'), { mtu: 1300, source: bytes('10.9.0.1') })
    t.match(await route('fd610000000000000000000000000001'), {
      mtu: 1380,
      source: bytes('fd000000000000000000000000000001'),
    })
    t.match(await route('10.50.1.1'), { mtu: null })
    const listed = (await netlink.routes()).filter(({ mtu }) => mtu !== null)
    t.same(listed.map(({ mtu }) => mtu).sort(), [1300, 1380, 1400])
  })

  t.test('a route says to which packets it applies, and how each of its next hops is', async t => {
    run('ip route add 10.63.0.0/16 tos 0x10 via 10.9.0.2')
    run('ip -6 route add fd63::/64 from fd64::/56 via fd00::2')
    run('ip route add 10.64.0.0/16 via 10.9.0.2 onlink dev one')
    run('ip route add 10.65.0.0/16 encap ip id 7 dst 10.9.0.3 via 10.9.0.2 dev one')
    run('ip link add left type veth peer name right')
    t.teardown(() => run('ip link delete left'))
    run('ip addr add 10.66.0.1/24 dev left')
    run('ip link set left up')
    const routes = await netlink.routes()
    const to = (destination: string) =>
      routes.find(one => one.table !== 255 && Buffer.compare(one.destination, bytes(destination)) === 0)
    t.match(to('10.63.0.0'), { tos: 0x10, sourceLength: 0, nextHops: [{ flags: 0, isEncapsulated: false }] })
    t.match(to('fd630000000000000000000000000000'), { tos: 0, sourceLength: 56 })
    t.match(to('10.64.0.0'), { nextHops: [{ flags: 4 }] }, 'RTNH_F_ONLINK')
    t.match(to('10.65.0.0'), { nextHops: [{ isEncapsulated: true }] })
    t.match(to('10.66.0.0'), { nextHops: [{ flags: 16 }] }, 'RTNH_F_LINKDOWN')
  })

  t.test('of each family no more routes are handed over than were asked for', async t => {
    const all = await netlink.routes()
    const ofSize = (routes: typeof all, size: number) => routes.filter(one => one.destination.length === size)
    const few = await netlink.routes(3)
    t.same(ofSize(few, 4), ofSize(all, 4).slice(0, 3))
    t.same(ofSize(few, 16), ofSize(all, 16).slice(0, 3))
    t.same(await netlink.routes(10_000), all)
    await t.rejects(netlink.routes(0), { name: 'RangeError' })
  })

  t.test('rules are those of both families, and which of them apply to all packets', async t => {
    const plain = (family: 4 | 6, priority: number, table: number) => ({
      family,
      priority,
      table,
      action: 1,
      isSelective: false,
    })
    const own = [
      plain(4, 0, 255),
      plain(4, 32766, 254),
      plain(4, 32767, 253),
      plain(6, 0, 255),
      plain(6, 32766, 254),
    ]
    t.same(await netlink.rules(), own)
    const others = [
      'from 10.0.0.0/8 table 100',
      'to 10.0.0.0/8 table 100',
      'iif one table 100',
      'oif one table 100',
      'fwmark 7 table 100',
      'tos 0x10 table 100',
      'dport 80 table 100',
      'uidrange 0-5 table 100',
      'not from all table 100',
      'table main suppress_prefixlength 0',
    ]
    for (const other of others) {
      run(`ip rule add ${other} priority 99`)
      const found = (await netlink.rules()).filter(({ priority }) => priority === 99)
      t.match(found, [{ family: 4, isSelective: true }], other)
      run('ip rule del priority 99')
    }
    run('ip -6 rule add blackhole priority 99')
    t.match(
      (await netlink.rules()).find(({ priority }) => priority === 99),
      { family: 6, action: 6, isSelective: false },
    )
    run('ip -6 rule del priority 99')
    t.same(await netlink.rules(), own)
  })

  t.test('an address says its scope, and what is to be known of it', async t => {
    run('ip addr add 10.9.0.2/24 dev one')
    run('ip addr add 10.78.0.1/32 dev one scope host')
    run('ip -6 addr add fd00::3/64 dev one nodad preferred_lft 0')
    t.teardown(() => run('ip addr del 10.9.0.2/24 dev one'))
    const addresses = await netlink.addresses()
    const of = (text: string) =>
      addresses.find(({ ifindex, address }) => ifindex === one && Buffer.compare(address, bytes(text)) === 0)
    const secondary = 0x01
    const deprecated = 0x20
    t.match(of('10.9.0.1'), { scope: 0, flags: 0x80 })
    t.equal(of('10.9.0.2')!.flags & secondary, secondary)
    t.equal(of('10.78.0.1')!.scope, 254)
    t.equal(of('fd000000000000000000000000000003')!.flags & deprecated, deprecated)
  })

  t.test('no route is an error that says why', async t => {
    const none = (address: string, code: string) =>
      t.rejects(netlink.routeTo(bytes(address)), { code, syscall: 'RTM_GETROUTE' })
    run('ip -6 route add unreachable fd57::/64')
    await none('10.52.0.1', 'EINVAL') // blackhole
    await none('10.53.0.1', 'EHOSTUNREACH') // unreachable
    await none('10.54.0.1', 'EACCES') // prohibit
    await none('8.8.8.8', 'ENETUNREACH')
    await none('fd570000000000000000000000000001', 'EHOSTUNREACH')
    await none('20010000000000000000000000000001', 'ENETUNREACH')
    for (const wrong of [new Uint8Array(0), new Uint8Array(5), new Uint8Array(17)])
      await t.rejects(netlink.routeTo(wrong), { name: 'RangeError' })
    await t.rejects(netlink.routeTo('10.0.0.1' as never), { name: 'TypeError' })
  })

  t.test('neighbours are those that ip shows', async t => {
    run('ip neigh add 10.9.0.77 lladdr 02:00:00:00:00:77 dev one nud permanent')
    run('ip neigh add fd00::77 lladdr 02:00:00:00:00:78 dev one nud stale')
    const neighbours = (await netlink.neighbours()).filter(neighbour => neighbour.state !== 64)
    t.same(neighbours, [
      { ifindex: one, address: bytes('10.9.0.77'), mac: Uint8Array.from([2, 0, 0, 0, 0, 0x77]), state: 128 },
      {
        ifindex: one,
        address: bytes('fd000000000000000000000000000077'),
        mac: Uint8Array.from([2, 0, 0, 0, 0, 0x78]),
        state: 4,
      },
    ])
  })

  t.test('many requests at once are each answered with their own', async t => {
    const asked = Array.from({ length: 200 }, (_, i) => bytes(`10.9.0.${i + 2}`))
    const answers = await Promise.all([...asked.map(address => netlink.routeTo(address)), netlink.links()])
    t.same(
      answers.slice(0, 200).map(route => 'destination' in route && route.destination),
      asked,
    )
  })

  t.test('a neighbour is resolved: the kernel asks, and the answer comes as an event', async t => {
    const other = await otherNamespace(t)
    run('ip link add here type veth peer name there')
    t.teardown(() => run('ip link delete here'))
    run(`ip link set there netns ${other.pid}`)
    run('ip addr add 10.8.0.1/24 dev here')
    run('ip -6 addr add fd08::1/64 dev here nodad')
    run('ip link set here up')
    other.run('ip addr add 10.8.0.2/24 dev there')
    other.run('ip -6 addr add fd08::2/64 dev there nodad')
    other.run('ip link set there up')
    const events: NetlinkEvent[] = []
    const own = new Netlink()
    t.teardown(() => own.close())
    own.subscribe(batch => events.push(...batch))
    const here = ifindexOf('here')
    for (const address of [bytes('10.8.0.2'), bytes('fd080000000000000000000000000002')]) {
      const isResolved = (event: NetlinkEvent): boolean =>
        event.kind === 'neighbour' &&
        event.neighbour.ifindex === here &&
        Buffer.compare(event.neighbour.address, address) === 0 &&
        event.neighbour.mac !== null &&
        (event.neighbour.state & 2) !== 0
      await own.resolve(here, address)
      await until('the neighbour is reachable', () => events.some(isResolved))
      const [event] = events.filter(isResolved)
      const mac = JSON.parse(other.run('ip -json link show there'))[0].address
      t.equal(event?.kind === 'neighbour' && macText(event.neighbour.mac), mac)
      await own.resolve(here, address)
    }
    const silent = bytes('10.8.0.99')
    await own.resolve(here, silent)
    await until('the neighbour fails', () =>
      events.some(
        event =>
          event.kind === 'neighbour' &&
          Buffer.compare(event.neighbour.address, silent) === 0 &&
          event.neighbour.state === 32 &&
          event.neighbour.mac === null,
      ),
    )
  })

  t.test('resolving leaves a permanent neighbour as it is', async t => {
    await netlink.resolve(one, bytes('10.9.0.77'))
    t.match(
      (await netlink.neighbours()).find(({ address }) => v4Text(address) === '10.9.0.77'),
      { state: 128, mac: Uint8Array.from([2, 0, 0, 0, 0, 0x77]) },
    )
  })

  t.test('resolving by an interface that does not exist is an error', async t => {
    await t.rejects(netlink.resolve(0x7ffffff0, bytes('10.9.0.5')), { code: 'ENODEV' })
    await t.rejects(netlink.resolve(0, bytes('10.9.0.5')), { name: 'RangeError' })
    await t.rejects(netlink.resolve(one, new Uint8Array(6)), { name: 'RangeError' })
  })

  t.test('closing twice is fine; every call after it fails with EBADF', async t => {
    const own = new Netlink()
    own.subscribe(() => {})
    const running = own.links()
    own.close()
    own.close()
    t.ok((await running).length > 0)
    const closed = { code: 'EBADF' }
    await t.rejects(own.links(), closed)
    await t.rejects(own.addresses(), closed)
    await t.rejects(own.routes(), closed)
    await t.rejects(own.neighbours(), closed)
    await t.rejects(own.routeTo(bytes('10.9.0.9')), closed)
    await t.rejects(own.resolve(one, bytes('10.9.0.9')), closed)
    t.throws(() => own.subscribe(() => {}), closed)
  })
} else if (skip) {
  t.test('netlink', { skip }, async () => {})
}
