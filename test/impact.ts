import t from 'tap'
import { parseConfig } from '../src/config.js'
import { breakingChange, impactOf, movedSlots, type OwnedRing } from '../src/impact.js'
import { createPacketMinute } from '../src/impact-packets.js'
import { breakingServices, previewImpact } from '../src/impact-preview.js'
import type { Config, Service } from '../src/model.js'
import { createRingBuilder } from '../src/ring-builder.js'
import { createRings } from '../src/rings.js'

const ring = (identities: readonly string[], ...owners: readonly number[]): OwnedRing => ({
  identities,
  owners: Int32Array.from(owners),
})
const service = { name: 'web' } as Service
const traffic = (packets: number, flows: number | null = null) => ({ packets, flows })

t.test('slots move when their owner is another, in whatever order the backends are listed', async t => {
  const before = ring(['a', 'b', 'c'], 0, 1, 2, 0, 1, -1)
  t.match(movedSlots(before, ring(['c', 'b', 'a'], 2, 1, 0, 2, 1, -1)), { total: 0 })
  const { total, moved, owned } = movedSlots(before, ring(['a', 'c'], 0, 0, 1, 0, 1, 1))
  t.equal(total, 3)
  t.same([...moved], [0, 2, 0])
  t.same([...owned], [2, 2, 1])
  t.equal(movedSlots(before, ring(['a'], 0, 0)).total, 6, 'a ring of another size has no slot in common')
})

t.test('the share of the packets is that of the owners who lose slots', async t => {
  const before = ring(['a', 'b'], 0, 0, 0, 0, 1, 1)
  const after = ring(['a', 'b'], 0, 0, 0, 1, 1, 1)
  const packets = new Map([
    ['a', traffic(600)],
    ['b', traffic(400)],
  ])
  t.match(
    impactOf(service, before, after, null, name => packets.get(name)!),
    {
      slotsMoved: 1,
      slots: 6,
      packetShare: 0.15,
      flows: 'unknown',
      breaks: false,
    },
  )
  t.equal(impactOf(service, before, after, null, () => traffic(0)).packetShare, null, 'no packets, no share')
})

t.test('flows are counted where all of those who lose slots are tracked', async t => {
  const before = ring(['a', 'b'], 0, 0, 1, 1)
  const after = ring(['a', 'b'], 0, 1, 1, 1)
  const flows = (a: number | null, b: number | null) =>
    impactOf(service, before, after, null, name => traffic(1, name === 'a' ? a : b)).flows
  t.equal(flows(10, null), 5, 'b loses none')
  t.equal(flows(null, 10), 'unknown')
})

const config = (changes: object = {}, hosts = [1, 2, 3], root: object = {}): Config =>
  parseConfig(
    JSON.stringify({
      interfaces: ['eth0'],
      services: {
        web: {
          vip: '192.0.2.10',
          port: 80,
          tracking: 'on-change',
          'ring-size': 1021,
          backends: hosts.map(host => ({ address: `10.0.0.${host}` })),
          ...changes,
        },
      },
      ...root,
    }),
  ).config
const only = ({ services }: Config): Service => services[0]!

t.test('another ring size, hash or seed breaks what is not tracked, nothing else does', async t => {
  const before = only(config())
  t.match(
    breakingChange(before, only(config({ 'ring-size': 2039 })), false),
    /^ring-size 1021 -> 2039: every/,
  )
  t.match(
    breakingChange(before, only(config({ hash: ['source'] })), false),
    /^hash \[source, .*\] -> \[source\]/,
  )
  t.match(breakingChange(before, before, true), /^another seed: /)
  t.equal(
    breakingChange(before, only(config({ 'no-backend': 'drop', tracking: 'always' }, [4])), false),
    null,
  )
})

const running = async (present: Config) => {
  const builder = createRingBuilder()
  const rings = createRings(builder)
  const one = only(present)
  const takes = one.backends.map(() => true)
  return new Map([['192.0.2.10:80/tcp', { service: one, takes, owners: await rings.owners(one, takes) }]])
}

t.test('a preview says how many slots move, and touches nothing', async t => {
  const present = config()
  const map = await running(present)
  const preview = async (wanted: Config, isReseeded = false) =>
    previewImpact({
      running: map,
      wanted,
      isReseeded,
      rings: createRings(createRingBuilder()),
      takersOf: ({ backends }) => backends.map(({ weight }) => weight > 0),
      trafficOf: () => traffic(100),
    })
  t.same(await preview(present), [])
  t.same(await preview(config({ 'no-backend': 'drop' })), [])
  const [added] = await preview(config({}, [1, 2, 3, 4]))
  t.match(added, { service: 'web', slots: 1021, breaks: false, reason: null })
  t.ok(added!.slotsMoved >= 255 && added!.slotsMoved < 400, `${added!.slotsMoved} slots`)
  const [resized] = await preview(config({ 'ring-size': 2039 }))
  t.match(resized, { slotsMoved: 1021, packetShare: 1, breaks: true, reason: /ring-size/ })
  t.match(await preview(present, true), [{ slotsMoved: 1021, breaks: true, reason: /seed/ }])
  const none = parseConfig('interfaces: [eth0]\n').config
  t.match(await preview(none), [{ slotsMoved: 1021, breaks: false, reason: /the service goes/ }])
  t.same(breakingServices({ running: map, wanted: none, isReseeded: true }), [])
  t.match(breakingServices({ running: map, wanted: config({ 'ring-size': 2039 }), isReseeded: false }), [
    { name: 'web' },
  ])
  t.same(breakingServices({ running: map, wanted: config({}, [1]), isReseeded: false }), [])
  const untracked = await running(config({ tracking: 'never' }))
  const isReseeded = true
  t.match(
    breakingServices({ running: untracked, wanted: present, isReseeded }),
    [{ name: 'web' }],
    'flows that are not tracked cannot be kept either',
  )
})

t.test('the last minute counts, and not what was before it', async t => {
  let now = 0
  const minute = createPacketMinute(() => now)
  t.equal(minute.packets('a'), 0)
  for (let packets = 0; now <= 300_000; now += 10_000, packets += 100) minute.add(new Map([['a', packets]]))
  now = 300_000
  const counted = minute.packets('a')
  t.ok(counted >= 600 && counted <= 700, `${counted}`)
  minute.add(new Map([['a', 5]]))
  t.equal(minute.packets('a'), 5, 'a counter that begins anew is a new one')
  t.equal(minute.packets('b'), 0)
  now = 10_000_000
  minute.add(new Map([['a', 50]]))
  t.equal(minute.packets('a'), 45, 'after a pause, since the last sample before it')
})
