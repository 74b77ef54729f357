/** Every failure that Linimo itself finds, by code; system errors pass through as `cause`. */
export const errorCodes = {
  ERR_CONFIG_INVALID: 'the configuration has problems; each is listed with line and column',
  ERR_RING_SIZE: 'a ring size is no prime between 251 and 655373, or smaller than its backends need',
  ERR_LAYOUT_MISMATCH: 'the BPF object and the generated layout are of different builds',
  ERR_LIMIT: 'a table is full: more services, backends or slots than `limits` allows',
  ERR_NO_INTERFACE: 'an interface named in the configuration does not exist',
  ERR_XDP_BUSY: 'another XDP program is attached to the interface',
  ERR_XDP_UNSUPPORTED: 'the interface takes no XDP program in the mode asked for',
  ERR_NOT_PERMITTED: 'a capability is missing (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)',
  ERR_ALREADY_RUNNING: 'a daemon of this instance is running',
  ERR_NOT_REACHABLE: 'no daemon answers on the control socket',
  ERR_CONNECTION_LOST: 'the control connection ended before the answer came',
  ERR_BAD_REQUEST: 'a request on the control socket is malformed',
  ERR_UNKNOWN_METHOD: 'a request names no method',
  ERR_NOT_FOUND: 'the service or backend named does not exist',
  ERR_CONFLICT: 'the change contradicts what is there: a name or an address is taken',
  ERR_TIMEOUT: 'what was waited for did not happen in time',
  ERR_USAGE: 'the command line is wrong',
  ERR_PACKET: 'a packet given to explain is no frame',
  ERR_NOT_BUILT: 'the native addon, or a library that it needs, is missing',
  ERR_STATE: 'a file that the daemon lives by cannot be read, written or understood',
  ERR_INTERNAL: 'a defect in Linimo',
} as const

export type ErrorCode = keyof typeof errorCodes

/** Any failure found by Linimo. `hint` says what to do next, where that is known. */
export class BalancerError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'BalancerError'
    this.code = code
    this.hint = options.hint
  }
}
