import t from 'tap'
import { addressBytes, addressText, shortAddressBytes } from '../src/address.js'
import type { Clock } from '../src/health/clock.js'
import type { NetlinkNeighbour, NetlinkRoute } from '../src/native.js'
import { type NeighbourKey, neighbourKeyText } from '../src/next-hop.js'
import type { Companion } from '../src/next-hops.js'
import { createWantedNeighbours } from '../src/wanted-neighbours.js'
import { hopBy, linkOf, routeOf } from './fixtures/kernel-tables.js'

/** A map and a kernel of the test's, and a clock that stands still. */
const open = () => {
  const wanted = new Set<string>()
  const routes = new Map<string, NetlinkRoute>()
  const known = new Map<string, NetlinkNeighbour>()
  const asked: string[] = []
  const due: { readonly at: number; readonly call: () => void }[] = []
  let now = 0
  let companion: Companion | null = null
  const clock: Clock = {
    now: () => now,
    after: (ms, call) => {
      const one = { at: now + ms, call }
      due.push(one)
      return () => void due.splice(due.indexOf(one), 1)
    },
    random: () => 0,
  }
  const neighbours = createWantedNeighbours({
    map: () => ({
      lookupBatch: async () => ({
        count: wanted.size,
        keys: Uint8Array.from([...wanted].flatMap(address => [...addressBytes(address)])),
        values: new Uint8Array(16 * wanted.size),
      }),
      delete: key => {
        if (!wanted.delete(addressText(key))) throw Object.assign(new Error('none'), { code: 'ENOENT' })
      },
    }),
    netlink: {
      routeTo: async address => {
        const route = routes.get(addressText(address))
        if (!route) throw Object.assign(new Error('none'), { code: 'ENETUNREACH' })
        return route
      },
      resolve: async (ifindex, address) => void asked.push(`${ifindex}/${addressText(address)}`),
    },
    nextHops: {
      accompany: one => {
        companion = one
      },
      tables: { link: ifindex => linkOf(ifindex), neighbour: key => known.get(neighbourKeyText(key)) },
    },
    clock,
  })
  const answer = (key: NeighbourKey): void => {
    known.set(neighbourKeyText(key), {
      ifindex: key.ifindex,
      address: shortAddressBytes(key.address),
      mac: Uint8Array.of(2, 0, 0, 0, 0, 7),
      state: 2,
    })
  }
  return {
    neighbours,
    wanted,
    routes,
    asked,
    answer,
    due,
    kept: (): readonly NeighbourKey[] => [...companion!.neighbours()],
    after: async (ms: number): Promise<void> => {
      now += ms
      await neighbours.poll()
    },
  }
}

const CLIENT = { ifindex: 1, address: '10.1.0.5' }

t.test('who is wanted is asked for once, where its route leads, and is out of the map', async t => {
  const { neighbours, wanted, routes, asked } = open()
  routes.set('10.1.0.5', routeOf('10.1.0.5/32'))
  routes.set('fd00::5', routeOf('fd00::5/128', { nextHops: [hopBy(null, { ifindex: 2 })] }))
  routes.set('10.9.0.5', routeOf('10.9.0.5/32', { nextHops: [hopBy('10.1.0.1')] }))
  for (const address of ['10.1.0.5', 'fd00::5', '10.9.0.5', '10.8.0.1']) wanted.add(address)
  await neighbours.poll()
  t.same(asked, ['1/10.1.0.5', '2/fd00::5', '1/10.1.0.1'], 'of one behind a gateway, the gateway')
  t.equal(wanted.size, 0)
  await neighbours.poll()
  t.equal(asked.length, 3)
})

t.test('who has answered is kept for a while; who has not is left in peace', async t => {
  const { wanted, routes, answer, kept, after } = open()
  routes.set('10.1.0.5', routeOf('10.1.0.5/32'))
  routes.set('10.1.0.6', routeOf('10.1.0.6/32'))
  wanted.add('10.1.0.5').add('10.1.0.6')
  await after(0)
  t.equal(kept().length, 2, 'both are asked again until they have had the time to answer')
  answer(CLIENT)
  await after(4_000)
  t.same(kept(), [CLIENT])
  await after(590_000)
  t.same(kept(), [CLIENT])
  await after(10_000)
  t.same(kept(), [])
})

t.test('no more are kept than the map holds, the latest of them', async t => {
  const { wanted, routes, answer, kept, after } = open()
  const all = Array.from({ length: 1100 }, (_, i) => `10.1.${i >> 8}.${i & 255}`)
  for (const address of all) {
    wanted.add(address)
    routes.set(address, routeOf(`${address}/32`))
    answer({ ifindex: 1, address })
  }
  await after(0)
  t.equal(kept().length, 1024)
  t.equal(kept().at(-1)!.address, all.at(-1))
})

t.test('the map is looked at four times a second, where it is used', async t => {
  const { neighbours, due } = open()
  t.equal(due.length, 0)
  neighbours.use(true)
  neighbours.use(true)
  t.same(
    due.map(({ at }) => at),
    [250],
  )
  due[0]!.call()
  t.equal(due.length, 2, 'and again')
  neighbours.use(false)
  t.equal(due.length, 1, 'the one that is over')
})
