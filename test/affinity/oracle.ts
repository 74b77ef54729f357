/** What the oracle of the models forgives, and what not, around a time in which nothing was tracked. No data plane. */
import t from 'tap'
import type { Service } from '../../src/model.js'
import { seededRandom } from '../fixtures/random.js'
import { createPopulation, newTally, type Tally } from './fixtures/flows.js'
import type { FlowSite, Incarnation, SiteBackend } from './fixtures/site.js'

const IDLE_MS = 60_000
/** Nothing was tracked until then. */
const TRACKED_MS = 20_000
/** From then on every packet goes to the other backend. */
const TURN_MS = 45_000
const END_MS = 200_000

const backend = (address: string): SiteBackend => {
  const process: Incarnation = { of: undefined as unknown as SiteBackend, isAlive: true }
  const one: SiteBackend = {
    service: 0,
    address,
    weight: 1,
    isUp: true,
    admin: 'enabled',
    wasCut: false,
    hasDrained: false,
    isDead: false,
    drainBegan: 0,
    deadline: Number.POSITIVE_INFINITY,
    lastDead: Number.NEGATIVE_INFINITY,
    process,
  }
  return Object.assign(one, { process: Object.assign(process, { of: one }) })
}

/**
 * @param openMs    when the flows begin
 * @param isDead    whether the backend that they go to in the end is flagged as dead
 * @param protocol  whether a SYN marks the first packet
 */
const play = async (
  openMs: number,
  isDead: (ms: number) => boolean,
  protocol: 'tcp' | 'udp' = 'tcp',
): Promise<Tally> => {
  const [first, other] = [backend('10.0.0.1'), backend('10.0.0.2')]
  const hash = ['source', 'source-port', 'destination', 'destination-port']
  let time = 0
  const site: FlowSite = {
    services: [
      {
        model: { vip: '192.0.2.10', port: 80, protocol, hash } as unknown as Service,
        backends: [first, other],
      },
    ],
    now: () => time,
    advance: async ms => {
      time += ms
      Object.assign(other, { isDead: isDead(time) })
    },
    isDaemonAlive: () => true,
    run: () => (time < TURN_MS ? first : other).process,
    look: () => '',
    unremembered: () => 0,
    deferred: () => 0,
    lastUntracked: () => Math.min(time, TRACKED_MS),
  }
  const tally = newTally()
  const population = createPopulation(
    site,
    seededRandom(1),
    tally,
    () => IDLE_MS,
    () => undefined,
  )
  await population.play(openMs)
  for (let i = 0; i < 300; i++) population.open(0)
  await population.play(END_MS)
  return tally
}

t.test('a flow that met its backend while somebody was dead may be the dead one’s', async t => {
  const { breaks, ended } = await play(1000, ms => ms >= TRACKED_MS && ms < TURN_MS)
  t.same(breaks, [])
  t.ok(ended.untracked > 0, `${ended.untracked} had changed their owner untracked`)
})

t.test('one that met it while nobody was is its own from then on', async t => {
  const always = await play(1000, () => false)
  t.ok(always.breaks.length > 0, 'never dead')
  t.ok(always.ended.untracked > 0, 'but for those that were silent since before')
  const later = await play(1000, ms => ms >= 35_000 && ms < TURN_MS)
  t.ok(later.breaks.length > 0, 'dead only afterwards')
})

t.test('one that began when all was tracked is its own, whoever is dead', async t => {
  const { breaks, ended } = await play(TRACKED_MS + 1000, ms => ms >= TRACKED_MS && ms < TURN_MS)
  t.ok(breaks.length > 0)
  t.equal(ended.untracked, 0)
})

t.test('a flow without a SYN is told by each packet', async t => {
  const { breaks } = await play(1000, ms => ms >= TRACKED_MS && ms < TURN_MS, 'udp')
  t.ok(breaks.length > 0)
})
