/** What arrives on the control socket, checked: from any value to a request with a known method and its parameters. */
import { z } from 'zod'
import { BalancerError } from '../errors.js'
import { type Method, requestParams } from './protocol.js'

const requestId = z.union([z.number(), z.string().max(80)])
export type RequestId = z.output<typeof requestId>

export interface Request {
  readonly id: RequestId
  readonly method: Method
  /** Fits `requestParams[method]`. */
  readonly params: unknown
}

export type Validated =
  | { readonly ok: true; readonly request: Request }
  /** `id`: of the message, where it has one; its sender may be waiting for it. */
  | { readonly ok: false; readonly id: RequestId | null; readonly error: BalancerError }

/** `params` may be nil: not every language can leave a key out. */
const envelope = z.strictObject({ id: requestId, method: z.string().max(80), params: z.unknown().optional() })

/** The first problems that zod found, in one line. */
const inWords = (error: z.ZodError): string =>
  error.issues
    .slice(0, 3)
    .map(({ path, message }) => (path.length > 0 ? `${path.map(String).join('.')}: ${message}` : message))
    .join('; ')

export const validate = (message: unknown): Validated => {
  const checked = envelope.safeParse(message)
  if (!checked.success) {
    const id = z.object({ id: requestId }).safeParse(message)
    const hint = 'a request is a map { id, method, params } with a number or a string as id'
    const error = new BalancerError('ERR_BAD_REQUEST', `no request: ${inWords(checked.error)}`, { hint })
    return { ok: false, id: id.success ? id.data.id : null, error }
  }

  const { id, method, params } = checked.data
  if (!Object.hasOwn(requestParams, method)) {
    const hint = `the methods are ${Object.keys(requestParams).join(', ')}`
    const error = new BalancerError('ERR_UNKNOWN_METHOD', `there is no method "${method}"`, { hint })
    return { ok: false, id, error }
  }

  const known = method as Method
  const checkedParams = requestParams[known].safeParse(params ?? undefined)
  if (!checkedParams.success) {
    const error = new BalancerError('ERR_BAD_REQUEST', `${method}: ${inWords(checkedParams.error)}`)
    return { ok: false, id, error }
  }
  return { ok: true, request: { id, method: known, params: checkedParams.data } }
}
