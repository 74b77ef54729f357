/** What happens to a site, by the second: the scenarios that connections are to outlive. */
import type { Random } from '../../test/fixtures/random.js'

export const BACKENDS = 100
const DETECTED_S = 6

/** What a scenario may do; `backend` is an index. */
export interface Site {
  readonly random: Random
  weight(backend: number, weight: number): void
  add(): void
  drain(backend: number, isDraining: boolean): void
  /** Its process ends, or begins; checks see it some seconds later. */
  kill(backend: number): void
  begin(backend: number): void
  /** What checks find, whatever is so. */
  believe(backend: number, isUp: boolean): void
}

export interface Scenario {
  readonly name: string
  /** Seconds that are simulated. */
  readonly lasts: number
  /** Second -> what happens then. */
  readonly at: (second: number, site: Site) => void
  /** SYNs a second of nobody's, in that second. */
  readonly flood?: (second: number) => number
}

const all = Array.from({ length: BACKENDS }, (_, index) => index)
const crash = (backend: number, second: number, at: number, backAfter: number, site: Site): void => {
  if (second === at) site.kill(backend)
  if (second === at + DETECTED_S) site.believe(backend, false)
  if (second === at + backAfter) site.begin(backend)
  if (second === at + backAfter + 4) site.believe(backend, true)
}
const reweigh = (site: Site): void => {
  for (const backend of all) site.weight(backend, site.random.between(50, 150))
}
const flap = (second: number, site: Site): void => {
  if (second <= 600 && second % 5 === 0) site.believe(7, second % 10 === 0)
}

export const scenarios: readonly Scenario[] = [
  {
    name: 'rolling crash and restart of 100, one per 30 s',
    lasts: 6600,
    at: (second, site) => {
      for (const backend of all) crash(backend, second, 30 * backend, 20, site)
    },
  },
  {
    name: 'rolling drain of 60 s and restart',
    lasts: 6600,
    at: (second, site) => {
      for (const backend of all) {
        const begins = 30 * backend
        if (second === begins) site.drain(backend, true)
        crash(backend, second, begins + 60, 15, site)
        if (second === begins + 80) site.drain(backend, false)
      }
    },
  },
  {
    name: 'weights of all (50..150)',
    lasts: 3600,
    at: (second, site) => {
      if (second === 0) reweigh(site)
    },
  },
  {
    name: '10 % of backends added',
    lasts: 3600,
    at: (second, site) => {
      if (second === 0) for (let i = 0; i < BACKENDS / 10; i++) site.add()
    },
  },
  {
    name: 'flap every 5 s for 10 minutes, crash',
    lasts: 2400,
    at: (second, site) => {
      flap(second, site)
      if (second === 0) site.kill(7)
      if (second === 610) {
        site.begin(7)
        site.believe(7, true)
      }
    },
  },
  { name: 'flap every 5 s for 10 minutes, false alarms', lasts: 2400, at: flap },
  {
    name: 'weights of all, SYN flood x10 for 15 minutes',
    lasts: 2400,
    at: (second, site) => {
      if (second === 0) reweigh(site)
    },
    flood: second => (second < 900 ? 10 : 0),
  },
  {
    name: 'weights of all, rolled back after 2 minutes',
    lasts: 2400,
    at: (second, site) => {
      if (second === 0) reweigh(site)
      if (second === 120) for (const backend of all) site.weight(backend, 100)
    },
  },
  {
    name: '5 changes of weights in 160 s',
    lasts: 2400,
    at: (second, site) => {
      if (second % 40 === 0 && second <= 160) reweigh(site)
    },
  },
]
