/** A packet whose flow has no entry: rules M1 to M8 of docs/affinity.md, in the compiled data plane. */
import t from 'tap'
import { G, K, L } from '../../src/dataplane/slot.js'
import { skip } from '../fixtures/native.js'
import { CLOSED, entryWord, HALF_OPEN, OPEN } from './fixtures/entry.js'
import { type Flow, flowOf, type Tracked } from './fixtures/tracked.js'
import {
  ACK,
  CURRENT,
  DEAD,
  DNS,
  DNS_CURRENT,
  DNS_HOME,
  FIN,
  HOME,
  IDLE,
  NO_NEW,
  NOW,
  OTHER,
  openWorld,
  RST,
  STICKY,
  STICKY_CURRENT,
  STICKY_HOME,
  SYN,
  UDP_IDLE,
  WEB,
} from './fixtures/world.js'

const web = flowOf(1, WEB)
const partial = [
  { name: 'UDP', flow: flowOf(4, DNS), current: DNS_CURRENT, home: DNS_HOME },
  { name: 'TCP by source', flow: flowOf(5, STICKY), current: STICKY_CURRENT, home: STICKY_HOME },
] as const

const nothing = { inserted: 0, deferred: 0, refused: 0, unremembered: 0 }

/** Eight flows of web, all of them fresh: no place. */
const full = (kind: number = OPEN, age = 0): bigint[] =>
  Array.from({ length: 8 }, (_, i) =>
    entryWord({ fingerprint: 77_000 + i, kind, seen: NOW - age, id: OTHER }),
  )

const miss = (
  world: Tracked,
  state: number,
  flow: Flow,
  flags: number,
  before: readonly bigint[] = new Array<bigint>(8).fill(0n),
) => {
  const [current, home] =
    flow.service === WEB
      ? [CURRENT, HOME]
      : flow.service === DNS
        ? [DNS_CURRENT, DNS_HOME]
        : [STICKY_CURRENT, STICKY_HOME]
  world.setSlots(flow.service, state, current!, state === K ? 0 : home!)
  const { bucket } = world.place(flow)
  world.setBucket(bucket, before)
  world.counts()
  const to = world.send(flow, flags)
  const left = world.recalled(flow)
  return {
    to,
    left: left && { id: left.id, kind: left.kind },
    counts: world.counts(),
    isStamped: left?.seen === NOW,
  }
}

t.test('M1: a keeping slot yields its owner and remembers nothing', { skip }, async t => {
  const world = await openWorld(t)
  for (const flags of [SYN, ACK, FIN | ACK, RST])
    t.match(miss(world, K, web, flags), { to: CURRENT, left: null, counts: nothing })
  for (const { flow, current } of partial)
    t.match(miss(world, K, flow, ACK), { to: current, left: null, counts: nothing })
})

t.test(
  'M2: a new connection in a learning slot begins on the owner, and is remembered',
  { skip },
  async t => {
    const world = await openWorld(t)
    for (const flags of [0, NO_NEW, DEAD]) {
      world.setFlags(HOME, flags)
      t.match(miss(world, L, web, SYN), {
        to: CURRENT,
        left: { id: CURRENT, kind: HALF_OPEN },
        counts: { ...nothing, inserted: 1 },
        isStamped: true,
      })
    }
  },
)

t.test('M3: a new connection that finds no place goes where its next packets will', { skip }, async t => {
  const world = await openWorld(t)
  for (const flags of [0, NO_NEW]) {
    world.setFlags(HOME, flags)
    t.match(miss(world, L, web, SYN, full()), { to: HOME, left: null, counts: { ...nothing, deferred: 1 } })
    t.equal(world.send(web, ACK), HOME)
  }
  t.same(world.pressure(WEB), [world.place(web).slot], 'by the ACK: the SYN marks nothing')
})

