/** How long does a ring take to build, and to refill when backends go down? */
import { buildRing, type Claim, refillRing } from '../src/ring.js'
import type { Bench } from './bench.js'
import { BENNY_METHOD, type TimedCase, timeCases } from './benny.js'

const DEFAULT_SIZE = 65537
const LARGEST_SIZE = 655373
const BUILD_BUDGET_MS = 3

const claims = (count: number, weightOf: (index: number) => number = () => 1): Claim[] =>
  Array.from({ length: count }, (_, i) => ({ identity: `10.0.${i >> 8}.${i & 255}:80`, weight: weightOf(i) }))

const build = (size: number, backends: number, budget?: number): TimedCase => {
  const all = claims(backends)
  return {
    name: `build, ${size} slots, ${backends} backends`,
    run: () => buildRing(all, size),
    ...(budget === undefined ? {} : { budget }),
  }
}

const buildWeighted = (size: number, backends: number): TimedCase => {
  const all = claims(backends, i => 1 + ((i * 37) % 100))
  return {
    name: `build, ${size} slots, ${backends} backends, weights 1-100`,
    run: () => buildRing(all, size),
  }
}

const refill = (size: number, backends: number, down: number): TimedCase => {
  const full = buildRing(claims(backends), size)
  return {
    name: `refill, ${size} slots, ${down} of ${backends} backends down`,
    run: () => refillRing(full, (_, index) => index < down),
  }
}

export const ring: Bench = {
  name: 'ring',
  question: 'How long does a ring take to build, and to refill when backends go down?',
  method: `${BENNY_METHOD}; everything from the claims to each slot's owner, hashing the backends included`,
  needsKernel: false,
  run: async options => ({
    figures: await timeCases(
      'ring',
      [
        build(DEFAULT_SIZE, 100, BUILD_BUDGET_MS),
        build(DEFAULT_SIZE, 10, BUILD_BUDGET_MS),
        build(DEFAULT_SIZE, 1000, BUILD_BUDGET_MS),
        build(251, 10),
        build(LARGEST_SIZE, 1000),
        buildWeighted(DEFAULT_SIZE, 100),
        refill(DEFAULT_SIZE, 100, 1),
        refill(DEFAULT_SIZE, 100, 50),
        refill(DEFAULT_SIZE, 1000, 1),
      ],
      'ms',
      options,
    ),
    setup: [
      'backends 10.0.x.y:80, weight 1 unless said; rings above 131,072 slots are built on a worker thread',
    ],
  }),
}
