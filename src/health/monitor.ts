/** Checks of many backends, each at its own interval, spread by jitter. */
import type { HealthCheck } from '../model.js'
import type { Clock } from './clock.js'
import { type Judgement, judge, unjudged } from './judge.js'
import type { Probe, ProbeTarget } from './probe.js'

/** Intervals vary by this much either way, so that checks do not fall into step. */
const JITTER = 0.1

export interface Checked {
  /** Names the check; one that stays the same goes on undisturbed. */
  readonly key: string
  readonly check: HealthCheck
  readonly target: ProbeTarget
}

export interface Monitor {
  /** The checks to make from here on. */
  watch(checked: readonly Checked[]): void
  judgement(key: string): Judgement
  /** Every check has a result. */
  isComplete(): boolean
  close(): void
}

interface Running {
  readonly checked: Checked
  judgement: Judgement
  hasResult: boolean
  cancel: () => void
}

const sameCheck = (a: Checked, b: Checked): boolean =>
  JSON.stringify([a.check, a.target]) === JSON.stringify([b.check, b.target])

/** @param onChange a backend's health has changed; called with the key and what was before */
export const createMonitor = (
  probe: Probe,
  clock: Clock,
  onChange: (key: string, now: Judgement, before: Judgement) => void,
): Monitor => {
  const running = new Map<string, Running>()

  const attempt = async (one: Running): Promise<void> => {
    const { key, check, target } = one.checked
    const started = clock.now()
    const result = await probe(check, target)
    if (running.get(key) !== one) return
    const before = one.judgement
    const isFirst = !one.hasResult
    one.judgement = judge(check, before, result)
    one.hasResult = true
    const interval = check.intervalMs * (1 - JITTER + 2 * JITTER * clock.random())
    one.cancel = clock.after(Math.max(0, interval - (clock.now() - started)), () => void attempt(one))
    if (isFirst || one.judgement.health !== before.health || one.judgement.reason !== before.reason)
      onChange(key, one.judgement, before)
  }

  const start = (checked: Checked, judgement: Judgement): void => {
    const one: Running = { checked, judgement, hasResult: judgement !== unjudged, cancel: () => {} }
    running.set(checked.key, one)
    const delay = one.hasResult
      ? clock.random() * checked.check.intervalMs
      : clock.random() * Math.min(100, checked.check.intervalMs)
    one.cancel = clock.after(delay, () => void attempt(one))
  }

  return {
    watch: all => {
      const wanted = new Map(all.map(one => [one.key, one]))
      for (const [key, one] of [...running]) {
        const next = wanted.get(key)
        if (next && sameCheck(one.checked, next)) continue
        one.cancel()
        running.delete(key)
        // A check that is asked otherwise keeps its answer until it has another.
        if (next) start(next, one.judgement)
      }
      for (const one of all) if (!running.has(one.key)) start(one, unjudged)
    },
    judgement: key => running.get(key)?.judgement ?? unjudged,
    isComplete: () => [...running.values()].every(({ hasResult }) => hasResult),
    close: () => {
      for (const one of running.values()) one.cancel()
      running.clear()
    },
  }
}
