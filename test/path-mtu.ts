import t from 'tap'
import { createPathMtus, type PathMtuReport } from '../src/path-mtu.js'
import { keepLog } from './control/fixtures/daemon.js'

const MINUTE = 60_000
const NEAR = '10.9.0.5'
const SIX = 'fd00:9::5'

/** A map of reports, a clock that stands until it is set, and routes of MTU 1500 to both addresses. */
const open = async (there: readonly PathMtuReport[] = []) => {
  const map = new Map(there.map(report => [report.address, report]))
  const routes = new Map<string, number>([
    [NEAR, 1500],
    [SIX, 1500],
  ])
  const log = keepLog()
  let time = 1_000_000
  let changes = 0
  const paths = await createPathMtus({
    reports: {
      read: async () => [...map.values()],
      remove: address => void map.delete(address),
      now: () => time,
    },
    routeMtu: address => routes.get(address) ?? null,
    onChange: () => changes++,
    log,
  })
  return {
    paths,
    map,
    routes,
    events: () => log.lines.map(({ fields }) => (fields as { event: string }).event),
    changes: () => changes,
    pass: (ms: number) => {
      time += ms
    },
    hear: async (mtu: number, address = NEAR): Promise<number | null> => {
      map.set(address, { address, mtu, heardMs: time })
      await paths.tick()
      return paths.get(address)
    },
  }
}

t.test('what a router says lowers the MTU of the path, and is said', async t => {
  const { paths, hear, events, changes } = await open()
  t.equal(paths.get(NEAR), null)
  t.equal(await hear(1400), 1400)
  t.equal(await hear(1400, SIX), 1400)
  t.equal(changes(), 2)
  t.same(events(), ['path-mtu.lowered', 'path-mtu.lowered'])
  await paths.tick()
  t.equal(changes(), 2, 'once')
})

t.test('it is lowered again, never raised', async t => {
  const { hear, pass } = await open()
  t.equal(await hear(1400), 1400)
  pass(1000)
  t.equal(await hear(1300), 1300)
  pass(1000)
  t.equal(await hear(1400), 1300)
})

const refused: readonly [title: string, address: string, mtu: number][] = [
  ["the route's own MTU", NEAR, 1500],
  ['more than the route takes', NEAR, 9000],
  ['more than any packet has', NEAR, 0xffff_ffff],
  ['less than any IPv4 path takes', NEAR, 67],
  ['less than any IPv6 path takes', SIX, 1279],
  ['nothing, of IPv6', SIX, 0],
  ['a path to nobody', '10.9.0.99', 1400],
]
for (const [title, address, mtu] of refused)
  t.test(`a message that says ${title} is not believed, and is gone`, async t => {
    const { hear, map, events, changes } = await open()
    t.equal(await hear(mtu, address), null)
    t.same([...map.keys()], [])
    t.same(events(), ['path-mtu.ignored'])
    t.equal(changes(), 0)
  })

t.test('no path is believed to take less than its family demands', async t => {
  const { hear, pass } = await open()
  t.equal(await hear(1280, SIX), 1280)
  t.equal(await hear(577), 577)
  pass(1000)
  t.equal(await hear(68), 576)
})

t.test('a router that does not say how much it takes is taken to take the least', async t => {
  const { hear } = await open()
  t.equal(await hear(0), 576)
})

t.test('where the route takes no more than the least, nobody lowers it', async t => {
  const { hear, routes } = await open()
  routes.set(NEAR, 576)
  t.equal(await hear(300), null)
})

t.test('after 10 minutes without a word a longer packet is tried', async t => {
  const { paths, hear, pass, map, changes } = await open()
  await hear(1400)
  pass(10 * MINUTE - 1)
  await paths.tick()
  t.equal(paths.get(NEAR), 1400)
  pass(1)
  await paths.tick()
  t.equal(paths.get(NEAR), null)
  t.equal(changes(), 2)
  t.same([...map.keys()], [], 'nor is it found again')
  t.equal(await hear(1450), 1450, 'and what is said then counts')
})

t.test('a word that is repeated is believed 10 minutes from there on', async t => {
  const { paths, hear, pass, changes } = await open()
  await hear(1400)
  pass(9 * MINUTE)
  await hear(1400)
  pass(9 * MINUTE)
  await paths.tick()
  t.equal(paths.get(NEAR), 1400)
  t.equal(changes(), 1)
})

t.test('another route is another path', async t => {
  const { paths, hear, map, events } = await open()
  await hear(1400)
  paths.forget(NEAR)
  t.equal(paths.get(NEAR), null)
  t.same([...map.keys()], [])
  t.same(events(), ['path-mtu.lowered', 'path-mtu.forgotten'])
  paths.forget(NEAR)
  paths.forget(SIX)
  t.equal(events().length, 2, 'of which nothing was known')
})

t.test('what was read before the route changed says nothing of the new one', async t => {
  const { paths, map, pass } = await open()
  map.set(NEAR, { address: NEAR, mtu: 1400, heardMs: 1_000_000 })
  const ticking = paths.tick()
  paths.forget(NEAR)
  await ticking
  t.equal(paths.get(NEAR), null)
  pass(1000)
  map.set(NEAR, { address: NEAR, mtu: 1300, heardMs: 1_001_000 })
  await paths.tick()
  t.equal(paths.get(NEAR), 1300, 'what is heard later does')
})

t.test('a backend that is gone, or without a route, has no path', async t => {
  const { paths, hear, routes, changes } = await open()
  await hear(1400)
  routes.delete(NEAR)
  await paths.tick()
  t.equal(paths.get(NEAR), null)
  t.equal(changes(), 2)
})

t.test('what an earlier process has believed is believed at once, for the rest of its time', async t => {
  const heard = (address: string, mtu: number, heardMs: number): PathMtuReport => ({ address, mtu, heardMs })
  const { paths, pass, map } = await open([
    heard(NEAR, 1400, 1_000_000 - 9 * MINUTE),
    heard(SIX, 1000, 1_000_000),
    heard('10.9.0.6', 1400, 1_000_000 - 10 * MINUTE),
    heard('10.9.0.99', 1400, 1_000_000),
  ])
  t.equal(paths.get(NEAR), 1400)
  t.equal(paths.get(SIX), null)
  t.equal(paths.get('10.9.0.6'), null)
  await paths.tick()
  t.equal(paths.get('10.9.0.99'), null, 'of nobody')
  t.same([...map.keys()], [NEAR])
  pass(MINUTE)
  await paths.tick()
  t.equal(paths.get(NEAR), null)
})
