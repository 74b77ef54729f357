/** Coalesces changes: whatever comes while a pass runs is taken up by the next one, together. */

/**
 * Marks names as changed. Resolves when a pass that began afterwards has ended; rejects when that pass failed, or failed
 * for one of these names.
 */
export type MarkChanged = (names: Iterable<string>) => Promise<void>

/** By name, why it could not be brought into effect. */
export type Failures = ReadonlyMap<string, unknown>

export const noFailures: Failures = new Map()

interface Pass {
  readonly names: Set<string>
  readonly promise: Promise<Failures>
  readonly resolve: (failures: Failures) => void
  readonly reject: (cause: unknown) => void
}

const newPass = (): Pass => {
  let resolve = (_failures: Failures): void => {}
  let reject = (_cause: unknown): void => {}
  const promise = new Promise<Failures>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { names: new Set(), promise, resolve, reject }
}

/** @param run brings what has changed into effect, and says what could not be; never called twice at a time */
export const createPasses = (run: (names: ReadonlySet<string>) => Promise<Failures>): MarkChanged => {
  let next: Pass | null = null
  let isRunning = false

  const runAll = async (): Promise<void> => {
    isRunning = true
    while (next) {
      const pass = next
      next = null
      await run(pass.names).then(pass.resolve, pass.reject)
    }
    isRunning = false
  }

  return async names => {
    next ??= newPass()
    const pass = next
    const own = [...names]
    for (const name of own) pass.names.add(name)
    if (!isRunning) setImmediate(() => void (isRunning || runAll()))
    const failures = await pass.promise
    for (const name of own) if (failures.has(name)) throw failures.get(name)
  }
}
