import t from 'tap'
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
  nextHops: [{ ifindex, gateway, weight: 1 }],
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
  ['a gateway', { route: route({}, Uint8Array.of(10, 0, 0, 1)) }, [link(1)], /behind a gateway/],
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
