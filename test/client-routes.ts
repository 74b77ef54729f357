import fc from 'fast-check'
import t from 'tap'
import { addressBytes, addressText } from '../src/address.js'
import { clientRoutesOf, gatewaysOf, MAX_ROUTES } from '../src/client-routes.js'
import type { ClientRoute } from '../src/dataplane/tables.js'
import type { NetlinkRoute, NetlinkRule } from '../src/native.js'
import { type Resolution, resolveNextHop } from '../src/next-hop.js'
import { defaultRules, hopBy, linkOf, ownOf, routeBy, routeOf, ruleOf } from './fixtures/kernel-tables.js'

/** 10.0.0.9 and fd00::9 are not known, all others are: by their last byte. */
const resolve = (_: string, route: NetlinkRoute): Resolution =>
  resolveNextHop(
    {
      link: ifindex => linkOf(ifindex),
      neighbour: ({ ifindex, address }) => {
        const bytes = addressBytes(address)
        const last = bytes.at(-1)!
        if (last === 9) return undefined
        return { ifindex, address: bytes, mac: Uint8Array.of(2, 0, 0, 0, 1, last), state: 2 }
      },
    },
    { address: addressText(route.destination), mac: null, isRouted: true, route, entry: undefined },
  )

const wordOf = ({ net, length, kind, nextHop }: ClientRoute): string =>
  `${addressText(net)}/${length} ${nextHop ? `by ${nextHop.mac.at(-1)} at ${nextHop.mtu}` : kind}`

const tableOf = (
  family: 4 | 6,
  routes: readonly NetlinkRoute[],
  rules: readonly NetlinkRule[] = defaultRules,
): readonly string[] => clientRoutesOf(family, { routes, rules }, resolve).map(wordOf)

t.test('one gateway: a single entry but for the network on the link', async t => {
  t.same(tableOf(4, [routeOf('10.0.0.0/24'), routeBy('0.0.0.0/0', '10.0.0.1')]), [
    '10.0.0.0/24 kernel',
    '0.0.0.0/0 by 1 at 1500',
  ])
  t.same(tableOf(6, [routeOf('fd00::/64'), routeBy('::/0', 'fd00::1', { mtu: 1400 })]), [
    'fd00::/64 kernel',
    '::/0 by 1 at 1400',
  ])
})

t.test('a family has the routes of its own alone', async t => {
  t.same(tableOf(6, [routeBy('0.0.0.0/0', '10.0.0.1')]), ['::/0 none'])
  t.same(tableOf(4, [routeBy('::/0', 'fd00::1')]), ['0.0.0.0/0 none'])
})

t.test("the host's own address is listed where the kernel is not asked anyway", async t => {
  const routes = [
    routeOf('10.0.0.0/24'),
    ownOf('10.0.0.2/32'),
    ownOf('10.0.0.255/32', { type: 3 }),
    ownOf('192.0.2.1/32'),
    ownOf('10.77.0.0/28'),
    routeBy('0.0.0.0/0', '10.0.0.1'),
  ]
  t.same(tableOf(4, routes), [
    '192.0.2.1/32 local',
    '10.77.0.0/28 local',
    '10.0.0.0/24 kernel',
    '0.0.0.0/0 by 1 at 1500',
  ])
})

t.test('what no client has is not listed: loopback, link-local, multicast', async t => {
  const all = [
    ownOf('127.0.0.0/8'),
    ownOf('127.0.0.1/32'),
    routeOf('224.0.0.0/4'),
    ownOf('::1/128'),
    ownOf('fe80::1/128'),
    routeOf('fe80::/64'),
    ownOf('ff00::/8', { type: 5 }),
  ]
  t.same(tableOf(4, [...all, routeBy('0.0.0.0/0', '10.0.0.1')]), ['0.0.0.0/0 by 1 at 1500'])
  t.same(tableOf(6, [...all, routeBy('::/0', 'fd00::1')]), ['::/0 by 1 at 1500'])
})

