/** Coalesces changes: whatever comes while a pass runs is taken up by the next one, together. */

/** Marks names as changed. Resolves when a pass that began afterwards has ended; rejects when that pass failed. */
export type MarkChanged = (names: Iterable<string>) => Promise<void>

interface Pass {
  readonly names: Set<string>
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (cause: unknown) => void
}

const newPass = (): Pass => {
  let resolve = (): void => {}
  let reject = (_cause: unknown): void => {}
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { names: new Set(), promise, resolve, reject }
}

/** @param run brings what has changed into effect; never called twice at a time */
export const createPasses = (run: (names: ReadonlySet<string>) => Promise<void>): MarkChanged => {
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

  return names => {
    next ??= newPass()
    const pass = next
    for (const name of names) pass.names.add(name)
    if (!isRunning) setImmediate(() => void (isRunning || runAll()))
    return pass.promise
  }
}
