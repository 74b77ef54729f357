/** How long does a change of a ring take to reach the data plane? */
import type { WantedService } from '../src/dataplane/tables.js'
import { buildRing, refillRing } from '../src/ring.js'
import { claimsOf } from '../src/rings.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { loadBalancer, RING_SIZE, type ServiceToLoad, wantedOf } from './data-plane/balancer.js'
import { addVethPair } from './namespace.js'
import { median } from './statistics.js'

const BUDGET_MS = 1

interface Change {
  readonly backends: number
  /** How many of them go down, and come up again. */
  readonly down: number
}

const changes: readonly Change[] = [
  { backends: 100, down: 0 },
  { backends: 100, down: 1 },
  { backends: 100, down: 50 },
  { backends: 1000, down: 1 },
  { backends: 1000, down: 500 },
]

const measure = async ({ backends, down }: Change, ifindex: number, rounds: number): Promise<Figure> => {
  const toLoad: ServiceToLoad = {
    name: 'web',
    vip: '192.0.2.10',
    port: 80,
    protocol: 'tcp',
    backends,
    way: 'entry',
  }
  const interfaces = { entry: ifindex, other: ifindex }
  const { dataplane, tables } = await loadBalancer([toLoad], interfaces)
  try {
    const up = wantedOf(toLoad, interfaces)
    const owners = refillRing(buildRing(claimsOf(up.service), RING_SIZE), (_, index) => index < down)
    const fewer: WantedService = { ...up, owners }
    const differ = owners.filter((owner, slot) => owner !== up.owners[slot]).length
    const ms: number[] = []
    for (let round = 0; round < rounds; round++)
      for (const wanted of [fewer, up]) {
        const began = performance.now()
        const changed = await tables.put([wanted])
        ms.push(performance.now() - began)
        check(changed === differ, `${changed} slots were written, ${differ} differ`)
      }
    return {
      name: `${differ} of ${RING_SIZE} slots, ${backends} backends`,
      value: median(ms),
      unit: 'ms',
      range: [Math.min(...ms), Math.max(...ms)],
      budget: { of: 'value', atMost: BUDGET_MS },
    }
  } finally {
    await dataplane.close()
  }
}

const run = async ({ isQuick }: BenchOptions): Promise<Answer> => {
  const rounds = isQuick ? 20 : 200
  const [ifindex] = await addVethPair('out', 'sink')
  const measured: Figure[] = []
  for (const change of changes) measured.push(await measure(change, ifindex, rounds))
  const least = measured[0]!.value
  return {
    figures: measured.map(figure => ({
      ...figure,
      ratio: figure.value / least,
      ratioTo: 'no slot changed',
    })),
    setup: [`${2 * rounds} changes each, forth and back; no backend's entry changes`],
  }
}

export const publish: Bench = {
  name: 'publish',
  question: 'How long does a change of a ring take to reach the data plane?',
  method:
    'wall-clock time of one call that brings a service into the mapped tables, from the new owners to the last slot stored; median [least, greatest]',
  needsKernel: true,
  run,
}