const byKernel: readonly [title: string, routes: readonly NetlinkRoute[]][] = [
  ['on the link', [routeOf('10.9.0.0/16')]],
  ['several gateways', [routeOf('10.9.0.0/16', { nextHops: [hopBy('10.0.0.2'), hopBy('10.0.0.3')] })]],
  ['a gateway that has not answered', [routeBy('10.9.0.0/16', '10.0.0.9')]],
  ['a gateway that is dead', [routeOf('10.9.0.0/16', { nextHops: [hopBy('10.0.0.2', { flags: 1 })] })]],
  ['a link that is down', [routeOf('10.9.0.0/16', { nextHops: [hopBy('10.0.0.2', { flags: 16 })] })]],
  [
    'encapsulated by its route',
    [routeOf('10.9.0.0/16', { nextHops: [hopBy('10.0.0.2', { isEncapsulated: true })] })],
  ],
  [
    'by TOS',
    [routeBy('10.9.0.0/16', '10.0.0.2'), routeBy('10.9.0.0/16', '10.0.0.3', { tos: 16, priority: 9 })],
  ],
  ['two of one metric', [routeBy('10.9.0.0/16', '10.0.0.2'), routeBy('10.9.0.0/16', '10.0.0.3')]],
  ['throw', [routeOf('10.9.0.0/16', { type: 9, nextHops: [] })]],
  ['an own table that leads elsewhere', [routeBy('10.9.0.0/16', '10.0.0.2', { table: 255 })]],
]
for (const [title, routes] of byKernel)
  t.test(`${title}: the kernel is asked`, async t => {
    t.same(tableOf(4, [...routes, routeBy('0.0.0.0/0', '10.0.0.1')]), [
      '10.9.0.0/16 kernel',
      '0.0.0.0/0 by 1 at 1500',
    ])
  })

t.test('the least metric counts', async t => {
  const routes = [
    routeBy('10.9.0.0/16', '10.0.0.3', { priority: 20 }),
    routeBy('10.9.0.0/16', '10.0.0.2', { priority: 10 }),
  ]
  t.same(tableOf(4, routes), ['10.9.0.0/16 by 2 at 1500', '0.0.0.0/0 none'])
})

t.test('what is refused has no way', async t => {
  for (const type of [6, 7, 8])
    t.same(tableOf(4, [routeOf('10.9.0.0/16', { type, nextHops: [] }), routeBy('0.0.0.0/0', '10.0.0.1')]), [
      '10.9.0.0/16 none',
      '0.0.0.0/0 by 1 at 1500',
    ])
})

t.test("of a route within the host's own the kernel says whose it is", async t => {
  const routes = [
    ownOf('10.77.0.0/28'),
    routeBy('10.77.0.5/32', '10.0.0.2'),
    routeBy('0.0.0.0/0', '10.0.0.1'),
  ]
  t.same(tableOf(4, routes), ['10.77.0.5/32 kernel', '10.77.0.0/28 local', '0.0.0.0/0 by 1 at 1500'])
})

t.test('what the next shorter one says too is left out, whatever lies between', async t => {
  const routes = [
    routeBy('0.0.0.0/0', '10.0.0.1'),
    routeBy('10.0.0.0/8', '10.0.0.1'),
    routeBy('10.9.0.0/16', '10.0.0.2'),
    routeBy('10.9.9.0/24', '10.0.0.1'),
    routeBy('10.9.9.128/25', '10.0.0.1', { mtu: 1400 }),
  ]
  t.same(tableOf(4, routes), [
    '10.9.9.128/25 by 1 at 1400',
    '10.9.9.0/24 by 1 at 1500',
    '10.9.0.0/16 by 2 at 1500',
    '0.0.0.0/0 by 1 at 1500',
  ])
})

const all: readonly [title: string, routes: readonly NetlinkRoute[], rules: readonly NetlinkRule[]][] = [
  ['a rule', [], [...defaultRules, ruleOf(4, 100, 254)]],
  ['a rule that is gone', [], defaultRules.filter(({ table }) => table !== 254)],
  ['a rule that does not hold for all', [], defaultRules.map(one => ({ ...one, isSelective: true }))],
  ['a rule that refuses', [], defaultRules.map(one => ({ ...one, action: 6 }))],
  ['a route by its source', [routeBy('10.9.0.0/16', '10.0.0.2', { sourceLength: 8 })], defaultRules],
  ['a route of the default table', [routeBy('10.9.0.0/16', '10.0.0.2', { table: 253 })], defaultRules],
  [
    'more routes than are looked at',
    Array.from({ length: MAX_ROUTES }, (_, i) => routeBy(`10.${i >> 8}.${i & 255}.0/24`, '10.0.0.1')),
    defaultRules,
  ],
]
for (const [title, routes, rules] of all)
  t.test(`${title}: the kernel is asked for every address`, async t => {
    t.same(tableOf(4, [...routes, routeBy('0.0.0.0/0', '10.0.0.1')], rules), ['0.0.0.0/0 kernel'])
  })

t.test('rules of one family are nothing to the other, and a kernel without rules has none', async t => {
  const route = routeBy('::/0', 'fd00::1')
  t.same(tableOf(6, [route], [...defaultRules, ruleOf(4, 100, 254)]), ['::/0 by 1 at 1500'])
  t.same(tableOf(6, [route], []), ['::/0 by 1 at 1500'])
})

