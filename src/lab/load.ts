/** HTTP load from a host of the lab: requests with a connection, and so a source port, of their own. */
import { fileURLToPath } from 'node:url'
import type { Host } from './namespaces.js'

export interface LoadOptions {
  readonly host: string
  readonly path: string
  /** At most this many. */
  readonly requests: number
  /** At most this many at a time. */
  readonly concurrency: number
  /** How many begin in a second; without it, as soon as one ends the next begins. */
  readonly perSecond?: number
  readonly timeoutMs?: number
}

export interface Outcome {
  /** Milliseconds since the epoch. */
  readonly began: number
  readonly ended: number
  readonly clientPort: number
  /** The backend's name, as its web server says it. */
  readonly backend: string | null
  readonly bytes: number
  /** null: a 2xx answer, received whole. */
  readonly error: string | null
}

export interface Load {
  /** No more requests begin; those under way end. */
  readonly stop: () => void
  readonly outcomes: Promise<readonly Outcome[]>
}

const PROGRAM = fileURLToPath(new URL('../../dist/lab/load-program.js', import.meta.url))

/** Starts the load on a host of the lab. */
export const startLoad = (host: Host, options: LoadOptions): Load => {
  const running = host.start([process.execPath, PROGRAM, JSON.stringify(options)])
  const outcomes = running.exited.then(({ code, stdout, stderr }) => {
    if (code !== 0) throw new Error(`the load ended with ${code}: ${stderr.trim()}`)
    return stdout
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line) as Outcome)
  })
  outcomes.catch(() => {})
  return { stop: () => running.stdin.end(), outcomes }
}
