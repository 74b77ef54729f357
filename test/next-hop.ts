import t from 'tap'
import { addressBytes } from '../src/address.js'
import type { NetlinkLink, NetlinkNeighbour, NetlinkRoute } from '../src/native.js'
import { neighbourKeyText, type ResolveOptions, resolveNextHop } from '../src/next-hop.js'

const ownMac = Uint8Array.of(2, 0, 0, 0, 0, 2)
const mac = Uint8Array.of(2, 0, 0, 0, 0, 11)
const link = (ifindex: number, changes: Partial<NetlinkLink> = {}): NetlinkLink => ({
  ifindex,
  name: `eth${ifindex}`,
  lower: null,
  kind: null,
  mac: ownMac,
  mtu: 1500,
  flags: 1,
  type: 1,
  ...changes,
})
const neighbour = (state: number, of: Uint8Array | null = mac): NetlinkNeighbour => ({
  ifindex: 1,
  address: Uint8Array.of(10, 0, 0, 11),
  mac: of,
  state,
})
const route = (
  changes: Partial<NetlinkRoute> = {},
  gateway: Uint8Array | null = null,
  ifindex = 1,
): NetlinkRoute => ({
  destination: Uint8Array.of(10, 0, 0, 11),
  prefixLength: 32,
  table: 254,
  type: 1,
  priority: 0,
  mtu: null,
  source: null,
  tos: 0,
  sourceLength: 0,
  nextHops: [{ ifindex, gateway, weight: 1, flags: 0, isEncapsulated: false }],
  ...changes,
})
const tables = (links: NetlinkLink[], known: Record<string, NetlinkNeighbour> = {}) => ({
  link: (ifindex: number) => links.find(one => one.ifindex === ifindex),
  neighbour: (key: { ifindex: number; address: string }) => known[neighbourKeyText(key)],
})
const target = (changes: Partial<ResolveOptions> = {}): ResolveOptions => ({
  address: '10.0.0.11',
  mac: null,
  route: route(),
  entry: link(1),
  ...changes,
})

const REACHABLE = 2
const STALE = 4
const FAILED = 32
const INCOMPLETE = 1
const PERMANENT = 128

t.test('a neighbour on the link is the next hop, however fresh its entry is', async t => {
  for (const state of [REACHABLE, STALE, PERMANENT])
    t.match(resolveNextHop(tables([link(1)], { '1/10.0.0.11': neighbour(state) }), target()), {
      nextHop: { ifindex: 1, mac, sourceMac: ownMac },
    })
})

t.test('a neighbour that is not known, or does not answer, is a reason, and names whom to ask', async t => {
  const asked = { ifindex: 1, address: '10.0.0.11' }
  t.match(resolveNextHop(tables([link(1)]), target()), { reason: /not resolved yet/, neighbour: asked })
  t.match(resolveNextHop(tables([link(1)], { '1/10.0.0.11': neighbour(INCOMPLETE, null) }), target()), {
    neighbour: asked,
  })
  t.match(resolveNextHop(tables([link(1)], { '1/10.0.0.11': neighbour(FAILED, null) }), target()), {
    reason: /does not answer/,
    neighbour: asked,
  })
})

const reasons: readonly [
  title: string,
  options: Partial<ResolveOptions>,
  links: NetlinkLink[],
  reason: RegExp,
][] = [
  ['no route', { route: { error: 'ENETUNREACH' } }, [link(1)], /no route to 10\.0\.0\.11 \(ENETUNREACH\)/],
  [
    'a gateway, for direct routing',
    { route: route({}, Uint8Array.of(10, 0, 0, 1)) },
    [link(1)],
    /behind a gateway/,
  ],
  ["the host's own address", { route: route({ type: 2 }) }, [link(1)], /own address/],
  ['a blackhole', { route: route({ type: 6 }) }, [link(1)], /no route/],
  ['an interface that is down', {}, [link(1, { flags: 0 })], /is down/],
  ['an interface that is gone', {}, [], /does not exist/],
  ['a bridge', {}, [link(1, { kind: 'bridge' })], /takes no frames from XDP/],
  ['a device without Ethernet', {}, [link(1, { type: 772 })], /no Ethernet/],
]
for (const [title, options, links, reason] of reasons)
  t.test(`${title} is no next hop, and is said`, async t => {
    t.match(resolveNextHop(tables(links), target(options)), { reason })
  })

t.test('a static next hop leaves by its route, else by the entry interface', async t => {
  const links = [link(1), link(2, { mac: Uint8Array.of(2, 0, 0, 0, 0, 3) })]
  const options = { mac: '02:00:00:00:00:0c', entry: links[1] }
  const wanted = Uint8Array.of(2, 0, 0, 0, 0, 12)
  t.match(resolveNextHop(tables(links), target(options)), {
    nextHop: { ifindex: 1, mac: wanted, sourceMac: ownMac },
  })
  t.match(resolveNextHop(tables(links), target({ ...options, route: { error: 'ENETUNREACH' } })), {
    nextHop: { ifindex: 2, mac: wanted },
  })
  t.match(
    resolveNextHop(tables([]), target({ ...options, entry: undefined, route: { error: 'ENETUNREACH' } })),
    { reason: /exists/ },
  )
})

