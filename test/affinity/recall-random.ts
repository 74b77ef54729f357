/** The compiled data plane against the rules once more (test/model/recall.ts): any bucket, any slot, any packet. */
import t from 'tap'
import { G, K, L, U } from '../../src/dataplane/slot.js'
import { skip } from '../fixtures/native.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { type RecallEntry, recall } from '../model/recall.js'
import { entryOf, entryWord } from './fixtures/entry.js'
import { flowOf } from './fixtures/tracked.js'
import { ACK, DEAD, FIN, NO_NEW, openWorld, RST, SYN, worldServices } from './fixtures/world.js'

const seed = chosenSeed(Date.now() >>> 0)
const CASES = 12_000
const states = { U, G, L, K } as const
const names = ['U', 'G', 'L', 'K'] as const

t.test('any packet, in any slot, over any bucket, goes and is stored as the rules say', { skip }, async t => {
  const random = seededRandom(seed)
  const world = await openWorld(t)
  const owners = worldServices.flatMap(({ backends }, service) => backends.map(id => ({ id, service })))
  const flags = new Map(owners.map(({ id }) => [id, 0]))
  const backendOf = (id: number) => {
    const owner = owners.find(one => one.id === id)
    return (
      owner && {
        service: owner.service,
        isDead: (flags.get(id)! & DEAD) !== 0,
        takesNew: flags.get(id) === 0,
        idle: worldServices[owner.service]!.idle,
      }
    )
  }
  const flows = Array.from({ length: 24 }, (_, n) => {
    const flow = flowOf(n, n % worldServices.length)
    return { flow, place: world.place(flow) }
  })

  const someEntry = (now: number, own: number, fingerprint: number): RecallEntry | null => {
    if (random.chance(0.15)) return null
    const age = random.pick([
      0,
      0,
      1,
      2,
      3,
      14,
      15,
      16,
      17,
      100,
      224,
      225,
      226,
      300,
      -1,
      -64,
      -65,
      random.below(16384),
    ])
    return {
      fingerprint: random.chance(0.15) ? fingerprint : random.below(2 ** 28),
      kind: random.between(1, 3),
      seen: (now - age + 32768) % 16384,
      id: random.chance(0.6) ? random.pick(worldServices[own]!.backends) : random.pick(owners).id,
    }
  }
  const wrong: unknown[] = []
  for (let n = 0; n < CASES && wrong.length < 3; n++) {
    const { flow, place } = random.pick(flows)
    const service = worldServices[flow.service]!
    const now = random.pick([0, 1, 63, 1000, 16383, random.below(16384)])
    world.setClock(now)
    if (n % 4 === 0) {
      const { id } = random.pick(owners)
      flags.set(id, random.pick([0, 0, NO_NEW, DEAD, DEAD | NO_NEW]))
      world.setFlags(id, flags.get(id)!)
    }
    const slot = {
      state: random.pick(names),
      current: random.pick(service.backends),
      home: random.pick(service.backends),
    }
    world.setSlot(flow.service, place.slot, states[slot.state], slot.current, slot.home)
    const bucket = Array.from({ length: 8 }, () => someEntry(now, flow.service, place.fingerprint))
    const before = bucket.map(entry => entry && { ...entry })
    world.setBucket(
      place.bucket,
      bucket.map(entry => (entry ? entryWord(entry) : 0n)),
    )
    const tcpFlags = random.pick([SYN, ACK, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, 0])
    world.counts()

    const to = world.send(flow, tcpFlags)
    const isTcp = service.protocol === 'tcp'
    const packet = {
      service: flow.service,
      synOpens: isTcp && !service.bySource,
      isSyn: isTcp && (tcpFlags & (SYN | ACK)) === SYN,
      isClosing: isTcp && (tcpFlags & (FIN | RST)) !== 0,
      fingerprint: place.fingerprint,
      now,
    }
    const expected = recall(bucket, slot, packet, backendOf)
    const found = world.bucket(place.bucket).map(word => (word === 0n ? null : entryOf(word)))
    const counted = Object.entries(world.counts()).find(([, count]) => count > 0)?.[0] ?? null
    const same =
      to === expected.id && counted === expected.counted && JSON.stringify(found) === JSON.stringify(bucket)
    if (!same)
      wrong.push({ n, slot, packet, before, expected, bucket, to, counted, found, flags: [...flags] })
  }
  t.same(wrong, [], `LINIMO_SEED=${seed}`)
})
