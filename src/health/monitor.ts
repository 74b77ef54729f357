/** Checks of many backends, each at its own interval, spread by jitter. */
import type { HealthCheck } from '../model.js'
import type { Clock } from './clock.js'
import { type Judgement, judge, unjudged } from './judge.js'
import type { Probe, ProbeTarget } from './probe.js'

/** Intervals vary by this much either way, so that checks do not fall into step. */
const JITTER = 0.1
/** How soon a failure is asked after that contradicts a health taken over from before. */
const CONFIRM_MS = 100

export interface Checked {
  /** Names the check; one that stays the same goes on undisturbed. */
  readonly key: string
  readonly check: HealthCheck
  readonly target: ProbeTarget
  /** It has been in use without a check: up, until this one says otherwise. */
  readonly wasInUse?: boolean
}

/** A health and its age. */
export interface Known {
  readonly judgement: Judgement
  readonly ageMs: number
}

export interface Monitor {
  /** The checks to make from here on. */
  watch(checked: readonly Checked[]): void
  judgement(key: string): Judgement
  /** What each check has found, and how long ago. */
  known(): ReadonlyMap<string, Known>
  /** This check has a result, its own or an earlier process's. */
  hasResult(key: string): boolean
  /** Every check has a result of its own. */
  isComplete(): boolean
  close(): void
}

interface Running {
  readonly checked: Checked
  judgement: Judgement
  /** Of its own: what an earlier process has found is none. */
  hasResult: boolean
  /** Its health is from before this check, and no result has confirmed or refuted it yet. */
  isTakenOver: boolean
  /** When the judgement was last seen to hold. */
  seenAt: number
  cancel: () => void
}

const sameCheck = (a: Checked, b: Checked): boolean =>
  JSON.stringify([a.check, a.target]) === JSON.stringify([b.check, b.target])

/**
 * @param onChange a backend's health has changed; called with the key and what was before
 * @param restored what an earlier process has found, by key: it holds until the check's first result. A success decides at
 *                 once; one lost probe takes nobody's connections: `fall` failures do, in quick succession
 */
export const createMonitor = (
  probe: Probe,
  clock: Clock,
  onChange: (key: string, now: Judgement, before: Judgement) => void,
  restored: ReadonlyMap<string, Known> = new Map(),
): Monitor => {
  const running = new Map<string, Running>()
  const unused = new Map(restored)
  let isClosed = false

  const attempt = async (one: Running): Promise<void> => {
    const { key, check, target } = one.checked
    const started = clock.now()
    const result = await probe(check, target)
    if (running.get(key) !== one) return
    const before = one.judgement
    const isFirst = !one.hasResult
    const isBack = one.isTakenOver && before.health === 'down'
    one.judgement = judge(
      isBack ? { ...check, initiallyUp: false } : check,
      isBack ? unjudged : before,
      result,
    )
    one.hasResult = true
    one.isTakenOver &&= !result.ok && one.judgement.health === 'up'
    one.seenAt = clock.now()
    const interval = one.isTakenOver
      ? Math.min(CONFIRM_MS, check.intervalMs)
      : check.intervalMs * (1 - JITTER + 2 * JITTER * clock.random())
    one.cancel = clock.after(Math.max(0, interval - (clock.now() - started)), () => void attempt(one))
    if (isFirst || one.judgement.health !== before.health || one.judgement.reason !== before.reason)
      onChange(key, one.judgement, before)
  }

  const start = (checked: Checked, from: Omit<Running, 'checked' | 'cancel'>): void => {
    const one: Running = { ...from, checked, cancel: () => {} }
    running.set(checked.key, one)
    const delay = one.hasResult
      ? clock.random() * checked.check.intervalMs
      : clock.random() * Math.min(100, checked.check.intervalMs)
    one.cancel = clock.after(delay, () => void attempt(one))
  }

  const firstOf = ({ key, wasInUse }: Checked): Omit<Running, 'checked' | 'cancel'> => {
    const found = unused.get(key)
    unused.delete(key)
    const seenAt = clock.now() - (found?.ageMs ?? 0)
    const judgement = found?.judgement ?? (wasInUse ? { ...unjudged, health: 'up' as const } : unjudged)
    return { judgement, hasResult: false, isTakenOver: judgement.health !== 'unknown', seenAt }
  }

  return {
    watch: all => {
      if (isClosed) return
      const wanted = new Map(all.map(one => [one.key, one]))
      for (const [key, one] of [...running]) {
        const next = wanted.get(key)
        if (next && sameCheck(one.checked, next)) continue
        one.cancel()
        running.delete(key)
        // A check that is asked otherwise keeps its answer until it has another.
        if (next) start(next, one)
      }
      for (const one of all) if (!running.has(one.key)) start(one, firstOf(one))
    },
    judgement: key => running.get(key)?.judgement ?? unjudged,
    known: () =>
      new Map(
        [...running].map(([key, { judgement, seenAt }]) => [key, { judgement, ageMs: clock.now() - seenAt }]),
      ),
    hasResult: key => {
      const one = running.get(key)
      return one !== undefined && (one.hasResult || one.judgement.health !== 'unknown')
    },
    isComplete: () => [...running.values()].every(({ hasResult }) => hasResult),
    close: () => {
      isClosed = true
      for (const one of running.values()) one.cancel()
      running.clear()
    },
  }
}
