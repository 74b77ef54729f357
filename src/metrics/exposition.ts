/** The metrics as text that Prometheus reads, made in small pieces: nothing else of the daemon waits for a scrape. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Status } from '../control/protocol.js'
import { type Family, families, type Reading } from './families.js'

/** Series that are made into text before the event loop turns: half a millisecond. */
const SERIES_A_TURN = 250

export interface Exposition {
  readonly contentType: string
  /** A change has written so many slots of a ring. */
  slotsWritten(count: number): void
  /** A sweep of the flow cache has ended. */
  swept(durationMs: number): void
  /** One at a time. */
  render(status: Status): Promise<string>
}

const inPieces = function* <T>(all: Iterable<T>, size: number): Iterable<readonly T[]> {
  let piece: T[] = []
  for (const one of all) {
    piece.push(one)
    if (piece.length < size) continue
    yield piece
    piece = []
  }
  if (piece.length > 0) yield piece
}

/** The lines of a metric below `# HELP` and `# TYPE`, which come first. */
const withoutHead = (text: string): string => text.split('\n').slice(2).join('\n')

export const createExposition = (): Exposition => {
  const registry = new Registry()
  const registers = [registry]

  const slots = new Histogram({
    name: 'linimo_change_slots',
    help: 'Slots of a ring that one change wrote.',
    buckets: [1, 10, 100, 1000, 10_000, 100_000],
    registers,
  })
  const sweeps = new Histogram({
    name: 'linimo_flow_cache_sweep_duration_seconds',
    help: 'How long a sweep of the flow cache took.',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    registers,
  })
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the daemon, all threads.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      this.reset()
      this.inc((user + system) / 1e6)
    },
  })
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory of the daemon, without the maps.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss())
    },
  })
  const ownNames = ['linimo_change_slots', 'linimo_flow_cache_sweep_duration_seconds']
  ownNames.push('process_cpu_seconds_total', 'process_resident_memory_bytes')

  const fillerOf = ({ kind, name, help, labels }: Family): ((readings: readonly Reading[]) => void) => {
    const options = { name, help, labelNames: [...labels], registers }
    if (kind === 'counter') {
      const metric = new Counter(options)
      return readings => {
        metric.reset()
        for (const [labels, value] of readings) metric.inc(labels, value)
      }
    }
    const metric = new Gauge(options)
    return readings => {
      metric.reset()
      for (const [labels, value] of readings) metric.set(labels, value)
    }
  }
  const filled = families.map(one => ({ ...one, fill: fillerOf(one) }))

  const textOf = async (
    { name, read, fill }: (typeof filled)[number],
    status: Status,
  ): Promise<readonly string[]> => {
    const texts: string[] = []
    for (const readings of inPieces(read(status), SERIES_A_TURN)) {
      fill(readings)
      const text = await registry.getSingleMetricAsString(name)
      texts.push(texts.length === 0 ? text : withoutHead(text))
      await nextTurn()
    }
    return texts
  }

  return {
    contentType: registry.contentType,
    slotsWritten: count => slots.observe(count),
    swept: durationMs => sweeps.observe(durationMs / 1000),
    render: async status => {
      const texts: string[] = []
      for (const name of ownNames) texts.push(await registry.getSingleMetricAsString(name))
      for (const one of filled) texts.push(...(await textOf(one, status)))
      return `${texts.join('\n')}\n`
    },
  }
}
