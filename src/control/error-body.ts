/** An error as it travels over the control socket, and back. */
import { BalancerError, type ErrorCode } from '../errors.js'
import type { ConfigProblem, ErrorBody } from './protocol.js'

/** The problems that an `ERR_CONFIG_INVALID` carries; none for any other error. */
export const problemsOf = (error: unknown): readonly ConfigProblem[] =>
  error instanceof BalancerError && 'problems' in error && Array.isArray(error.problems) ? error.problems : []

export const toErrorBody = (error: BalancerError): ErrorBody => {
  const problems = problemsOf(error)
  const body = { code: error.code, message: error.message, hint: error.hint ?? null }
  return problems.length > 0 ? { ...body, problems } : body
}

/** The server's error as the client throws it. Its code is kept, also when this version does not know it. */
export const fromErrorBody = ({ code, message, hint, problems }: ErrorBody): BalancerError => {
  const error = new BalancerError(code as ErrorCode, message, hint === null ? {} : { hint })
  return problems === undefined ? error : Object.assign(error, { problems })
}
