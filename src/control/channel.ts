/** The client's end of the control socket: requests out, each answer to its own request, events to who listens. */
import { connect, type Socket } from 'node:net'
import { BalancerError } from '../errors.js'
import { createDecoder, encode } from './codec.js'
import { fromErrorBody } from './error-body.js'
import {
  type Answer,
  type Event,
  MAX_REQUEST_BYTES,
  type Method,
  type Params,
  type Push,
  type Results,
} from './protocol.js'

/** What an answer may take: a ring of 655373 slots with their owners is some 40 MB at most. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024

/** Why a connection could not be made, in Linimo's terms. */
const notConnected = (socketPath: string, cause: Error): BalancerError => {
  const code = 'code' in cause ? cause.code : undefined
  if (code === 'EACCES' || code === 'EPERM')
    return new BalancerError('ERR_NOT_PERMITTED', `${socketPath}: permission denied`, {
      cause,
      hint: 'run as root or as a member of group linimo',
    })
  const detail =
    code === 'ENOENT' ? 'there is no socket' : code === 'ECONNREFUSED' ? 'nobody answers' : cause.message
  return new BalancerError('ERR_NOT_REACHABLE', `no daemon on ${socketPath}: ${detail}`, {
    cause,
    hint: 'is it running? start it with `linimo run --config FILE`, or name another with --instance or --socket',
  })
}

export const openSocket = (socketPath: string, timeoutMs: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath })
    const fail = (error: BalancerError): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(
      () => fail(new BalancerError('ERR_TIMEOUT', `${socketPath}: no connection within ${timeoutMs} ms`)),
      timeoutMs,
    )
    socket.once('error', cause => fail(notConnected(socketPath, cause)))
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      resolve(socket)
    })
  })

interface Waiting {
  readonly method: Method
  readonly settle: (answer: Answer) => void
  readonly fail: (error: BalancerError) => void
}

export interface Channel {
  call<M extends Method>(method: M, params: Params<M> | undefined, timeoutMs: number): Promise<Results[M]>
  /** Called back with every event that arrives. */
  readonly listeners: Set<(event: Event) => void>
  readonly closed: Promise<void>
  close(): Promise<void>
}

export const createChannel = (socket: Socket): Channel => {
  const decoder = createDecoder(MAX_ANSWER_BYTES)
  const waiting = new Map<number, Waiting>()
  const listeners = new Set<(event: Event) => void>()
  let nextId = 1
  let cause: unknown

  const receive = (message: Answer | Push): void => {
    if ('event' in message) {
      for (const listener of listeners) listener(message.data)
      return
    }
    if (typeof message.id === 'number') waiting.get(message.id)?.settle(message)
    else if ('error' in message) cause ??= fromErrorBody(message.error) // why the daemon is about to hang up
  }

  socket.on('data', chunk => {
    const { messages, problem } = decoder.push(chunk)
    for (const message of messages) if (isMessage(message)) receive(message)
    if (problem !== null) socket.destroy(new Error(problem))
  })
  socket.on('error', error => {
    cause ??= error
  })
  const closed = new Promise<void>(resolve => {
    socket.once('close', () => {
      const why = cause instanceof Error ? `: ${cause.message}` : ''
      const lost = (method: Method): BalancerError =>
        new BalancerError('ERR_CONNECTION_LOST', `the connection ended before ${method} was answered${why}`, {
          cause,
        })
      for (const { method, fail } of waiting.values()) fail(lost(method))
      resolve()
    })
  })

  const call = <M extends Method>(
    method: M,
    params: Params<M> | undefined,
    timeoutMs: number,
  ): Promise<Results[M]> =>
    new Promise((resolve, reject) => {
      if (!socket.writable) {
        reject(
          new BalancerError('ERR_CONNECTION_LOST', `the connection has ended: ${method} was not sent`, {
            cause,
          }),
        )
        return
      }
      const id = nextId++
      const request = encode({ id, method, params })
      if (request.length > MAX_REQUEST_BYTES) {
        reject(
          new BalancerError('ERR_BAD_REQUEST', `${method}: a request of ${request.length} bytes is too long`),
        )
        return
      }
      const done = (): void => {
        clearTimeout(timer)
        waiting.delete(id)
      }
      const fail = (error: BalancerError): void => {
        done()
        reject(error)
      }
      const timer = setTimeout(
        () => fail(new BalancerError('ERR_TIMEOUT', `${method} was not answered within ${timeoutMs} ms`)),
        timeoutMs,
      )
      const settle = (answer: Answer): void => {
        done()
        if ('error' in answer) reject(fromErrorBody(answer.error))
        else resolve(answer.result as Results[M])
      }
      waiting.set(id, { method, settle, fail })
      socket.write(request)
    })

  return {
    call,
    listeners,
    closed,
    close() {
      socket.destroy()
      return closed
    },
  }
}

const isMessage = (message: unknown): message is Answer | Push =>
  typeof message === 'object' && message !== null && ('event' in message || 'id' in message)