t.test('a gateway, of either family, is the next hop of a tunnelled backend', async t => {
  const gateways: readonly [gateway: Uint8Array, text: string][] = [
    [Uint8Array.of(10, 0, 0, 254), '10.0.0.254'],
    [Uint8Array.of(0xfe, 0x80, ...new Uint8Array(13), 9), 'fe80::9'],
  ]
  for (const [gateway, text] of gateways) {
    const options = target({ address: '10.9.0.5', isTunnelled: true, route: route({}, gateway) })
    const known = { [`1/${text}`]: neighbour(REACHABLE) }
    t.match(resolveNextHop(tables([link(1)], known), options), {
      nextHop: { ifindex: 1, mac, sourceMac: ownMac },
      neighbour: { ifindex: 1, address: text },
    })
    t.match(resolveNextHop(tables([link(1)]), options), {
      reason: `gateway ${text} on eth1 is not resolved yet`,
      neighbour: { ifindex: 1, address: text },
    })
  }
})

t.test(
  'a translated backend may be behind a gateway too, and its path takes what its route says',
  async t => {
    const known = { '1/10.0.0.254': neighbour(REACHABLE) }
    const by = (changes: Partial<ResolveOptions>) =>
      resolveNextHop(
        tables([link(1)], known),
        target({
          address: '10.9.0.5',
          isRouted: true,
          route: route({ mtu: 1400 }, Uint8Array.of(10, 0, 0, 254)),
          ...changes,
        }),
      )
    t.match(by({}), { nextHop: { mac, mtu: 1400 }, neighbour: { address: '10.0.0.254' } })
    t.match(by({ isRouted: false }), { reason: /dr needs a backend on the link/ })
    const short = route({ mtu: 500 }, Uint8Array.of(10, 0, 0, 254))
    t.match(by({ route: short, leastMtu: 576 }), { nextHop: { mtu: 576 } }, 'no router makes it shorter')
  },
)

const known = { '1/10.0.0.11': neighbour(REACHABLE), '5/10.0.0.11': neighbour(REACHABLE) }
const nextHopOf = (links: NetlinkLink[], options: Partial<ResolveOptions>) => {
  const resolution = resolveNextHop(tables(links, known), target(options))
  return 'nextHop' in resolution ? resolution.nextHop : null
}

t.test("the MTU is the route's, at most that of each device on the way out", async t => {
  t.equal(nextHopOf([link(1)], {})?.mtu, 1500)
  t.equal(nextHopOf([link(1)], { route: route({ mtu: 1400 }) })?.mtu, 1400)
  t.equal(nextHopOf([link(1)], { route: route({ mtu: 9000 }) })?.mtu, 1500)
  const vlan = (mtu: number, below: number) =>
    nextHopOf([link(1, { mtu: below }), link(5, { kind: 'vlan', lower: 1, mtu })], {
      route: route({}, null, 5),
    })
  t.equal(vlan(1496, 1500)?.mtu, 1496)
  t.equal(vlan(1500, 1400)?.mtu, 1400)
  const mac = '02:00:00:00:00:0c'
  t.equal(nextHopOf([link(1)], { mac, route: route({ mtu: 1400 }) })?.mtu, 1400)
  t.equal(nextHopOf([], { mac, route: { error: 'ENETUNREACH' }, entry: link(2, { mtu: 1300 }) })?.mtu, 1300)
})

t.test("what is learnt of the path lowers a tunnelled backend's MTU, and never raises it", async t => {
  const resolve = (isTunnelled: boolean, learntMtu: number | null) =>
    resolveNextHop(tables([link(1)], known), target({ isTunnelled, learntMtu }))
  t.match(resolve(true, 1400), { nextHop: { mtu: 1400 }, learntMtu: 1400 })
  t.match(resolve(true, 1600), { nextHop: { mtu: 1500 }, learntMtu: undefined })
  t.match(resolve(true, null), { nextHop: { mtu: 1500 }, learntMtu: undefined })
  t.match(resolve(false, 1400), { nextHop: { mtu: 1500 }, learntMtu: undefined })
})

t.test('a path that is said to take less than it must is not believed in, but its device is', async t => {
  const resolve = (options: Partial<ResolveOptions>, mtu = 1500) =>
    resolveNextHop(
      tables([link(1, { mtu })], known),
      target({ isTunnelled: true, leastMtu: 1320, ...options }),
    )
  t.match(resolve({ learntMtu: 1400 }), { nextHop: { mtu: 1400 }, learntMtu: 1400 })
  t.match(resolve({ learntMtu: 1280 }), { nextHop: { mtu: 1320 }, learntMtu: 1320 })
  t.match(resolve({ route: route({ mtu: 1280 }) }), { nextHop: { mtu: 1320 }, learntMtu: undefined })
  t.match(resolve({ learntMtu: 1280 }, 1300), { nextHop: { mtu: 1300 }, learntMtu: undefined })
  const mac = '02:00:00:00:00:0c'
  t.match(resolve({ mac, learntMtu: 1280 }), { nextHop: { mtu: 1320 } })
  t.match(resolve({ mac, learntMtu: 1280 }, 1300), { nextHop: { mtu: 1300 } })
})

t.test("the source is the route's, in 16 bytes", async t => {
  t.equal(nextHopOf([link(1)], {})?.source, null)
  t.same(
    nextHopOf([link(1)], { route: route({ source: Uint8Array.of(10, 0, 0, 2) }) })?.source,
    addressBytes('10.0.0.2'),
  )
  t.same(
    nextHopOf([link(1)], { route: route({ source: addressBytes('fd00::2') }) })?.source,
    addressBytes('fd00::2'),
  )
})

t.test('what is routed to a VLAN device leaves by the device below it', async t => {
  const links = [link(1), link(5, { kind: 'vlan', lower: 1, name: 'eth1.100' })]
  t.match(
    resolveNextHop(
      tables(links, { '5/10.0.0.11': neighbour(REACHABLE) }),
      target({ route: route({}, null, 5) }),
    ),
    {
      nextHop: { ifindex: 1, mac },
      neighbour: { ifindex: 5 },
    },
  )
})