t.test('M4: where home is dead too, it goes to the owner unremembered, and is counted', { skip }, async t => {
  const world = await openWorld(t)
  world.setFlags(HOME, DEAD)
  for (const state of [G, L])
    t.match(miss(world, state, web, SYN, full()), {
      to: CURRENT,
      left: null,
      counts: { ...nothing, unremembered: 1 },
    })
  t.equal(world.send(web, ACK), CURRENT)
})

t.test('M5: in grace a handshake goes home, where its first SYN may have gone', { skip }, async t => {
  const world = await openWorld(t)
  t.match(miss(world, G, web, SYN), {
    to: HOME,
    left: { id: HOME, kind: HALF_OPEN },
    counts: { ...nothing, inserted: 1 },
    isStamped: true,
  })
  t.match(miss(world, G, web, SYN, full()), { to: HOME, left: null, counts: nothing })
})

t.test('M5: a home that takes no new flow has no grace', { skip }, async t => {
  const world = await openWorld(t)
  for (const flags of [NO_NEW, DEAD, DEAD | NO_NEW]) {
    world.setFlags(HOME, flags)
    t.match(miss(world, G, web, SYN), { to: CURRENT, left: { id: CURRENT, kind: HALF_OPEN } })
  }
  world.setFlags(HOME, NO_NEW)
  t.match(miss(world, G, web, SYN, full()), { to: HOME, left: null, counts: { ...nothing, deferred: 1 } })
})

t.test('M6: an old flow goes home, and is remembered there', { skip }, async t => {
  const world = await openWorld(t)
  for (const state of [G, L])
    for (const flags of [0, NO_NEW]) {
      world.setFlags(HOME, flags)
      for (const tcpFlags of [ACK, SYN | ACK])
        t.match(miss(world, state, web, tcpFlags), {
          to: HOME,
          left: { id: HOME, kind: OPEN },
          counts: { ...nothing, inserted: 1 },
          isStamped: true,
        })
    }
})

t.test('M6: a goodbye needs no place', { skip }, async t => {
  const world = await openWorld(t)
  for (const state of [G, L])
    for (const flags of [FIN | ACK, RST, RST | ACK])
      for (const before of [undefined, full()])
        t.match(miss(world, state, web, flags, before), { to: HOME, left: null, counts: nothing })
  t.same(world.pressure(WEB), [])
})

t.test('M6: an old flow that finds no place marks its slot, and no other', { skip }, async t => {
  const world = await openWorld(t)
  const slots = new Set<number>()
  for (let n = 0; n < 20; n++) {
    const flow = flowOf(n, WEB)
    t.match(miss(world, n % 2 ? G : L, flow, ACK, full()), {
      to: HOME,
      left: null,
      counts: { ...nothing, refused: 1 },
    })
    slots.add(world.place(flow).slot)
  }
  t.same(
    world.pressure(WEB),
    [...slots].sort((a, b) => a - b),
  )
  t.same(world.pressure(DNS), [])
})

t.test('M7: an old flow whose home is dead goes to the owner unremembered', { skip }, async t => {
  const world = await openWorld(t)
  world.setFlags(HOME, DEAD)
  for (const state of [G, L])
    for (const before of [undefined, full()])
      t.match(miss(world, state, web, ACK, before), { to: CURRENT, left: null, counts: nothing })
  t.same(world.pressure(WEB), [])
  world.setFlags(HOME, 0)
  t.equal(world.send(web, ACK), HOME, 'home comes back, and its silent flows with it')
})

