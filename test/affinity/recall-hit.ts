/** A packet whose flow has an entry: rules H1 to H5 of docs/affinity.md, in the compiled data plane. */
import t from 'tap'
import { G, K, L, U } from '../../src/dataplane/slot.js'
import { skip } from '../fixtures/native.js'
import { CLOSED, HALF_OPEN, OPEN } from './fixtures/entry.js'
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

const web = flowOf(1, WEB)
const TRACKED = [G, L, K] as const

/** What a packet does with an entry: where it goes, and what is remembered afterwards. */
const hit = (
  world: Tracked,
  state: number,
  entry: { readonly id?: number; readonly kind?: number; readonly age?: number },
  flags: number,
  flow = web,
) => {
  const [current, home, other] =
    flow.service === WEB
      ? [CURRENT, HOME, OTHER]
      : flow.service === SIX
        ? [SIX_CURRENT, SIX_HOME, SIX_OTHER]
        : flow.service === DNS
          ? [DNS_CURRENT, DNS_HOME, DNS_OTHER]
          : [STICKY_CURRENT, STICKY_HOME, STICKY_OTHER]
  world.setSlots(flow.service, state, current!, state === K ? 0 : home!)
  const { bucket } = world.place(flow)
  world.setBucket(bucket, new Array<bigint>(8).fill(0n))
  world.remember(
    flow,
    { id: entry.id ?? other!, kind: entry.kind ?? OPEN, seen: (NOW - (entry.age ?? 0)) & 0x3fff },
    5,
  )
  return { to: world.send(flow, flags), left: world.recalled(flow) }
}

t.test('U: nothing is looked up where nothing is tracked', { skip }, async t => {
  const world = await openWorld(t)
  t.same(hit(world, U, { age: 9 }, ACK), { to: CURRENT, left: { id: OTHER, kind: OPEN, seen: NOW - 9 } })
})

for (const [name, flow, backends] of [
  ['TCP', web, [CURRENT, HOME, OTHER]],
  ['TCP over IPv6', flowOf(3, SIX), [SIX_CURRENT, SIX_HOME, SIX_OTHER]],
  ['UDP', flowOf(4, DNS), [DNS_CURRENT, DNS_HOME, DNS_OTHER]],
  ['TCP by source', flowOf(5, STICKY), [STICKY_CURRENT, STICKY_HOME, STICKY_OTHER]],
] as const)
  t.test(`H1, ${name}: a packet goes where its flow is remembered, and stamps it anew`, { skip }, async t => {
    const world = await openWorld(t)
    for (const state of TRACKED)
      for (const id of backends)
        for (const flags of [0, NO_NEW]) {
          world.setFlags(id, flags)
          for (const age of [0, 1, 14])
            t.same(hit(world, state, { id, age }, ACK, flow), { to: id, left: { id, kind: OPEN, seen: NOW } })
          world.setFlags(id, 0)
        }
  })

t.test('H1: an entry holds however old it is, as long as it is there', { skip }, async t => {
  const world = await openWorld(t)
  for (const age of [225, 226, 5000])
    t.same(hit(world, L, { age }, ACK), { to: OTHER, left: { id: OTHER, kind: OPEN, seen: NOW } })
})

t.test('H1: the class follows the connection', { skip }, async t => {
  const world = await openWorld(t)
  const kindAfter = (kind: number, flags: number): number | undefined =>
    hit(world, L, { kind }, flags).left?.kind
  t.equal(kindAfter(HALF_OPEN, ACK), OPEN)
  t.equal(kindAfter(OPEN, ACK), OPEN)
  t.equal(kindAfter(CLOSED, ACK), CLOSED, 'half-closed connections stay closed')
  t.equal(kindAfter(HALF_OPEN, SYN | ACK), OPEN, 'a SYN with ACK opens nothing')
  for (const kind of [HALF_OPEN, OPEN, CLOSED])
    for (const flags of [FIN | ACK, RST, RST | ACK]) t.equal(kindAfter(kind, flags), CLOSED)
})

t.test('H1: where the client is the flow, the end of one connection ends nothing', { skip }, async t => {
  const world = await openWorld(t)
  const flow = flowOf(5, STICKY)
  for (const flags of [FIN | ACK, RST, SYN, ACK])
    for (const kind of [HALF_OPEN, OPEN, CLOSED])
      t.same(hit(world, L, { kind, age: 90 }, flags, flow), {
        to: STICKY_OTHER,
        left: { id: STICKY_OTHER, kind: OPEN, seen: NOW },
      })
})

t.test(
  "H1, H2: the slot's owner is gone to even when it is marked dead, and its entries stay fresh",
  { skip },
  async t => {
    const world = await openWorld(t)
    world.setFlags(CURRENT, DEAD | NO_NEW)
    for (const state of TRACKED)
      for (const flags of [ACK, SYN])
        t.same(hit(world, state, { id: CURRENT, age: 100 }, flags), {
          to: CURRENT,
          left: { id: CURRENT, kind: OPEN, seen: NOW },
        })
  },
)

t.test('H2: a SYN soon after the last packet repeats an older one', { skip }, async t => {
  const world = await openWorld(t)
  for (const state of TRACKED)
    for (const kind of [HALF_OPEN, OPEN, CLOSED])
      for (const flags of [0, NO_NEW]) {
        world.setFlags(OTHER, flags)
        for (const age of [0, 1])
          t.same(hit(world, state, { kind, age }, SYN), {
            to: OTHER,
            left: { id: OTHER, kind: kind === CLOSED ? HALF_OPEN : kind, seen: NOW },
          })
      }
})

