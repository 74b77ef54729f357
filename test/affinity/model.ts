/**
 * Random histories through the compiled data plane and the real control code, against an oracle that remembers every
 * flow in full (fixtures/flows.ts). LINIMO_SEED repeats a run; LINIMO_PACKETS makes it longer.
 */
import t from 'tap'
import { backendLayout } from '../../src/dataplane/layout.js'
import { skip } from '../fixtures/native.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { changeKinds, createChanges } from './fixtures/changes.js'
import { createPopulation, newTally } from './fixtures/flows.js'
import { openSite, RING_SIZE, type SiteOptions } from './fixtures/site.js'

const seed = chosenSeed(20_261_121)
const PACKETS = Number(process.env.LINIMO_PACKETS ?? 60_000)
const IDLE_MS = 60_000
const UDP_IDLE_MS = 40_000
/** A third of a unit before the milliseconds' 32 bits run over; the flow clock wraps soon after. */
const START_MS = 2 ** 32 - 300_000

const services: SiteOptions['services'] = [
  {
    name: 'web',
    vip: '192.0.2.10',
    protocol: 'tcp',
    hash: ['source', 'source-port', 'destination', 'destination-port'],
  },
  {
    name: 'dns',
    vip: '192.0.2.10',
    protocol: 'udp',
    hash: ['source', 'source-port', 'destination', 'destination-port'],
  },
  { name: 'sticky', vip: '192.0.2.11', protocol: 'tcp', hash: ['source'] },
]

interface Variant {
  readonly name: string
  readonly flows: number
  readonly tracking: 'on-change' | 'always'
  readonly ids: number
  /** New flows a second, by service. */
  readonly rates: readonly number[]
}

const variants: readonly Variant[] = [
  { name: 'room for all', flows: 16384, tracking: 'on-change', ids: 80, rates: [14, 4, 2] },
  { name: 'a cache that is full', flows: 256, tracking: 'on-change', ids: 80, rates: [14, 4, 2] },
  { name: 'every flow remembered', flows: 16384, tracking: 'always', ids: 64, rates: [14, 4, 2] },
]

t.comment(`LINIMO_SEED=${seed}`)

t.test('the oracle sees what breaks: the same without tracking', { skip, timeout: 120_000 }, async t => {
  const random = seededRandom(seed)
  const site = await openSite({
    services,
    backends: 12,
    flows: 16384,
    idleMs: IDLE_MS,
    udpIdleMs: UDP_IDLE_MS,
    tracking: 'never',
    startMs: START_MS,
    ids: 80,
  })
  t.teardown(() => site.close())
  const tally = newTally()
  const population = createPopulation(
    site,
    random,
    tally,
    () => UDP_IDLE_MS,
    () => undefined,
  )
  const changes = createChanges(site, random, 12, () => undefined)
  while (tally.packets < 20_000 && tally.breaks.length === 0) {
    for (const service of services.keys()) if (random.chance(0.5)) population.open(service)
    await population.play(site.now() + random.between(20, 400))
    await changes.step()
  }
  t.ok(tally.breaks.length > 0, `after ${tally.packets} packets`)
})

for (const [index, variant] of variants.entries())
  t.test(
    `no history takes a flow from a backend that lives: ${variant.name}`,
    { skip, timeout: 240_000 },
    async t => {
      const random = seededRandom(seed + index)
      const log: string[] = []
      const report = (text: string): void => {
        log.push(`  ${text}`)
      }
      const site = await openSite({
        services,
        backends: 12,
        flows: variant.flows,
        idleMs: IDLE_MS,
        udpIdleMs: UDP_IDLE_MS,
        tracking: variant.tracking,
        startMs: START_MS,
        ids: variant.ids,
      })
      t.teardown(() => site.close())
      const tally = newTally()
      const idleOf = (service: number): number =>
        services[service]!.protocol === 'udp' ? UDP_IDLE_MS : IDLE_MS
      const population = createPopulation(site, random, tally, idleOf, report)
      const changes = createChanges(site, random, 12, report)
      const entries = site.dataplane.memory('flow_cache').byteLength / 8

      let sweepShare = 1
      let newSpeedAt = 0
      let isSettling = false

      const step = async (): Promise<void> => {
        if (site.now() > newSpeedAt && !isSettling) {
          newSpeedAt = site.now() + 30_000
          sweepShare = random.pick([0.01, 0.03, 0.2, 1])
        }
        const ms = random.between(20, 400)
        for (const [service, rate] of variant.rates.entries())
          for (let i = 0; i < 3; i++) if (random.chance((rate * ms) / 3000)) population.open(service)
        await population.play(site.now() + ms)
        await site.sweepSome(Math.ceil(entries * sweepShare))
      }
      while (tally.packets < PACKETS && tally.breaks.length === 0) {
        await step()
        await changes.step()
      }
      const { ended, breaks } = tally
      t.comment(
        JSON.stringify({ ...tally, breaks: breaks.length, changes: Object.fromEntries(changes.counts) }),
      )
      t.comment(JSON.stringify({ deferred: site.deferred(), unremembered: site.unremembered() }))
      if (breaks.length > 0) t.comment(log.slice(-60).join('\n'))
      t.same(breaks, [], `LINIMO_SEED=${seed}`)
      t.equal(tally.misplaced, 0, 'new flows on backends that take none')
      t.equal(tally.nobody, 0, 'new flows that nobody got')
      t.ok(tally.torn <= tally.flows / 1000, `${tally.torn} torn handshakes`)
      t.ok(
        ended['down in silence'] <= tally.flows / 100,
        `${ended['down in silence']} lost by overlapping failures`,
      )
      t.ok(ended.idle <= tally.flows / 25, `${ended.idle} had been silent for longer than the idle time`)
      const { unremembered } = ended
      t.ok(
        unremembered <= 2 * site.unremembered(),
        `${unremembered} lost of ${site.unremembered()} that found no place`,
      )
      if (variant.flows > 1000) t.equal(site.unremembered(), 0, 'where there is room, each finds a place')
      if (breaks.length > 0) return
      for (const kind of changeKinds) t.ok(changes.counts.get(kind), `${kind} was among the changes`)
      if (variant.tracking === 'on-change') t.ok(site.exceptions() > 0, 'slots in K had exceptions')

      // Afterwards everybody is well, the flows come to their end, and nothing is left to be remembered.
      isSettling = true
      sweepShare = 1
      await changes.settle()
      population.stop()
      for (let i = 0; population.live() > 0 && i < 20_000; i++) await step()
      for (let i = 0; i < 400; i++) {
        await step()
        await changes.step()
      }
      t.same(tally.breaks, [], 'and afterwards')
      if (variant.tracking === 'on-change')
        for (const { model } of site.services)
          t.equal(
            site.tables().tracking(`${model.vip}:80/${model.protocol}`).tracked,
            0,
            `${model.name}: of ${RING_SIZE}`,
          )
      const used = new Set(
        site.services.flatMap(({ backends }) => backends.filter(({ admin }) => admin !== 'removed')),
      ).size
      const records = new Uint8Array(site.dataplane.memory('backends'))
      const present = Array.from(
        { length: records.length / 64 },
        (_, id) => records[id * 64 + backendLayout.fields.mode.offset],
      ).filter(Boolean)
      t.equal(present.length, used, 'ids in use')
    },
  )
