/** What the figures were measured on. */
import { execFileSync } from 'node:child_process'
import { cpus, release } from 'node:os'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly node: string
  readonly clang: string
}

const versionOf = (programs: readonly string[]): string => {
  for (const program of programs)
    try {
      return execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n', 1)[0]!
    } catch {
      // not installed under this name
    }
  return 'unknown'
}

export const describeMachine = (): Machine => {
  const [first] = cpus()
  return {
    date: new Date().toISOString(),
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    clang: versionOf(['clang-19', 'clang']),
  }
}