t.test('H2: a handshake under way stays, however slow, where new flows are taken', { skip }, async t => {
  const world = await openWorld(t)
  for (const state of TRACKED)
    for (const age of [2, 15, 300])
      t.same(hit(world, state, { kind: HALF_OPEN, age }, SYN), {
        to: OTHER,
        left: { id: OTHER, kind: HALF_OPEN, seen: NOW },
      })
})

t.test("H2: a SYN on the owner's own entry stays, and opens a closed flow again", { skip }, async t => {
  const world = await openWorld(t)
  for (const state of TRACKED)
    for (const [before, after] of [
      [HALF_OPEN, HALF_OPEN],
      [OPEN, OPEN],
      [CLOSED, HALF_OPEN],
    ])
      t.same(hit(world, state, { id: CURRENT, kind: before!, age: 200 }, SYN), {
        to: CURRENT,
        left: { id: CURRENT, kind: after, seen: NOW },
      })
})

t.test('H3: a SYN on an older entry is a new flow from a port that is used again', { skip }, async t => {
  const world = await openWorld(t)
  const reused: readonly { readonly kind: number; readonly flags: number }[] = [
    { kind: OPEN, flags: 0 },
    { kind: CLOSED, flags: 0 },
    { kind: OPEN, flags: NO_NEW },
    { kind: HALF_OPEN, flags: NO_NEW },
    { kind: OPEN, flags: DEAD },
    { kind: HALF_OPEN, flags: DEAD },
  ]
  for (const { kind, flags } of reused) {
    world.setFlags(OTHER, flags)
    t.same(hit(world, L, { kind, age: 2 }, SYN), {
      to: CURRENT,
      left: { id: CURRENT, kind: HALF_OPEN, seen: NOW },
    })
    t.same(hit(world, G, { kind, age: 2 }, SYN), { to: HOME, left: { id: HOME, kind: HALF_OPEN, seen: NOW } })
    t.same(
      hit(world, K, { kind, age: 2 }, SYN),
      { to: CURRENT, left: null },
      'where nothing is inserted, it is cleared',
    )
  }
  world.setFlags(OTHER, DEAD)
  t.same(
    hit(world, L, { age: 0 }, SYN),
    { to: CURRENT, left: { id: CURRENT, kind: HALF_OPEN, seen: NOW } },
    'a dead one, at once',
  )
})

t.test('H3: the place that is taken is the entry’s own, though another is free', { skip }, async t => {
  const world = await openWorld(t)
  hit(world, L, { age: 2 }, SYN)
  t.same(
    world.bucket(world.place(web).bucket).map(word => word !== 0n),
    [false, false, false, false, false, true, false, false],
  )
})

t.test('H4: the flow of a dead backend goes to the owner and is not pinned there', { skip }, async t => {
  const world = await openWorld(t)
  for (const state of TRACKED)
    for (const flags of [ACK, FIN | ACK, RST]) {
      world.setFlags(OTHER, DEAD)
      t.same(hit(world, state, { age: 5 }, flags), {
        to: CURRENT,
        left: { id: OTHER, kind: OPEN, seen: NOW - 5 },
      })
      world.setFlags(OTHER, 0)
      t.equal(world.send(web, ACK), OTHER, 'it was a false alarm: back')
    }
})

for (const [name, flow, current, home, other] of [
  ['UDP', flowOf(4, DNS), DNS_CURRENT, DNS_HOME, DNS_OTHER],
  ['TCP by source', flowOf(5, STICKY), STICKY_CURRENT, STICKY_HOME, STICKY_OTHER],
] as const)
  t.test(`H5, ${name}: the flow of a dead backend begins anew`, { skip }, async t => {
    const world = await openWorld(t)
    world.setFlags(other, DEAD)
    for (const state of [G, L]) {
      t.same(hit(world, state, { age: 5 }, ACK, flow), {
        to: home,
        left: { id: home, kind: OPEN, seen: NOW },
      })
      world.setFlags(home, DEAD)
      t.same(hit(world, state, { age: 5 }, ACK, flow), {
        to: current,
        left: { id: current, kind: OPEN, seen: NOW },
      })
      world.setFlags(home, 0)
    }
    t.same(hit(world, K, { age: 5 }, ACK, flow), { to: current, left: null }, 'it does not jump back later')
  })

t.test('an entry is this flow’s only if its backend serves this service', { skip }, async t => {
  const world = await openWorld(t)
  const { bucket } = world.place(web)
  for (const [state, home, to] of [
    [L, HOME, HOME],
    [K, 0, CURRENT],
  ] as const)
    for (const id of [DNS_OTHER, SIX_CURRENT]) {
      world.setSlots(WEB, state, CURRENT, home)
      world.setBucket(bucket, new Array<bigint>(8).fill(0n))
      world.remember(web, { id, kind: OPEN, seen: NOW })
      const before = world.bucket(bucket)[0]
      t.equal(world.send(web, ACK), to)
      t.equal(world.bucket(bucket)[0], before, 'the other service’s entry stays')
    }
})

t.test('the clock wraps, and stamps of other CPUs lie ahead of it: ages stay right', { skip }, async t => {
  const world = await openWorld(t)
  world.setSlots(WEB, L, CURRENT, HOME)
  const goesTo = (now: number, seen: number): number | null => {
    world.setClock(now)
    world.setBucket(world.place(web).bucket, new Array<bigint>(8).fill(0n))
    world.remember(web, { id: OTHER, kind: OPEN, seen })
    return world.send(web, SYN)
  }
  t.equal(goesTo(0, 16383), OTHER, 'one unit, across the wrap')
  t.equal(goesTo(0, 16382), CURRENT, 'two')
  t.equal(goesTo(1000, 1064), OTHER, '64 units ahead count as now')
  t.equal(goesTo(1000, 1065), CURRENT, 'more are of long ago')
  t.equal(goesTo(16383, 40), OTHER, 'ahead, across the wrap')
})
