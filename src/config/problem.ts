/** What is wrong with a configuration, and where. */
import { BalancerError } from '../errors.js'

/** A place in the text, both from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** One problem of a configuration file. */
export interface ConfigProblem extends Position {
  /** "services.web.backends[0].wieght" */
  readonly path: string
  readonly message: string
  /** "did you mean weight?" */
  readonly hint: string | null
}

/** `ERR_CONFIG_INVALID`, with every problem that was found, in the order of the text. */
export class ConfigError extends BalancerError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    const [first] = problems
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
    super(
      'ERR_CONFIG_INVALID',
      `the configuration is invalid: ${first?.line}:${first?.column} ${first?.message}${more}`,
    )
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Collects what is found. */
export interface Report {
  readonly problem: (at: Position, path: string, message: string, hint?: string | null) => void
  readonly warning: (at: Position, path: string, message: string) => void
}

/** A file with everything wrong is told so after this many problems. */
const MAX_PROBLEMS = 1000

export const createReport = () => {
  const problems: ConfigProblem[] = []
  const warnings: string[] = []
  const report: Report = {
    problem: ({ line, column }, path, message, hint = null) => {
      if (problems.length < MAX_PROBLEMS) problems.push({ line, column, path, message, hint })
    },
    warning: ({ line, column }, path, message) => {
      if (warnings.length < MAX_PROBLEMS) warnings.push(`${line}:${column} ${path}: ${message}`)
    },
  }
  return {
    report,
    warnings,
    /** @throws ConfigError when there are problems */
    conclude(): void {
      if (problems.length === 0) return
      throw new ConfigError(problems.sort((a, b) => a.line - b.line || a.column - b.column))
    },
  }
}
