/** How a failure is told, and what the process exits with. */
import { CommanderError } from 'commander'
import { problemsOf } from '../control/error-body.js'
import type { ConfigProblem } from '../control/protocol.js'
import { BalancerError } from '../errors.js'

const exitCodes: Readonly<Record<string, number>> = {
  ERR_USAGE: 2,
  ERR_BAD_REQUEST: 2,
  ERR_CONFIG_INVALID: 3,
  ERR_NOT_REACHABLE: 4,
  ERR_CONNECTION_LOST: 4,
  ERR_NOT_PERMITTED: 5,
  EACCES: 5,
  EPERM: 5,
  ERR_NOT_FOUND: 6,
  ERR_NO_INTERFACE: 6,
  ERR_CONFLICT: 7,
  ERR_XDP_BUSY: 7,
  ERR_ALREADY_RUNNING: 7,
  ERR_TIMEOUT: 8,
}

export interface Failure {
  /** Linimo's own, or a system error's, such as ENOENT. */
  readonly code: string
  readonly message: string
  readonly hint: string | null
  readonly problems?: readonly ConfigProblem[]
}

/** 0 ok, 1 failed, 2 usage, 3 config invalid, 4 daemon not reachable, 5 permission, 6 not found, 7 conflict, 8 timeout. */
export const exitCodeOf = ({ code }: Pick<Failure, 'code'>): number => exitCodes[code] ?? 1

/** Any error in one form. A usage error of commander's has its suggestion in a line of its own, "(Did you mean list?)". */
export const toFailure = (error: unknown): Failure => {
  if (error instanceof CommanderError) {
    const [message = '', ...suggestion] = error.message.replace(/^error: /, '').split('\n')
    const didYouMean = suggestion.join(' ').replace(/^\((.*)\)$/, '$1')
    return {
      code: 'ERR_USAGE',
      message,
      hint: didYouMean || 'linimo help shows the commands and their options',
    }
  }
  if (error instanceof BalancerError) {
    const problems = problemsOf(error)
    const failure = { code: error.code, message: error.message, hint: error.hint ?? null }
    return problems.length > 0 ? { ...failure, problems } : failure
  }
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERR_INTERNAL'
  return { code, message, hint: null }
}

/** One JSON object in a line. */
export const asJson = (failure: Failure): string => `${JSON.stringify(failure)}\n`

/** @param configFile the file that problems of a configuration are in */
export const asText = (failure: Failure, configFile: string | null): string => {
  const lines = (failure.problems ?? []).flatMap(({ line, column, message, hint }) => [
    `${configFile ?? 'config'}:${line}:${column}: ${message}`,
    ...(hint === null ? [] : [`  hint: ${hint}`]),
  ])
  lines.push(`error: ${failure.message}`)
  if (failure.hint !== null) lines.push(`hint: ${failure.hint}`)
  return `${lines.join('\n')}\n`
}
