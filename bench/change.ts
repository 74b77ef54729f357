/** How long does a change take, from the request on the socket to the last slot in place, and to the answer? */
import { buildRing } from '../src/ring.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { type BenchedDaemon, backendAddress, RING_SIZE, withDaemon } from './daemon.js'
import { percentile } from './statistics.js'

const BACKENDS = 1000
const FLOWS = 1048576
const BUDGET_MS = 10
const SERVICE = 'web0'

interface Change {
  readonly backend: number
  readonly weight: number
}

/** Every tenth is of great effect: a backend gets as much as all others together, and gives it back with the next of them. */
const planOf = (count: number): readonly Change[] => {
  const changes: Change[] = []
  let greatest: number | null = null
  for (let i = 0; i < count; i++) {
    const backend = (i * 37) % BACKENDS
    if (i % 10 !== 9) changes.push({ backend, weight: 2 + (i % 7) })
    else if (greatest === null) {
      changes.push({ backend, weight: BACKENDS })
      greatest = backend
    } else {
      changes.push({ backend: greatest, weight: 1 })
      greatest = null
    }
  }
  return changes
}

/** How many slots each change moves, by the rings alone. */
const slotsMoved = (changes: readonly Change[]): number[] => {
  const weights = new Array<number>(BACKENDS).fill(1)
  const build = () =>
    buildRing(
      weights.map((weight, index) => ({ identity: `${backendAddress(index)}:80`, weight })),
      RING_SIZE,
    ).owners
  let owners = build()
  return changes.map(({ backend, weight }) => {
    weights[backend] = weight
    const before = owners
    owners = build()
    return owners.reduce((moved, owner, slot) => (owner === before[slot] ? moved : moved + 1), 0)
  })
}

interface Measured {
  /** Until the event that says so: it is sent when the last slot is in place. */
  readonly inPlaceMs: readonly number[]
  /** Until the answer: then the journal is on the disk, too. */
  readonly answeredMs: readonly number[]
  readonly moved: readonly number[]
  /** CPU time that a change takes of the daemon's event loop. */
  readonly cpuMsEach: number
}

const measure = async ({ client, cpuMs }: BenchedDaemon, changes: readonly Change[]): Promise<Measured> => {
  const inPlaceMs: number[] = []
  const answeredMs: number[] = []
  let began = 0
  const unsubscribe = await client.subscribe(({ kind }) => {
    if (kind === 'change') inPlaceMs.push(performance.now() - began)
  })
  const cpuBefore = cpuMs()
  for (const { backend, weight } of changes) {
    began = performance.now()
    await client.backend.set(SERVICE, `b${backend}`, { weight })
    answeredMs.push(performance.now() - began)
  }
  const cpuMsEach = (cpuMs() - cpuBefore) / changes.length
  await unsubscribe()
  check(inPlaceMs.length === changes.length, `${inPlaceMs.length} events of ${changes.length} changes`)
  const moved = slotsMoved(changes)
  const { slotsWritten } = await client.service.show(SERVICE)
  check(
    slotsWritten === moved.at(-1),
    `${slotsWritten} slots were written by the last change, not ${moved.at(-1)}`,
  )
  return { inPlaceMs, answeredMs, moved, cpuMsEach }
}

const figuresOf = (
  name: string,
  ms: readonly number[],
  moved: readonly number[],
  budget: Pick<Figure, 'budget'> = { budget: { of: 'value', atMost: BUDGET_MS } },
): Figure[] => {
  const range = [Math.min(...ms), Math.max(...ms)] as const
  const slots = `${Math.min(...moved)} to ${Math.max(...moved)} slots written, median ${percentile(moved, 0.5)}`
  const of = (share: number) => ({ value: percentile(ms, share), unit: 'ms', range })
  return [
    { name: `${name}, p50`, ...of(0.5), note: `${ms.length} changes; ${slots}` },
    { name: `${name}, p99`, ...of(0.99), ...budget },
  ]
}

const run = async ({ isQuick }: BenchOptions): Promise<Answer> => {
  const changes = planOf(isQuick ? 100 : 500)
  const { inPlaceMs, answeredMs, moved, cpuMsEach } = await withDaemon(
    { services: 1, backends: BACKENDS, flows: FLOWS },
    daemon => measure(daemon, changes),
  )
  const pick = (isWanted: (moved: number) => boolean, values: readonly number[]) =>
    values.filter((_, i) => isWanted(moved[i]!))
  const great = (slots: number): boolean => slots > RING_SIZE / 4
  const small = (slots: number): boolean => !great(slots)
  return {
    figures: [
      ...figuresOf('in place, all changes', inPlaceMs, moved),
      ...figuresOf('in place, small ones', pick(small, inPlaceMs), pick(small, moved)),
      ...figuresOf('in place, great ones', pick(great, inPlaceMs), pick(great, moved)),
      ...figuresOf('answered, all changes', answeredMs, moved, {}),
      { name: "CPU time of the daemon's event loop", value: cpuMsEach, unit: 'ms', note: 'a change, mean' },
    ],
    setup: [
      `one service of ${BACKENDS} backends, ring of ${RING_SIZE} slots, tracking on-change, a flow cache of ${FLOWS} entries, no health checks`,
      'maps pinned; the journal and the audit log on the disk of the temporary directory',
    ],
  }
}

export const change: Bench = {
  name: 'change',
  question:
    'How long does a change of a weight take, from the request on the socket to the last slot in place?',
  method:
    'wall-clock time at the exported client, one change after the other; the event of a change comes when its last slot is in place, its answer when the journal is on the disk, too; [least, greatest]',
  needsKernel: true,
  run,
}
