/** Flows as services have them: mostly short, some that think, some that rest for minutes. Seeded. */
import type { Random } from '../../test/fixtures/random.js'

export interface Habit {
  readonly isUdp: boolean
  readonly lengthMs: number
  readonly gapMs: readonly [from: number, to: number]
}

const pareto = (random: Random, shape: number, least: number): number =>
  least / (1 - random.u32() / 2 ** 32) ** (1 / shape)

/** TCP: 80 % short, 15 % with think times of 5 to 60 s, 4.5 % resting up to 10 minutes, 0.5 % up to 30, for an hour. */
export const someTcp = (random: Random): Habit => {
  const kind = random.below(1000)
  if (kind < 800)
    return { isUdp: false, lengthMs: Math.min(600_000, 1000 * pareto(random, 1.2, 0.2)), gapMs: [200, 4000] }
  if (kind < 950) return { isUdp: false, lengthMs: random.between(10_000, 300_000), gapMs: [5000, 60_000] }
  if (kind < 995) return { isUdp: false, lengthMs: 3_600_000, gapMs: [20_000, 600_000] }
  return { isUdp: false, lengthMs: 3_600_000, gapMs: [300_000, 1_800_000] }
}

/** Of those that are open at a time, one in ten lasts an hour and rests up to 10 minutes; the others are over within 15. */
export const mixedTcp = (random: Random): Habit => {
  const kind = random.below(10_000)
  if (kind < 22) return { isUdp: false, lengthMs: 3_600_000, gapMs: [20_000, 600_000] }
  if (kind < 1522) return { isUdp: false, lengthMs: random.between(60_000, 900_000), gapMs: [5000, 60_000] }
  return { isUdp: false, lengthMs: Math.min(600_000, 1000 * pareto(random, 1.2, 0.2)), gapMs: [200, 4000] }
}

/** UDP: 5 % with a keepalive of 30 s for ten minutes. */
export const someUdp = (random: Random): Habit =>
  random.chance(0.05)
    ? { isUdp: true, lengthMs: 600_000, gapMs: [30_000, 30_000] }
    : { isUdp: true, lengthMs: Math.min(600_000, 1000 * pareto(random, 1.2, 0.2)), gapMs: [200, 4000] }

/** What is due, the earliest first. */
export interface Queue<T> {
  push(at: number, what: T): void
  /** The earliest that is due by then. */
  pop(until: number): { readonly at: number; readonly what: T } | null
}

export const createQueue = <T>(): Queue<T> => {
  const heap: { readonly at: number; readonly what: T }[] = []
  return {
    push: (at, what) => {
      let i = heap.length
      const one = { at, what }
      heap.push(one)
      for (; i > 0; ) {
        const parent = (i - 1) >> 1
        if (heap[parent]!.at <= at) break
        heap[i] = heap[parent]!
        i = parent
      }
      heap[i] = one
    },
    pop: until => {
      const first = heap[0]
      if (!first || first.at > until) return null
      const last = heap.pop()!
      if (heap.length === 0) return first
      let i = 0
      for (;;) {
        let child = 2 * i + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++
        if (heap[child]!.at >= last.at) break
        heap[i] = heap[child]!
        i = child
      }
      heap[i] = last
      return first
    },
  }
}
