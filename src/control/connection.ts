/** One client of the control socket: its requests in, answers and events out, neither without bound. */
import type { Socket } from 'node:net'
import { BalancerError } from '../errors.js'
import type { Log } from '../log.js'
import { createDecoder, encode } from './codec.js'
import { toErrorBody } from './error-body.js'
import { type Handlers, MAX_REQUEST_BYTES, type Method, type Peer } from './protocol.js'
import { type Request, validate } from './validate.js'

/** Bytes of answers not yet read by the client, above which no further request of its is begun. */
const ANSWERS_HELD_BYTES = 1024 * 1024
/** Bytes above which a client that does not read its events is disconnected. */
const EVENTS_HELD_BYTES = 4 * 1024 * 1024
/** How much may be under way at once. An answer may take megabytes, except a change's; changes are many and wait for each other. */
const WORK_AT_ONCE = 512
const changes: ReadonlySet<Method> = new Set<Method>([
  'backend.add',
  'backend.set',
  'backend.remove',
  'backend.drain',
  'backend.undrain',
  'backend.disable',
  'backend.enable',
])
const workOf = (method: Method): number => (changes.has(method) ? 1 : 32)
/** How long a client whose requests could not be read may take to read why. */
const FAREWELL_MS = 1000

export interface Connection {
  /** Sends an encoded event, if this client has subscribed. */
  push(event: Buffer): void
  close(): void
}

type Handler = (params: unknown, peer: Peer) => Promise<unknown>

/**
 * Serves a client until its socket is closed.
 *
 * @param socket opened with `allowHalfOpen`: a client may end its side and still read the answers
 * @param peer   who it is, by the kernel
 */
export const serveConnection = (socket: Socket, peer: Peer, handlers: Handlers, log: Log): Connection => {
  const decoder = createDecoder(MAX_REQUEST_BYTES)
  const waiting: unknown[] = []
  let work = 0
  let isSubscribed = false
  /** The client sends no more, or nothing that could be understood. */
  let isLast = false
  let isBroken = false

  const send = (message: object): void => {
    if (socket.writable) socket.write(encode(message))
  }

  const fail = (id: Request['id'] | null, error: unknown, method: string | null): void => {
    const known = error instanceof BalancerError
    if (!known) log.error({ err: error, method, peer }, 'a request failed by a defect')
    const message = `${method}: ${error instanceof Error ? error.message : String(error)}`
    const hint = 'this is a defect: the daemon logged the details'
    send({ id, error: toErrorBody(known ? error : new BalancerError('ERR_INTERNAL', message, { hint })) })
  }

  const answer = async ({ id, method, params }: Request): Promise<void> => {
    try {
      send({ id, result: await (handlers[method] as Handler)(params, peer) })
      if (method === 'subscribe') isSubscribed = true
      if (changes.has(method)) log.info({ method, params, peer }, 'changed on request')
      if (method === 'apply') log.info({ method, peer }, 'changed on request')
      if (method === 'flow.drop') log.info({ method, params, peer }, 'connections dropped on request')
    } catch (error) {
      fail(id, error, method)
    }
  }

  const begin = (message: unknown): void => {
    const checked = validate(message)
    if (!checked.ok) {
      fail(checked.id, checked.error, null)
      return
    }
    const cost = workOf(checked.request.method)
    work += cost
    void answer(checked.request).finally(() => {
      work -= cost
      proceed()
    })
  }

  const proceed = (): void => {
    let begun = 0
    while (begun < waiting.length && work < WORK_AT_ONCE && socket.writableLength < ANSWERS_HELD_BYTES)
      begin(waiting[begun++])
    waiting.splice(0, begun)
    if (waiting.length > 0) socket.pause()
    else if (socket.isPaused()) socket.resume()
    if (isLast && waiting.length === 0 && work === 0) finish()
  }

  /** Ends once all is answered. What a broken client still sends is read and ignored, or it might never read the reason. */
  const finish = (): void => {
    if (!socket.writable) return
    socket.end()
    if (!isBroken) return
    const farewell = setTimeout(() => socket.destroy(), FAREWELL_MS)
    socket.once('close', () => clearTimeout(farewell))
  }

  socket.on('data', chunk => {
    if (isLast) return
    const { messages, problem } = decoder.push(chunk)
    for (const message of messages) waiting.push(message)
    if (problem === null) {
      proceed()
      return
    }
    isLast = isBroken = true
    log.warn({ peer, problem }, 'a control connection is closed: its requests cannot be read')
    fail(null, new BalancerError('ERR_BAD_REQUEST', problem, { hint: 'the connection is closed' }), null)
    proceed()
  })
  socket.on('drain', proceed)
  socket.on('end', () => {
    isLast = true
    proceed()
  })
  socket.on('error', err => log.debug({ err, peer }, 'a control connection failed'))

  return {
    push(event) {
      if (!isSubscribed || !socket.writable) return
      socket.write(event)
      if (socket.writableLength <= EVENTS_HELD_BYTES) return
      log.warn(
        { peer, heldBytes: socket.writableLength },
        'a subscriber does not read its events: disconnected',
      )
      socket.destroy()
    },
    close: () => socket.destroy(),
  }
}
