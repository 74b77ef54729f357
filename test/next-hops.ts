import t, { type Test } from 'tap'
import { addressText, shortAddressBytes } from '../src/address.js'
import type { NetlinkEvent, NetlinkLink, NetlinkNeighbour, NetlinkRoute } from '../src/native.js'
import type { NeighbourKey } from '../src/next-hop.js'
import type { Target } from '../src/next-hop-target.js'
import { createNextHops, type KernelChange, type NextHopsOptions } from '../src/next-hops.js'
import { keepLog } from './control/fixtures/daemon.js'

const FAR = '10.9.0.5'
const far: Target = { address: FAR, mac: null, isTunnelled: true }
const OWN = Uint8Array.of(2, 0, 0, 0, 0, 2)
const macOf = (last: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 1, last)

const link = (ifindex: number, changes: Partial<NetlinkLink> = {}): NetlinkLink => ({
  ifindex,
  name: `eth${ifindex}`,
  lower: null,
  kind: null,
  mac: OWN,
  mtu: 1500,
  flags: 1,
  type: 1,
  ...changes,
})
const via = (gateway: string | null, ifindex = 1, mtu: number | null = null): NetlinkRoute => ({
  destination: shortAddressBytes(FAR),
  prefixLength: 32,
  table: 254,
  type: 1,
  priority: 0,
  mtu,
  source: Uint8Array.of(10, 0, 0, 2),
  tos: 0,
  sourceLength: 0,
  nextHops: [
    {
      ifindex,
      gateway: gateway === null ? null : shortAddressBytes(gateway),
      weight: 1,
      flags: 0,
      isEncapsulated: false,
    },
  ],
})
const neighbour = (address: string, last: number, ifindex = 1): NetlinkNeighbour => ({
  ifindex,
  address: shortAddressBytes(address),
  mac: macOf(last),
  state: 2,
})
const failure = (code: string): Error => Object.assign(new Error(code), { code })

/** A kernel whose tables the test sets; every change of next hops is awaited by `changed`. */
const open = async (t: Test, options: Partial<NextHopsOptions> = {}) => {
  const routes = new Map<string, NetlinkRoute | Error>([[FAR, via('10.0.0.1')]])
  const links = new Map([1, 2].map(ifindex => [ifindex, link(ifindex)]))
  const neighbours = [
    neighbour('10.0.0.1', 1),
    neighbour('10.0.0.3', 3),
    neighbour('10.0.0.4', 4, 2),
    neighbour(FAR, 5),
  ]
  let tell: (events: readonly NetlinkEvent[]) => void = () => {}
  let held: (() => void)[] | null = null
  const paths: string[] = []
  const waiting: (() => void)[] = []
  const asked: string[] = []
  const netlink: NextHopsOptions['netlink'] = {
    links: async () => [...links.values()],
    neighbours: async () => [...neighbours],
    routeTo: async address => {
      const route = routes.get(addressText(address)) ?? failure('ENETUNREACH')
      const isHeld = held
      if (isHeld) await new Promise<void>(resolve => isHeld.push(resolve))
      if (route instanceof Error) throw route
      return route
    },
    resolve: async (ifindex, address) => void asked.push(`${ifindex}/${addressText(address)}`),
    subscribe: onEvents => {
      tell = onEvents
    },
    close: () => {},
  }
  const nextHops = await createNextHops({
    netlink,
    entry: all => all[0],
    onChange: () => {
      for (const done of waiting.splice(0)) done()
    },
    log: keepLog(),
    probe: true,
    onPathChange: address => paths.push(address),
    ...options,
  })
  t.teardown(() => nextHops.close())
  const changed = (...events: NetlinkEvent[]): Promise<void> =>
    new Promise(resolve => {
      waiting.push(resolve)
      tell(events)
    })
  return {
    nextHops,
    routes,
    links,
    paths,
    asked,
    changed,
    /** Answers wait from here on, each until its function is called. */
    holdAnswers: (): readonly (() => void)[] => {
      held = []
      return held
    },
    route: async (route: NetlinkRoute | Error): Promise<void> => {
      routes.set(FAR, route)
      await changed({ kind: 'route', change: 'new', route: via(null) })
    },
    link: async (one: NetlinkLink): Promise<void> => {
      links.set(one.ifindex, one)
      await changed({ kind: 'link', change: 'new', link: one })
    },
  }
}

