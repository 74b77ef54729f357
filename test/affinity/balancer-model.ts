/**
 * Random histories through the real control process (balancer, handlers, journal, monitor, tables) and the compiled data
 * plane, against the oracle of fixtures/flows.ts: no flow changes its backend but when its own has died or was cut.
 * LINIMO_SEED gives the same schedule, not always the same run: the journal writes to a real disk meanwhile.
 * LINIMO_PACKETS makes it longer.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { skip } from '../fixtures/native.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { type BalancedKind, balancedKinds, createBalancedChanges } from './fixtures/balanced-changes.js'
import { type BalancedSite, type FileService, openBalancedSite } from './fixtures/balanced-site.js'
import { service } from './fixtures/file-service.js'
import { createPopulation, newTally } from './fixtures/flows.js'

const seed = chosenSeed(20_261_121)
const PACKETS = Number(process.env.LINIMO_PACKETS ?? 50_000)
/** The least that a service has at any time. */
const IDLE_MS = 60_000
const START_MS = 2 ** 32 - 300_000
/** New flows a second, of each service; of the quiet one: often nobody has an entry while a few rest. */
const RATE = 1
const QUIET_RATE = 0.12

const services = (tracking: FileService['tracking'] = 'on-change'): FileService[] =>
  [
    service('web'),
    service('dns', { protocol: 'udp', isChecked: false }),
    service('six', { vip: '2001:db8:ffff::12' }),
    service('any', { vip: '192.0.2.12', port: 0 }),
    service('flip', { vip: '192.0.2.13' }),
    service('guest', { vip: '192.0.2.14' }),
    service('quiet', { vip: '192.0.2.15' }),
  ].map(one => ({ ...one, tracking }))

/** @param omitted kinds of changes that are not made */
const play = async (site: BalancedSite, packets: number, omitted: readonly BalancedKind[] = []) => {
  const random = seededRandom(seed)
  const log: string[] = []
  const tally = newTally()
  const population = createPopulation(
    site,
    random,
    tally,
    () => IDLE_MS,
    text => log.push(`  ${text}`),
  )
  const changes = createBalancedChanges(site, random, text => log.push(text), omitted)
  let sweepShare = 1
  const entries = (): number => site.dataplane.memory('flow_cache').byteLength / 8
  const step = async (): Promise<void> => {
    const ms = random.between(20, 400)
    for (const [index, { file }] of site.services.entries())
      if (random.chance(((file.name === 'quiet' ? QUIET_RATE : RATE) * ms) / 1000)) population.open(index)
    await population.play(site.now() + ms)
    await site.sweepSome(Math.ceil(entries() * sweepShare))
  }
  /** A rare kind of change has to wait for its occasion: then the history goes on, for as long again. */
  const goesOn = (): boolean =>
    tally.packets < packets ||
    (tally.packets < 2 * packets &&
      balancedKinds.some(kind => !omitted.includes(kind) && !changes.counts.has(kind)))
  while (goesOn() && tally.breaks.length === 0) {
    if (random.chance(0.01)) sweepShare = random.pick([0.01, 0.03, 0.2, 1])
    await step()
    await changes.step()
  }
  return { tally, changes, log, population, step }
}

const openSite = async (
  t: { teardown(handler: () => unknown): void },
  tracking?: FileService['tracking'],
) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'linimo-'))
  const random = seededRandom(seed + 1)
  const site = await openBalancedSite({
    services: services(tracking),
    backends: 6,
    flows: 16384,
    startMs: START_MS,
    random,
    stateDir,
  })
  t.teardown(() => site.close())
  return site
}

t.comment(`LINIMO_SEED=${seed}`)

t.test(
  'no history of the control process takes a flow from a backend that lives',
  { skip, timeout: 280_000 },
  async t => {
    const site = await openSite(t)
    const { tally, changes, log, population, step } = await play(site, PACKETS)
    const { ended, breaks } = tally
    t.comment(
      JSON.stringify({ ...tally, breaks: breaks.length, changes: Object.fromEntries(changes.counts) }),
    )
    t.comment(JSON.stringify(site.seen))
    if (breaks.length > 0) t.comment(log.slice(-60).join('\n'))
    t.same(breaks, [], `LINIMO_SEED=${seed}`)
    t.equal(tally.misplaced, 0, 'new flows on backends that take none')
    t.equal(tally.nobody, 0, 'new flows that nobody got')
    t.ok(tally.torn <= tally.flows / 500, `${tally.torn} torn handshakes`)
    t.ok(ended.idle <= tally.flows / 25, `${ended.idle} had been silent for longer than the idle time`)
    t.ok(ended['down in silence'] <= tally.flows / 50, `${ended['down in silence']} by overlapping failures`)
    t.equal(ended.unremembered, 0, 'where there is room, each finds a place')
    if (breaks.length > 0) return

    for (const kind of balancedKinds) t.ok(changes.counts.get(kind), `${kind} was among the changes`)
    t.ok(site.seen.exceptions > 0, 'slots in K had exceptions')
    t.ok(site.seen.grownInTransition > 0, 'the tables grew during a transition')
    t.ok(site.seen.midway > 0, 'the daemon died in the middle of a change')
    t.ok(ended.died > 0 && ended.removed > 0, 'and flows ended where they had to')

    await changes.settle()
    population.stop()
    for (let i = 0; i < 40_000 && (population.live() > 0 || site.trackedSlots() > 0); i++) await step()
    t.same(tally.breaks, [], 'and afterwards')
    t.equal(population.live(), 0)
    t.equal(site.trackedSlots(), 0, 'nothing is left to be remembered')
  },
)

t.test('the oracle sees what breaks: the same without tracking', { skip, timeout: 120_000 }, async t => {
  const site = await openSite(t, 'never')
  const { tally } = await play({ ...site, lastUntracked: () => Number.NEGATIVE_INFINITY }, 10_000, [
    'tracking',
  ])
  t.ok(tally.breaks.length > 0, `after ${tally.packets} packets`)
})