t.test('routes of other tables are nobody’s', async t => {
  t.same(tableOf(4, [routeBy('10.9.0.0/16', '10.0.0.2', { table: 100 })]), ['0.0.0.0/0 none'])
})

t.test('gateways are asked for, each once, of all paths of the main table', async t => {
  const routes = [
    routeBy('0.0.0.0/0', '10.0.0.1'),
    routeBy('10.9.0.0/16', '10.0.0.1'),
    routeOf('10.8.0.0/16', { nextHops: [hopBy('10.0.0.2'), hopBy('fd00::3', { ifindex: 2 })] }),
    routeOf('10.0.0.0/24'),
    routeBy('10.7.0.0/16', '10.0.0.4', { table: 100 }),
  ]
  t.same(gatewaysOf({ routes, rules: defaultRules }), [
    { ifindex: 1, address: '10.0.0.1' },
    { ifindex: 1, address: '10.0.0.2' },
    { ifindex: 2, address: 'fd00::3' },
  ])
  const many = Array.from({ length: 1000 }, (_, i) =>
    routeBy(`10.${i >> 8}.${i & 255}.0/24`, `10.9.${i >> 8}.${i & 255}`),
  )
  t.equal(gatewaysOf({ routes: many, rules: defaultRules }).length, 256)
})

/** The addresses that a table tells apart, and their neighbours: first and last of each prefix, and one beyond. */
const sampled = (routes: readonly NetlinkRoute[]): readonly number[] =>
  routes.flatMap(({ destination, prefixLength }) => {
    const first = new DataView(destination.buffer, destination.byteOffset).getUint32(0)
    const last = first + 2 ** (32 - prefixLength) - 1
    return [first, last, Math.max(0, first - 1), Math.min(2 ** 32 - 1, last + 1)]
  })

const isIn = (address: number, net: Uint8Array, length: number): boolean => {
  const first = new DataView(net.buffer, net.byteOffset + net.length - 4).getUint32(0)
  return length === 0 || address >>> (32 - length) === first >>> (32 - length)
}

t.test(
  'whatever the routes: an address goes where the longest of them sends it, or the kernel is asked',
  async t => {
    const prefix = fc.record({
      // Close together, so that they lie in each other.
      value: fc.integer({ min: 0, max: 0xffff }),
      length: fc.integer({ min: 4, max: 32 }),
      what: fc.integer({ min: 0, max: 7 }),
    })
    const seen = { fitted: 0, exact: 0 }
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 60 }), fc.boolean(), (prefixes, hasDefault) => {
        const own: Record<number, (prefix: string) => NetlinkRoute> = {
          0: ownOf,
          1: routeOf,
          2: text => routeOf(text, { type: 6, nextHops: [] }),
        }
        const distinct = new Map<string, NetlinkRoute>()
        for (const { value, length, what } of prefixes) {
          const cut = ((0x0a000000 + value * 256) & -(2 ** (32 - length))) >>> 0
          const text = `${cut >>> 24}.${(cut >>> 16) & 255}.${(cut >>> 8) & 255}.${cut & 255}/${length}`
          distinct.set(text, own[what]?.(text) ?? routeBy(text, `10.0.0.${what}`))
        }
        const routes = [...distinct.values(), ...(hasDefault ? [routeBy('0.0.0.0/0', '10.0.0.1')] : [])]
        const table = clientRoutesOf(4, { routes, rules: defaultRules }, resolve)

        if (table.length > 31 || table.at(-1)!.length !== 0) return false
        if (table.some(({ length }, i) => i > 0 && length > table[i - 1]!.length)) return false
        const isWhole = routes.length <= 30
        return [...sampled(routes), 0x08080808].every(address => {
          const found = table.find(({ net, length }) => isIn(address, net, length))!
          const matching = routes.filter(one => isIn(address, one.destination, one.prefixLength))
          const best = matching.toSorted((a, b) => b.prefixLength - a.prefixLength)[0]
          const isNested = best?.table === 254 && matching.some(({ table }) => table === 255)
          if (found.kind === 'kernel') {
            seen.fitted++
            // It is asked where it must be, or says what a table that is too small, or the host's own, leave open.
            return !isWhole || isNested || best === undefined || best.nextHops[0]?.gateway == null
          }
          seen.exact++
          if (!best || best.type === 6) return found.kind === 'none'
          if (best.table === 255) return found.kind === 'local'
          return found.kind === 'hop' && found.nextHop!.mac.at(-1) === best.nextHops[0]!.gateway!.at(-1)
        })
      }),
      { numRuns: 500, seed: 1 },
    )
    t.ok(seen.fitted > 1000)
    t.ok(seen.exact > 1000)
  },
)
