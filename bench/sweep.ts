/** Does the daemon answer while it sweeps a large flow cache? */
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { type BenchedDaemon, withDaemon } from './daemon.js'
import { median, percentile } from './statistics.js'
import { type FilledCache, fillCache } from './sweep/cache.js'

const ENTRIES = 16777216
const SERVICES = 3
const BACKENDS = 100
const FILLS = [0.05, 0.9] as const
const BUDGET_MS = 10
const PING_EVERY_MS = 1
const LIST_EVERY_MS = 50
/** What a sweep has found is put into effect after it has passed the last entry. */
const AFTERMATH_MS = 200
/** Sweeps are 10 s apart. */
const LONGEST_MS = 30_000

interface Ping {
  readonly beganMs: number
  readonly ms: number
}

interface Sweep {
  readonly beganMs: number
  readonly endedMs: number
}

const delay = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Asks again and again, one request after the other, until told to stop. */
const pinging = (ask: () => Promise<unknown>, everyMs: number) => {
  const pings: Ping[] = []
  let isStopped = false
  const run = async (): Promise<void> => {
    while (!isStopped) {
      const beganMs = performance.now()
      await ask()
      const ms = performance.now() - beganMs
      pings.push({ beganMs, ms })
      await delay(Math.max(0, everyMs - ms))
    }
  }
  const ended = run()
  return {
    stop: async (): Promise<readonly Ping[]> => {
      isStopped = true
      await ended
      return pings
    },
  }
}

/** Watches one whole sweep pass from the first place to the last. */
const watchSweep = async (cache: FilledCache): Promise<Sweep> => {
  cache.mark()
  const until = performance.now() + LONGEST_MS
  let beganMs: number | null = null
  for (;;) {
    await delay(1)
    const now = performance.now()
    const { first, last } = cache.marks()
    if (!first) beganMs ??= now
    if (!last) return { beganMs: beganMs ?? now, endedMs: now }
    check(now < until, `no sweep came within ${LONGEST_MS} ms`)
  }
}

interface Measured {
  readonly sweeps: readonly Sweep[]
  readonly shows: readonly Ping[]
  readonly lists: readonly Ping[]
}

const measure = async (daemon: BenchedDaemon, fill: number, sweeps: number): Promise<Measured> => {
  const { client } = daemon
  // Of each service half of the slots change their owner, and are tracked from here on.
  for (let service = 0; service < SERVICES; service++)
    await client.backend.set(`web${service}`, 'b0', { weight: BACKENDS })
  const cache = await fillCache(daemon.pinDir, fill)
  check(cache.entries === ENTRIES, `the flow cache has ${cache.entries} places`)
  await watchSweep(cache)

  const another = await daemon.connect()
  const shows = pinging(() => client.backend.show('web1', 'b1'), PING_EVERY_MS)
  const lists = pinging(() => another.backend.list(), LIST_EVERY_MS)
  const seen: Sweep[] = []
  while (seen.length < sweeps) seen.push(await watchSweep(cache))
  await delay(AFTERMATH_MS)
  const measured = { sweeps: seen, shows: await shows.stop(), lists: await lists.stop() }
  const live = (await client.status()).flowCache?.live
  check(live === cache.live, `${live} live flows were counted, not ${cache.live}`)
  return measured
}

const during = (pings: readonly Ping[], sweeps: readonly Sweep[], isDuring: boolean): number[] =>
  pings
    .filter(({ beganMs, ms }) => {
      const overlaps = (sweep: Sweep): boolean =>
        beganMs + ms >= sweep.beganMs && beganMs <= sweep.endedMs + AFTERMATH_MS
      return sweeps.some(overlaps) === isDuring
    })
    .map(({ ms }) => ms)

const percent = (share: number): string => `${Math.round(100 * share)} % full`

const figuresOf = (fill: number, { sweeps, shows, lists }: Measured): Figure[] => {
  const took = sweeps.map(({ beganMs, endedMs }) => endedMs - beganMs)
  const p99 = (name: string, ms: readonly number[], hasBudget: boolean): Figure => ({
    name: `${percent(fill)}: ${name}, p99`,
    value: percentile(ms, 0.99),
    unit: 'ms',
    range: [Math.min(...ms), Math.max(...ms)],
    note: `${ms.length} requests, p50 ${percentile(ms, 0.5).toFixed(2)} ms`,
    ...(hasBudget ? { budget: { of: 'value', atMost: BUDGET_MS } } : {}),
  })
  return [
    {
      name: `${percent(fill)}: a sweep`,
      value: median(took),
      unit: 'ms',
      range: [Math.min(...took), Math.max(...took)],
      note: `${took.length} sweeps`,
    },
    p99('backend show, in sweeps', during(shows, sweeps, true), true),
    p99('backend show, else', during(shows, sweeps, false), false),
    p99('backend list, in sweeps', during(lists, sweeps, true), true),
    p99('backend list, else', during(lists, sweeps, false), false),
  ]
}

const run = async ({ isQuick }: BenchOptions): Promise<Answer> => {
  const figures: Figure[] = []
  for (const fill of FILLS) {
    const measured = await withDaemon({ services: SERVICES, backends: BACKENDS, flows: ENTRIES }, daemon =>
      measure(daemon, fill, isQuick ? 1 : 4),
    )
    figures.push(...figuresOf(fill, measured))
  }
  return {
    figures,
    setup: [
      `a flow cache of ${ENTRIES} places (128 MB); ${SERVICES} services of ${BACKENDS} backends, half of the slots of each tracked`,
      `entries written through the mapping; backend show every ${PING_EVERY_MS} ms, backend list (${SERVICES * BACKENDS} rows) every ${LIST_EVERY_MS} ms on another connection`,
    ],
  }
}

export const sweep: Bench = {
  name: 'sweep',
  question: 'Does the daemon answer while it sweeps a large flow cache?',
  method: `wall-clock time at the exported client; a sweep: from the first place to the last, seen by marks that it removes; "in sweeps": also ${AFTERMATH_MS} ms after them; [least, greatest]`,
  needsKernel: true,
  run,
}
