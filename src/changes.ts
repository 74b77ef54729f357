/**
 * Changes on their way into effect: each builds on those before it. One that fails is left out, and what was built on it
 * is built again without it. Pure but for what it remembers.
 */
import type { Wanted } from './wanted.js'

export interface PendingChange {
  readonly before: Wanted
  readonly after: Wanted
  /** It is in effect. @throws why it is not: it made no sense without one that failed */
  settle(): void
  /** It could not be brought into effect. */
  takeBack(): void
}

export interface Changes {
  /** What is wanted, with all that is under way. */
  readonly wanted: () => Wanted
  /** @param change what is there -> what is wanted; may throw, and then nothing has changed; may be called once more */
  begin(change: (present: Wanted) => Wanted): PendingChange
}

interface Step {
  readonly change: (present: Wanted) => Wanted
  after: Wanted
  isSettled: boolean
  failure: { readonly reason: unknown } | null
}

export const createChanges = (initial: Wanted): Changes => {
  /** Up to here nothing can fail any more. */
  let settled = initial
  const steps: Step[] = []

  const wanted = (): Wanted => steps.at(-1)?.after ?? settled

  const compact = (): void => {
    while (steps[0]?.isSettled) settled = steps.shift()!.after
  }

  const rebuild = (later: readonly Step[]): void => {
    for (const step of later) {
      try {
        step.after = step.change(wanted())
        steps.push(step)
      } catch (reason) {
        step.failure = { reason }
      }
    }
    compact()
  }

  return {
    wanted,
    begin: change => {
      const before = wanted()
      const step: Step = { change, after: change(before), isSettled: false, failure: null }
      if (step.after !== before) steps.push(step)
      return {
        before,
        after: step.after,
        settle: () => {
          if (step.failure) throw step.failure.reason
          step.isSettled = true
          compact()
        },
        takeBack: () => {
          const at = steps.indexOf(step)
          if (at >= 0) rebuild(steps.splice(at).slice(1))
        },
      }
    },
  }
}