for (const { name, flow, current, home } of partial) {
  t.test(`M6, ${name}: nothing marks a new flow, so each goes home`, { skip }, async t => {
    const world = await openWorld(t)
    for (const state of [G, L])
      for (const flags of [0, NO_NEW]) {
        world.setFlags(home, flags)
        for (const tcpFlags of [SYN, ACK, FIN | ACK, RST])
          t.match(miss(world, state, flow, tcpFlags), {
            to: home,
            left: { id: home, kind: OPEN },
            counts: { ...nothing, inserted: 1 },
          })
        t.match(miss(world, state, flow, SYN, full()), {
          to: home,
          left: null,
          counts: { ...nothing, refused: 1 },
        })
      }
    t.same(world.pressure(flow.service), [world.place(flow).slot])
  })

  t.test(
    `M8, ${name}: where home is dead, a flow begins on the owner and is remembered`,
    { skip },
    async t => {
      const world = await openWorld(t)
      world.setFlags(home, DEAD)
      for (const state of [G, L]) {
        t.match(miss(world, state, flow, SYN), {
          to: current,
          left: { id: current, kind: OPEN },
          counts: { ...nothing, inserted: 1 },
        })
        t.match(miss(world, state, flow, ACK, full()), {
          to: current,
          left: null,
          counts: { ...nothing, unremembered: 1 },
        })
      }
      t.same(world.pressure(flow.service), [], 'no mark: the slot is not to wait for it')
    },
  )
}

t.test('M8: a client whose home was dead keeps its substitute when home comes back', { skip }, async t => {
  const world = await openWorld(t)
  const flow = flowOf(4, DNS)
  world.setFlags(DNS_HOME, DEAD)
  t.equal(miss(world, L, flow, ACK).to, DNS_CURRENT)
  world.setFlags(DNS_HOME, 0)
  t.equal(world.send(flow), DNS_CURRENT)
})

t.test(
  'a place is free when its flow is idle, closed or half-open for long enough, and not before',
  { skip },
  async t => {
    const world = await openWorld(t)
    const finds = (kind: number, age: number): boolean => {
      const { left } = miss(world, L, web, ACK, full(kind, age))
      return left !== null
    }
    t.notOk(finds(OPEN, IDLE))
    t.ok(finds(OPEN, IDLE + 1))
    for (const kind of [HALF_OPEN, CLOSED]) {
      t.notOk(finds(kind, 2))
      t.ok(finds(kind, 3))
    }
    t.notOk(finds(OPEN, -64), 'a stamp ahead of the clock is of now')
  },
)

t.test('nobody’s live flow is evicted for one of a service that forgets sooner', { skip }, async t => {
  const world = await openWorld(t)
  const dns = flowOf(4, DNS)
  const before = full(OPEN, UDP_IDLE + 1)
  t.match(miss(world, L, dns, ACK, before), { to: DNS_HOME, left: null, counts: { ...nothing, refused: 1 } })
  t.same(world.bucket(world.place(dns).bucket), before, 'eight connections of web, silent for a minute')
  t.match(
    miss(world, L, dns, ACK, full(OPEN, IDLE + 1)),
    { left: { id: DNS_HOME } },
    'silent for longer than web’s own time',
  )
})

t.test('a slot without owner and a slot without home have nobody', { skip }, async t => {
  const world = await openWorld(t)
  const goes = (current: number, home: number, flags: number): number | null => {
    world.setSlots(WEB, L, current, home)
    world.setBucket(world.place(web).bucket, new Array<bigint>(8).fill(0n))
    return world.send(web, flags)
  }
  t.equal(goes(0, HOME, SYN), null)
  t.equal(world.recalled(web), null, 'nobody is not remembered')
  t.equal(goes(0, HOME, ACK), HOME)
  t.equal(goes(CURRENT, 0, ACK), CURRENT)
  t.equal(goes(0, 0, ACK), null)
})

t.test('one flow after the other fills a bucket, and each is recalled', { skip }, async t => {
  const world = await openWorld(t, { bits: 8 })
  world.setSlots(WEB, L, CURRENT, HOME)
  const flows = Array.from({ length: 100 }, (_, n) => flowOf(n, WEB))
  const begun = flows.map((flow, n) => world.send(flow, n % 2 ? SYN : ACK))
  begun.forEach((to, n) => {
    t.equal(to, n % 2 ? CURRENT : HOME)
  })
  world.setSlots(WEB, K, OTHER, 0)
  flows.forEach((flow, n) => {
    t.equal(world.send(flow, ACK), begun[n])
  })
  t.same(world.counts(), { ...nothing, inserted: 100 })
})
