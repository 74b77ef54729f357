/**
 * Connections that are kept: `npm run soak -- --minutes 10 [--seed 7] [--forward gue]`. Hundreds of real connections and
 * UDP flows in network namespaces, each asking again and again who answers, while backends come, go, drain and fail and
 * the daemon is killed and replaced: first a script, then, until the time is over, whatever the seed yields, 8 changes at
 * least. Exits with 1 when a connection broke that should not have, when a backend was seen down that nothing had failed,
 * when a change moved no slot, when fewer than 50 connections lived on the slots that a scripted one moved, or when
 * packets went another way than --forward says (dr, ipip, gre, gue, mixed, nat, fullnat). Needs root.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Status } from '../../src/control/protocol.js'
import { VIP } from '../../src/lab/lab.js'
import { closeAllNamespaces } from '../../src/lab/namespaces.js'
import { seededRandom } from '../fixtures/random.js'
import { type Change, createChanges, type RandomKind, randomKinds } from './changes.js'
import { createJudge } from './judge.js'
import { clientOf, forwards, openSoak, PORT, RESTING_MS, RING_SIZE, SEED, SERVICES } from './site.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string' },
    connections: { type: 'string', default: '800' },
    forward: { type: 'string', default: 'dr' },
  },
})
const began = Date.now()
const endsAt = began + Number(values.minutes) * 60_000
const seed = values.seed === undefined ? began >>> 0 : Number(values.seed) >>> 0
const connections = Number(values.connections)
if (!(Number(values.minutes) > 0 && connections > 0))
  throw new Error('--minutes and --connections are numbers above 0')
const forward = forwards.find(one => one === values.forward)
if (forward === undefined) throw new Error(`--forward is one of ${forwards.join(', ')}`)
const BACKENDS = 6
const SPARE = `b${BACKENDS + 1}`
const MIN_LIVING = 50
const MIN_RANDOM = 8
const MIN_KINDS = 5
/** Between two random changes, at most. */
const PAUSE_MS = Number(values.minutes) > 2 ? 6000 : 800

const say = (text: string): void => {
  process.stdout.write(`${((Date.now() - began) / 1000).toFixed(1).padStart(7)} s  ${text}\n`)
}
/** The modes that packets went by. */
const forwardsSeen = (verdicts: Status['verdicts']): string[] => {
  const modes = Object.entries(verdicts)
    .filter(([, { packets }]) => packets !== '0')
    .flatMap(
      ([name]) => /^(?:TX|REDIRECT)_(DR|IPIP|GRE|GUE|NAT|FULLNAT|SNAT)(?:_REPLY)?$/.exec(name)?.[1] ?? [],
    )
  return [...new Set(modes.map(mode => mode.toLowerCase()))].sort()
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void closeAllNamespaces().then(() => process.exit(1)))

