import fc from 'fast-check'
import t from 'tap'
import { addressBytes, addressFamily } from '../../src/address.js'
import {
  type ClientRoute,
  createClientRoutesTable,
  MAX_CLIENT_ROUTES,
} from '../../src/dataplane/client-routes-table.js'
import { clientRouteKind, clientRouteLayout, clientRoutes } from '../../src/dataplane/layout.js'

const PLACES = clientRoutes.CLIENT_ROUTES
const fresh = (): ArrayBuffer => new ArrayBuffer(2 * PLACES * clientRouteLayout.size)
const hop = (ifindex: number) => ({
  ifindex,
  mac: Uint8Array.of(2, 0, 0, 0, 1, ifindex),
  sourceMac: Uint8Array.of(2, 0, 0, 0, 2, ifindex),
  mtu: 1400 + ifindex,
  source: null,
})
const route = (prefix: string, kind: ClientRoute['kind'] = 'hop', ifindex = 7): ClientRoute => {
  const [address = '', length] = prefix.split('/')
  return {
    net: addressBytes(address),
    length: Number(length),
    kind,
    nextHop: kind === 'hop' ? hop(ifindex) : null,
  }
}

/** The data plane's way of looking: the first that matches. */
const lookUp = (memory: ArrayBuffer, address: string) => {
  const first = addressFamily(address) === 4 ? 0 : PLACES
  const wanted = addressBytes(address)
  for (let place = first; place < first + PLACES; place++) {
    const found = clientRouteLayout.decode(new Uint8Array(memory), place * clientRouteLayout.size)
    if (found.net.every((byte, i) => (wanted[i]! & found.mask[i]!) === byte)) return found
  }
  return null
}
const kindOf = (memory: ArrayBuffer, address: string): number | undefined => lookUp(memory, address)?.kind
const KERNEL = clientRouteKind.CLIENT_ROUTE_KERNEL

t.test('a table that nobody has filled asks the kernel', async t => {
  const memory = fresh()
  createClientRoutesTable(
    () => memory,
    () => 0,
  )
  t.equal(kindOf(memory, '198.51.100.7'), KERNEL)
  t.equal(kindOf(memory, '2001:db8::7'), KERNEL)
})

t.test('the longest prefix that an address has is its way, in its family', async t => {
  const memory = fresh()
  const table = createClientRoutesTable(
    () => memory,
    ifindex => ifindex + 1,
  )
  await table.set(4, [
    route('0.0.0.0/0', 'hop', 7),
    route('10.1.0.0/16', 'hop', 9),
    route('10.1.2.3/32', 'local'),
  ])
  await table.set(6, [route('2001:db8::/32', 'kernel')])

  const { dstMac, srcMac, ifindex, outPort, mtu, kind } = lookUp(memory, '10.1.2.4')!
  t.same(
    { dstMac, srcMac, ifindex, outPort, mtu, kind },
    {
      dstMac: hop(9).mac,
      srcMac: hop(9).sourceMac,
      ifindex: 9,
      outPort: 10,
      mtu: 1409,
      kind: clientRouteKind.CLIENT_ROUTE_HOP,
    },
  )
  t.equal(lookUp(memory, '198.51.100.7')?.ifindex, 7)
  t.equal(kindOf(memory, '10.1.2.3'), clientRouteKind.CLIENT_ROUTE_LOCAL)
  t.equal(kindOf(memory, '2001:db8::1'), KERNEL)
  t.equal(kindOf(memory, '2001:db9::1'), clientRouteKind.CLIENT_ROUTE_NONE, 'no route at all')
})

t.test('while a table changes every packet of its family asks the kernel', async t => {
  const memory = fresh()
  const meanwhile: (number | undefined)[] = []
  const table = createClientRoutesTable(
    () => memory,
    () => 0,
    async () => {
      meanwhile.push(kindOf(memory, '192.0.2.1'), kindOf(memory, '2001:db8::1'))
    },
  )
  await table.set(6, [route('::/0')])
  meanwhile.length = 0
  await table.set(4, [route('0.0.0.0/0', 'hop', 3)])
  await table.set(4, [route('0.0.0.0/0', 'hop', 4)])
  t.same(meanwhile, [KERNEL, clientRouteKind.CLIENT_ROUTE_HOP, KERNEL, clientRouteKind.CLIENT_ROUTE_HOP])
  await table.set(4, [route('0.0.0.0/0', 'hop', 4)])
  t.equal(meanwhile.length, 4, 'what is there already is not written')
  t.equal(lookUp(memory, '192.0.2.1')?.ifindex, 4)
})

t.test('more routes than there are places are left to the kernel', async t => {
  const memory = fresh()
  const table = createClientRoutesTable(
    () => memory,
    () => 0,
    async () => {},
  )
  const many = (count: number) => Array.from({ length: count }, (_, i) => route(`10.${i}.0.0/16`))
  await table.set(4, [...many(MAX_CLIENT_ROUTES - 1), route('0.0.0.0/0', 'hop', 5)])
  t.equal(kindOf(memory, '10.0.0.1'), clientRouteKind.CLIENT_ROUTE_HOP)
  t.equal(lookUp(memory, '192.0.2.1')?.ifindex, 5)
  await table.set(4, many(MAX_CLIENT_ROUTES))
  t.equal(kindOf(memory, '10.0.0.1'), KERNEL)
  await table.set(4, [...many(MAX_CLIENT_ROUTES), route('0.0.0.0/0')])
  t.equal(kindOf(memory, '10.0.0.1'), KERNEL)
})

t.test('whatever a table held before, it says what it was set to last', async () => {
  const prefix = fc.record({ net: fc.integer({ min: 0, max: 255 }), length: fc.nat(16), ifindex: fc.nat(50) })
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.uniqueArray(prefix, {
          maxLength: 12,
          selector: ({ net, length }) => `${net >> Math.max(0, 8 - Math.max(0, length - 8))}/${length}`,
        }),
        { minLength: 1, maxLength: 4 },
      ),
      fc.integer({ min: 0, max: 255 }),
      async (tables, last) => {
        const memory = fresh()
        const table = createClientRoutesTable(
          () => memory,
          () => 0,
          async () => {},
        )
        for (const routes of tables)
          await table.set(
            4,
            routes.map(({ net, length, ifindex }) => route(`10.${net}.0.0/${length}`, 'hop', ifindex)),
          )
        const wanted = tables
          .at(-1)!
          .filter(({ net, length }) => length <= 8 || net >> (16 - length) === last >> (16 - length))
          .sort((a, b) => b.length - a.length)[0]
        return (lookUp(memory, `10.${last}.1.1`)?.ifindex ?? -1) === (wanted?.ifindex ?? 0)
      },
    ),
  )
})
