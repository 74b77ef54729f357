/** A small HTTP server for reading: whatever a client does, it costs little and ends soon. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Listen } from '../model.js'

/** More than any monitoring has; those beyond are closed at once. */
const MAX_CONNECTIONS = 32
/** For a client to send its request; for a kept connection to be used again. */
const REQUEST_MS = 5000
/** For a client to read its answer. */
const ANSWER_MS = 20_000
/** How often those times are looked at. */
const CHECK_MS = 1000
const MAX_HEADER_BYTES = 8192

export interface Page {
  readonly contentType: string
  readonly body: Buffer
}

export interface HttpServer {
  /** Ends every connection; its address is free when this resolves. */
  close(): Promise<void>
}

export interface HttpOptions {
  /** By path. One that throws is answered with 503 and its message. */
  readonly pages: ReadonlyMap<string, () => Promise<Page>>
  /** A connection cannot be accepted: too many open files. */
  readonly onError: (error: Error) => void
}

const isReading = (method: string | undefined): boolean => method === 'GET' || method === 'HEAD'

const say = (
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
) => {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close', ...headers })
  response.end(`${text}\n`)
}

const answer = async (
  pages: HttpOptions['pages'],
  { url = '/', method }: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const page = pages.get(url.split('?', 1)[0]!)
  if (!page) return say(response, 404, `there is: ${[...pages.keys()].join(' ')}`)
  if (!isReading(method)) return say(response, 405, 'only GET and HEAD', { allow: 'GET, HEAD' })
  let made: Page
  try {
    made = await page()
  } catch (error) {
    return say(response, 503, error instanceof Error ? error.message : String(error))
  }
  const { contentType, body } = made
  response.writeHead(200, {
    'content-type': contentType,
    'content-length': body.length,
    'cache-control': 'no-store',
  })
  response.end(method === 'HEAD' ? undefined : body)
}

/** @throws the system's error when it cannot listen there: EADDRINUSE, EADDRNOTAVAIL, EACCES and others */
export const openHttpServer = async (
  { address, port }: Listen,
  options: HttpOptions,
): Promise<HttpServer> => {
  const server = createServer(
    {
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: REQUEST_MS,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => {
      const late = setTimeout(() => request.socket.destroy(), ANSWER_MS).unref()
      response.once('close', () => clearTimeout(late))
      void answer(options.pages, request, response)
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  server.on('clientError', (_, socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    else socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, ...(address === '' ? {} : { host: address }) }, () => {
      server.off('error', reject)
      server.on('error', options.onError)
      resolve()
    })
  })
  return {
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