t.test('a route that changes is followed: gateway, device, MTU, and none', async t => {
  const { nextHops, route, paths } = await open(t)
  await nextHops.follow([far])
  t.match(nextHops.get(far), { nextHop: { ifindex: 1, mac: macOf(1), mtu: 1500 } })
  t.equal(nextHops.routeMtu(FAR), 1500)

  await route(via('10.0.0.3'))
  t.match(nextHops.get(far), { nextHop: { ifindex: 1, mac: macOf(3) } })
  await route(via('10.0.0.4', 2))
  t.match(nextHops.get(far), { nextHop: { ifindex: 2, mac: macOf(4) } })
  await route(via('10.0.0.4', 2, 1400))
  t.match(nextHops.get(far), { nextHop: { mtu: 1400 } })
  t.equal(nextHops.routeMtu(FAR), 1400)
  await route(via(null))
  t.match(nextHops.get(far), { nextHop: { ifindex: 1, mac: macOf(5) } })
  for (const code of ['EINVAL', 'EHOSTUNREACH', 'ENETUNREACH']) {
    await route(failure(code))
    t.match(nextHops.get(far), { reason: `no route to ${FAR} (${code})` })
    t.equal(nextHops.routeMtu(FAR), null)
  }
  await route(via('10.0.0.1'))
  t.match(nextHops.get(far), { nextHop: { mac: macOf(1) } })
  t.equal(paths.length, 8, 'each is another path')
})

t.test('another source is no other path', async t => {
  const { nextHops, route, paths } = await open(t)
  await nextHops.follow([far])
  await route({ ...via('10.0.0.1'), source: Uint8Array.of(10, 0, 0, 7) })
  const resolution = nextHops.get(far)
  t.same('nextHop' in resolution && resolution.nextHop.source?.at(-1), 7)
  t.same(paths, [])
})

t.test('the MTU of a device is followed', async t => {
  const { nextHops, link: set } = await open(t)
  await nextHops.follow([far])
  await set(link(1, { mtu: 1400 }))
  t.match(nextHops.get(far), { nextHop: { mtu: 1400 } })
  await set(link(1, { mtu: 9000 }))
  t.match(nextHops.get(far), { nextHop: { mtu: 9000 } })
  t.match(nextHops.links()[0], { mtu: 9000 })
})

t.test('one address may be direct for one service and tunnelled for another', async t => {
  const { nextHops } = await open(t, { learntMtu: () => 1300 })
  const direct: Target = { address: FAR, mac: null }
  await nextHops.follow([direct])
  t.match(nextHops.get(direct), { reason: /dr needs a backend on the link/ })
  t.equal(nextHops.routeMtu(FAR), null, 'no tunnel goes there')
  await nextHops.follow([direct, far])
  t.match(nextHops.get(direct), { reason: /dr needs a backend on the link/ })
  t.match(nextHops.get(far), { nextHop: { mtu: 1300 }, learntMtu: 1300 })
})

t.test('what is learnt of a path counts when it is said to', async t => {
  let learnt: number | null = null
  const { nextHops } = await open(t, { learntMtu: () => learnt })
  await nextHops.follow([far])
  t.match(nextHops.get(far), { nextHop: { mtu: 1500 } })
  learnt = 1400
  nextHops.reconsider()
  t.match(nextHops.get(far), { nextHop: { mtu: 1400 } })
})

t.test('a gateway is asked for, and believed as a backend is', async t => {
  const { nextHops, route, changed, asked } = await open(t)
  await nextHops.follow([far])
  t.same(asked, [])
  await route(via('10.0.0.9'))
  t.match(nextHops.get(far), { nextHop: { mac: macOf(1) } }, 'until it answers the old way goes on')
  t.same(asked, ['1/10.0.0.9'])
  const answer = neighbour('10.0.0.9', 9)
  await changed({ kind: 'neighbour', change: 'new', neighbour: answer })
  t.match(nextHops.get(far), { nextHop: { mac: macOf(9) } })
  await changed({ kind: 'neighbour', change: 'delete', neighbour: answer })
  t.match(nextHops.get(far), { nextHop: { mac: macOf(9) } }, 'until the next answer')
  await changed({ kind: 'neighbour', change: 'new', neighbour: { ...answer, mac: macOf(8) } })
  t.match(nextHops.get(far), { nextHop: { mac: macOf(8) } })
})

