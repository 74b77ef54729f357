/** ICMP errors about tracked flows: to the backend that the flow has, and nothing is stored, stamped, marked or counted. */
import t, { type Test } from 'tap'
import { G, K, L, U } from '../../src/dataplane/slot.js'
import { CLOSED, entryWord, HALF_OPEN, OPEN } from './fixtures/entry.js'
import { flowOf, type Tracked } from './fixtures/tracked.js'
import {
  ACK,
  CURRENT,
  DEAD,
  DNS,
  DNS_CURRENT,
  DNS_HOME,
  DNS_OTHER,
  FIN,
  HOME,
  NO_NEW,
  NOW,
  OTHER,
  openWorld,
  RST,
  SIX,
  SIX_CURRENT,
  SIX_HOME,
  SIX_OTHER,
  STICKY,
  STICKY_CURRENT,
  STICKY_HOME,
  STICKY_OTHER,
  SYN,
  WEB,
} from './fixtures/world.js'

const owners: Readonly<Record<number, readonly [number, number, number]>> = {
  [WEB!]: [CURRENT!, HOME!, OTHER!],
  [DNS!]: [DNS_CURRENT!, DNS_HOME!, DNS_OTHER!],
  [STICKY!]: [STICKY_CURRENT!, STICKY_HOME!, STICKY_OTHER!],
  [SIX!]: [SIX_CURRENT!, SIX_HOME!, SIX_OTHER!],
}
const SERVICES = Object.keys(owners).map(Number)
const TRACKED = [G, L, K] as const
const FLAGS = [ACK, SYN, SYN! | ACK!, FIN! | ACK!, RST, 0]
const nothing = { inserted: 0, deferred: 0, refused: 0, unremembered: 0 }
const EMPTY = new Array<bigint>(8).fill(0n)

/** Complains of the flow, and requires that all is as it was. */
const complain = (t: Test, world: Tracked, service: number, flags?: number): number | null => {
  const flow = flowOf(service + 1, service)
  const { bucket } = world.place(flow)
  const before = world.bucket(bucket)
  world.counts()
  const id = world.complain(flow, flags)
  t.same(world.bucket(bucket), before, 'the bucket')
  t.same(world.counts(), nothing, 'the counters')
  t.same(world.pressure(service), [], 'the marks')
  return id
}

t.test('a flow with an entry: to its backend', async t => {
  const world = await openWorld(t)
  for (const service of SERVICES) {
    const [current, home, other] = owners[service]!
    for (const state of TRACKED)
      for (const kind of [HALF_OPEN, OPEN, CLOSED])
        for (const flags of FLAGS)
          for (const age of [0, 3, 60]) {
            world.setSlots(service, state, current, state === K ? 0 : home)
            const flow = flowOf(service + 1, service)
            world.setBucket(world.place(flow).bucket, EMPTY)
            world.remember(flow, { id: other, kind, seen: NOW - age }, 5)
            t.equal(
              complain(t, world, service, flags),
              other,
              `service ${service}, state ${state}, ${kind}, ${flags}`,
            )
          }
  }
})

t.test('an entry of a dead backend: where the flow’s packets go, and the entry stays', async t => {
  const world = await openWorld(t)
  for (const service of SERVICES) {
    const [current, home, other] = owners[service]!
    for (const state of TRACKED) {
      world.setSlots(service, state, current, state === K ? 0 : home)
      const flow = flowOf(service + 1, service)
      world.setBucket(world.place(flow).bucket, EMPTY)
      world.remember(flow, { id: other, kind: OPEN, seen: NOW }, 2)
      // H4 of connections; H5 of all else: as a miss
      const isConnection = service === WEB || service === SIX
      for (const [flags, expected] of [
        [DEAD!, isConnection || state === K ? current : home],
        [NO_NEW!, other],
        [0, other],
      ] as const) {
        world.setFlags(other, flags)
        t.equal(complain(t, world, service), expected, `service ${service}, state ${state}, flags ${flags}`)
      }
    }
  }
})

t.test('a flow without an entry: where its packets go', async t => {
  const world = await openWorld(t)
  for (const service of SERVICES) {
    const [current, home] = owners[service]!
    const flow = flowOf(service + 1, service)
    world.setBucket(world.place(flow).bucket, EMPTY)
    for (const flags of FLAGS) {
      for (const [state, expected] of [
        [U, current],
        [K, current],
        [L, home],
        [G, home],
      ] as const) {
        world.setSlots(service, state, current, state === K ? 0 : home)
        t.equal(
          complain(t, world, service, flags),
          expected,
          `service ${service}, state ${state}, flags ${flags}`,
        )
      }
      world.setFlags(home, DEAD!)
      for (const state of [L, G]) {
        world.setSlots(service, state, current, home)
        t.equal(complain(t, world, service, flags), current, `service ${service}, home dead, state ${state}`)
      }
      world.setFlags(home, 0)
    }
  }
})

t.test('a bucket without room is not missed, and no live flow is evicted', async t => {
  const world = await openWorld(t, { bits: 4 })
  for (const service of SERVICES) {
    const [current, home, other] = owners[service]!
    const flow = flowOf(service + 1, service)
    const { bucket, fingerprint } = world.place(flow)
    const others = EMPTY.map((_, at) =>
      entryWord({ id: other, kind: OPEN, seen: NOW, fingerprint: fingerprint ^ (at + 1) }),
    )
    world.setBucket(bucket, others)
    for (const [state, expected] of [
      [K, current],
      [L, home],
      [G, home],
    ] as const) {
      world.setSlots(service, state, current, state === K ? 0 : home)
      t.equal(complain(t, world, service), expected)
    }
  }
})

t.test('what follows an error is what would have followed without it', async t => {
  for (const service of SERVICES) {
    const [current, home] = owners[service]!
    const flow = flowOf(service + 1, service)
    const seen: unknown[] = []
    for (const withError of [false, true]) {
      const world = await openWorld(t)
      world.setSlots(service, L, current, home)
      world.send(flow, SYN)
      if (withError) for (const flags of FLAGS) world.complain(flow, flags)
      seen.push(world.recalled(flow), world.send(flow, ACK), world.recalled(flow))
    }
    t.same(seen.slice(3), seen.slice(0, 3), `service ${service}`)
  }
})