say(`seed ${seed}: ${connections} connections, ${values.minutes} minutes, forward ${forward}`)
const random = seededRandom(seed)
const shuffled = <T>(list: readonly T[]): T[] =>
  list
    .map(one => ({ one, at: random.u32() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one)
const site = await openSoak({
  backends: BACKENDS,
  isUpgrading: true,
  isChecked: true,
  forward,
  steady: Math.ceil(connections * 0.7),
  resting: Math.floor(connections * 0.3),
  datagrams: Math.ceil(connections / 8),
  steadyMs: 1000,
})
const problems: string[] = []
let isOver = false
try {
  const judge = createJudge({
    seed: SEED,
    vip: VIP,
    port: PORT,
    client: clientOf(forward),
    ringSize: RING_SIZE,
    onBroken: over => say(`BROKEN ${JSON.stringify(over)}`),
  })
  const changes = createChanges(site, judge)
  const listening = (async () => {
    for (; !isOver; await sleep(50)) for (const said of site.heard()) judge.hear(said)
  })()
  // A check that fails by itself excuses nobody.
  const seenDown = new Set<string>()
  const watching = (async () => {
    for (; !isOver; await sleep(250)) {
      const askedAt = Date.now()
      const rows = await site.control(client => client.backend.list()).catch(() => [])
      for (const { service, backend, health, reason } of rows) {
        const name = `${service}/${backend}`
        if (health !== 'down') seenDown.delete(name)
        else if (!judge.mayBeDown(backend, askedAt) && !seenDown.has(name)) {
          seenDown.add(name)
          problems.push(`${name} was seen down (${reason}), and nothing had failed it`)
          say(problems.at(-1)!)
        }
      }
    }
  })()

  const owners = () =>
    site.control(client => Promise.all(SERVICES.map(service => client.ring.show(service, { slots: true }))))
  const counts = { changes: 0, moved: 0, least: Number.POSITIVE_INFINITY }
  const make = async (change: Change, isScripted: boolean): Promise<void> => {
    const [before, beforePing] = await owners()
    const open = judge.slots()
    await change.run()
    const [after, afterPing] = await owners()
    const moved = new Set(
      after!.owners!.flatMap((owner, slot) => (owner === before!.owners![slot] ? [] : [slot])),
    )
    const movedPing = afterPing!.owners!.filter((owner, slot) => owner !== beforePing!.owners![slot]).length
    const living = open.filter(slot => moved.has(slot)).length
    say(`${change.title}: ${moved.size} slots moved, ${living} connections on them`)
    counts.changes++
    counts.moved += moved.size
    if (change.moves !== moved.size > 0 || change.moves !== movedPing > 0)
      problems.push(`${change.title}: ${moved.size} and ${movedPing} slots moved`)
    if (!change.moves || !isScripted) return
    counts.least = Math.min(counts.least, living)
    if (living < MIN_LIVING)
      problems.push(`${change.title}: only ${living} connections on the slots that it moved`)
  }
  for (let waited = 0; judge.open().tcp < connections * 0.95; waited += 100) {
    if (waited > 30_000)
      throw new Error(`only ${judge.open().tcp} connections open: ${JSON.stringify(judge.verdict())}`)
    await sleep(100)
  }
  say(`${judge.open().tcp} connections and ${judge.open().udp} UDP flows are open`)
  const script: readonly (Change | number)[] = [
    changes.weight('b1', 3),
    1000,
    changes.add(SPARE),
    changes.drain('b5'),
    1000,
    changes.severalWeights({ b2: 2, b3: 3, b6: 2 }),
    changes.killDaemon(1000),
    1000,
    changes.crash('b6'),
    changes.weight('b1', 1),
    1000,
    changes.restart('b6'),
    changes.undrain('b5'),
    500,
    changes.upgrade(),
    changes.linkDown('b3'),
    changes.applyWeights({ b1: 2, b2: 1, b5: 2, b6: 1 }),
    1000,
    changes.linkUp('b3'),
    changes.takeOutOfFile('b4'),
    changes.restartDaemon(),
    changes.drainPastDeadline('b2'),
    changes.putIntoFile('b4'),
    changes.killDaemon(0),
    changes.remove(SPARE),
  ]
  for (const step of script) {
    if (typeof step === 'number') await sleep(step)
    else await make(step, true)
  }
  const faults = new Map<string, { readonly at: number; readonly change: Change }>()
  const randomly = new Map<RandomKind, number>()
  let deck: RandomKind[] = []
  let isLeaving = true
  let leaveAt = Date.now() + 2000
  const began = Date.now()
  const made = (): number => [...randomly.values()].reduce((sum, count) => sum + count, 0)
  const isEnough = (): boolean => made() >= MIN_RANDOM && randomly.size >= MIN_KINDS
  while (judge.verdict().broken.length < 20 && (Date.now() < endsAt || !isEnough())) {
    if (Date.now() > Math.max(endsAt, began) + 60_000) break
    await sleep(random.between(200, PAUSE_MS))
    for (const [name, { at, change }] of faults)
      if (Date.now() > at) {
        faults.delete(name)
        await make(change, false)
      }
    if (isLeaving && Date.now() > leaveAt) {
      // What is left of it ends as connections do; then it is gone, and its host can be added again.
      site.leave(SPARE)
      const { length } = (await site.control(client => client.backend.list())).filter(
        row => row.backend === SPARE,
      )
      if (length === 0) say(`${SPARE} has gone`)
      isLeaving = length > 0
      leaveAt = Date.now() + 5000
    }
    // Every kind once before one comes again.
    if (deck.length === 0) deck = shuffled(randomKinds)
    const kind = deck.pop()!
    const change = await changes.random(kind, random, SPARE)
    if (change === null) continue
    if (isLeaving && change.title.startsWith('add')) continue
    await make(change, false)
    randomly.set(kind, 1 + (randomly.get(kind) ?? 0))
    const name = /of (b\d+) (is killed|goes down)/.exec(change.title)
    if (name)
      faults.set(name[1]!, {
        at: Date.now() + random.between(1000, 20_000),
        change: name[2] === 'is killed' ? changes.restart(name[1]!) : changes.linkUp(name[1]!),
      })
    if (change.title.startsWith('remove')) {
      isLeaving = true
      leaveAt = Date.now() + 10_000
    }
  }
  say(`${made()} random changes after the script: ${JSON.stringify(Object.fromEntries(randomly))}`)
  if (!isEnough()) problems.push(`only ${made()} random changes of ${randomly.size} kinds`)
  for (const { change } of faults.values()) await make(change, false)
  // Whoever rests asks once more.
  await sleep(RESTING_MS + 1000)
  isOver = true
  await Promise.all([listening, watching])
  const { verdicts } = await site.control(client => client.status())
  const went = forwardsSeen(verdicts)
  if (went.join() !== (forward === 'mixed' ? ['gue', 'ipip'] : [forward]).join())
    problems.push(`packets went by ${went.join(' and ')}, not by ${forward}`)
  await site.endClient()
  for (const said of site.heard()) judge.hear(said)

  const verdict = judge.verdict()
  const { broken, excused, died, cut } = verdict
  say(
    `${verdict.connections} connections, ${verdict.flows} UDP flows, ${verdict.answered} of ${verdict.asked} questions answered`,
  )
  say(`${verdict.unopened} attempts found nobody, ${verdict.polite} ended as asked`)
  say(
    `${counts.changes} changes moved ${counts.moved} slots; at least ${counts.least} connections lived on those of a scripted one`,
  )
  if (verdict.answered < verdict.connections) problems.push('hardly anything was answered')
  for (const problem of problems) say(`PROBLEM ${problem}`)
  say(`seed ${seed}`)
  say(`cut by an order: ${cut}; by why: ${JSON.stringify(excused)}`)
  say(
    `connections broken that should not have been: ${broken.length}; ended because their backend died: ${died}`,
  )
  process.exitCode = broken.length > 0 || problems.length > 0 ? 1 : 0
} catch (error) {
  say(`FAILED ${error instanceof Error ? error.stack : String(error)}`)
  say(site.daemon().running.output().stdout.split('\n').slice(-15).join('\n'))
  process.exitCode = 1
} finally {
  isOver = true
  await site.close()
}