t.test('a gateway that never answers is the way for nobody', async t => {
  const { nextHops, route, changed } = await open(t)
  await nextHops.follow([far])
  await route(via('10.0.0.9'))
  await changed() // by itself, when the moment of the old way is over
  t.match(nextHops.get(far), { reason: 'gateway 10.0.0.9 on eth1 is not resolved yet' })
})

t.test('of two answers that overtake each other the later question counts', async t => {
  const { nextHops, routes, changed, holdAnswers } = await open(t)
  const answers = holdAnswers()
  const following = nextHops.follow([far])
  routes.set(FAR, via('10.0.0.3'))
  const settled = changed({ kind: 'route', change: 'new', route: via(null) })
  while (answers.length < 2) await new Promise(resolve => setTimeout(resolve, 5))
  answers[1]!()
  await settled
  answers[0]!()
  await following
  t.match(nextHops.get(far), { nextHop: { mac: macOf(3) } })
})

t.test('others go by the same tables, and have neighbours asked for', async t => {
  const { nextHops, changed, asked } = await open(t)
  const told: KernelChange[] = []
  let wanted: NeighbourKey[] = []
  nextHops.accompany({ changed: what => void told.push(what), neighbours: () => wanted })
  await changed({ kind: 'neighbour', change: 'new', neighbour: neighbour('10.0.0.7', 7) })
  t.same(told.splice(0), [{ links: false, neighbours: true, addresses: false, routes: false }])
  t.match(nextHops.tables.neighbour({ ifindex: 1, address: '10.0.0.7' }), { mac: macOf(7) })
  await changed({ kind: 'link', change: 'new', link: link(2, { mtu: 1400 }) })
  t.same(told.splice(0), [{ links: true, neighbours: false, addresses: false, routes: true }])
  t.match(nextHops.tables.link(2), { mtu: 1400 })
  const address = { ifindex: 1, address: shortAddressBytes(FAR), prefixLength: 32, scope: 0, flags: 0 }
  await changed({ kind: 'address', change: 'new', address }, { kind: 'link', change: 'new', link: link(2) })
  t.match(told.splice(0), [{ addresses: true, routes: true }])
  await changed({ kind: 'overrun' })
  t.same(told.splice(0), [{ links: true, neighbours: true, addresses: true, routes: true }])

  wanted = [
    { ifindex: 2, address: '10.0.0.9' },
    { ifindex: 1, address: '10.0.0.1' },
  ]
  nextHops.askFor()
  t.same(asked, ['2/10.0.0.9'], 'the other is known')
  t.ok(nextHops.isUp(1))
  t.notOk(nextHops.isUp(99))
})

t.test('routes may change for others alone: next hops are as they were', async t => {
  const { nextHops, changed } = await open(t)
  await nextHops.follow([far])
  const told = new Promise<KernelChange>(resolve =>
    nextHops.accompany({ changed: resolve, neighbours: () => [] }),
  )
  void changed({ kind: 'route', change: 'new', route: via(null) })
  t.same(await told, { links: false, neighbours: false, addresses: false, routes: true })
})

t.test('a backend that no local address is of use for has no next hop, and says why', async t => {
  let lacking: string | null = 'no local address'
  const { nextHops } = await open(t, {
    localAddresses: { lacking: (_, family) => (family === 4 ? lacking : null) },
  })
  const target: Target = { address: FAR, mac: null, isRouted: true, localAddresses: ['10.0.0.100'] }
  const plain: Target = { address: FAR, mac: null, isRouted: true }
  await nextHops.follow([target, plain])
  t.match(nextHops.get(target), { reason: 'no local address', neighbour: null })
  t.match(nextHops.get(plain), { nextHop: { mac: macOf(1) } })
  lacking = null
  nextHops.reconsider()
  t.match(nextHops.get(target), { nextHop: { mac: macOf(1) } })
})
