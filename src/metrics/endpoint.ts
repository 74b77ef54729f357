/** The metrics where the configuration wants them: `http: { listen: ... }`, also when that changes at run time. */
import type { Status } from '../control/protocol.js'
import { BalancerError } from '../errors.js'
import type { Log } from '../log.js'
import { type Config, type Listen, listenText } from '../model.js'
import type { Exposition } from './exposition.js'
import { type HttpServer, openHttpServer, type Page } from './http-server.js'

/** How often an address that cannot be had is tried again. */
const RETRY_MS = 10_000

export interface Endpoint {
  /**
   * For the first time. An address that is not there (yet) is tried again and again.
   *
   * @throws BalancerError `ERR_CONFLICT` when its port is taken, `ERR_NOT_PERMITTED`
   */
  open(http: Config['http']): Promise<void>
  /** From here on there is something to say; before, a scrape is answered with 503. */
  serve(status: () => Promise<Status>): void
  /**
   * As another configuration has it. Where that address cannot be had, the present one goes on.
   *
   * @returns why it cannot be had; null: it is served
   */
  follow(http: Config['http']): Promise<string | null>
  /** null: nothing is wanted. */
  status(): Status['http']
  close(): Promise<void>
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error)

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken',
  EADDRNOTAVAIL: 'this host has no such address',
  EACCES: 'not permitted',
  ENOTFOUND: 'the name has no address',
}
const reasonOf = (error: unknown): string => reasons[codeOf(error)] ?? codeOf(error)

/** Those that an operator has to settle before the daemon can run as it is told. */
const fatal = { EADDRINUSE: 'ERR_CONFLICT', EACCES: 'ERR_NOT_PERMITTED' } as const

export const createEndpoint = (exposition: Exposition, log: Log): Endpoint => {
  let wanted: Listen | null = null
  let open: { readonly listen: Listen; readonly server: HttpServer } | null = null
  let error: string | null = null
  let statusNow: (() => Promise<Status>) | null = null
  let scrape: Promise<Page> | null = null
  let turn: Promise<unknown> = Promise.resolve()

  const make = async (): Promise<Page> => {
    if (statusNow === null) throw new Error('the daemon is starting')
    const text = await exposition.render(await statusNow())
    return { contentType: exposition.contentType, body: Buffer.from(text) }
  }
  /** Whoever asks while one is made gets that. */
  const metrics = (): Promise<Page> => {
    scrape ??= make().finally(() => {
      scrape = null
    })
    return scrape
  }

  const listenAt = async (listen: Listen): Promise<void> => {
    const server = await openHttpServer(listen, {
      pages: new Map([['/metrics', metrics]]),
      onError: cause =>
        log.warn({ event: 'http.failed', cause: codeOf(cause) }, 'a connection was not taken'),
    })
    open = { listen, server }
    log.info({ event: 'http.listening', address: listenText(listen) }, 'metrics are served')
  }

  const stop = async (): Promise<void> => {
    const stopped = open
    open = null
    await stopped?.server.close()
  }

  /** The new address first, unless it is on the same port: then the present one has to go before. */
  const move = async (listen: Listen): Promise<void> => {
    const before = open
    if (before?.listen.port === listen.port) {
      await stop()
      try {
        await listenAt(listen)
      } catch (cause) {
        await listenAt(before.listen)
        throw cause
      }
      return
    }
    await listenAt(listen)
    await before?.server.close()
  }

  let isClosed = false

  const attempt = async (): Promise<void> => {
    const listen = wanted
    try {
      if (listen === null) await stop()
      else if (open === null || listenText(open.listen) !== listenText(listen)) await move(listen)
      error = null
    } catch (cause) {
      error = `${listenText(listen!)} cannot be listened on: ${reasonOf(cause)}`
      throw cause
    }
  }

  /** One after the other. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work)
    turn = done.catch(() => undefined)
    return done
  }

  const warn = (): void =>
    log.warn({ event: 'http.refused', error }, 'metrics are not served where they should be')

  const retrying = setInterval(() => {
    if (error !== null) inTurn(attempt).catch(() => undefined)
  }, RETRY_MS).unref()

  return {
    open: async http => {
      wanted = http?.listen ?? null
      await inTurn(attempt).catch((cause: unknown) => {
        const code = fatal[codeOf(cause) as keyof typeof fatal]
        if (code === undefined) return warn()
        throw new BalancerError(code, `metrics: ${error}`, {
          cause,
          hint: 'choose another address in http.listen, or leave http out',
        })
      })
    },
    serve: status => {
      statusNow = status
    },
    follow: async http => {
      if (isClosed) return null
      wanted = http?.listen ?? null
      return inTurn(attempt).then(
        () => null,
        () => {
          warn()
          return `metrics: ${error}`
        },
      )
    },
    status: () => wanted && { listen: listenText(wanted), error },
    close: () => {
      isClosed = true
      clearInterval(retrying)
      wanted = null
      error = null
      return inTurn(stop)
    },
  }
}
