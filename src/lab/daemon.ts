/** The real `linimo`, run as an operator runs it: the daemon in the balancer's namespace, the CLI on its socket. */
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { BackendRow, Results, Status } from '../control/protocol.js'
import type { Host } from './namespaces.js'
import type { Exit, Running } from './process.js'

export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface Daemon {
  readonly running: Running
  readonly configFile: string
  readonly socket: string
  /** `linimo ARGS` against this daemon, from its own namespace. */
  readonly linimo: (...args: readonly string[]) => Promise<Exit>
  /** The same with --json; fails unless the exit code is 0. */
  readonly json: <T>(...args: readonly string[]) => Promise<T>
  /** Waits until attached, every health check has a result and no backend is without its next hop. */
  readonly ready: (timeoutMs?: number) => Promise<Status>
  readonly ring: (service: string) => Promise<Results['ring.show']>
  /** Waits until a backend's row is as asked; fails with the row after `timeoutMs`. */
  readonly until: (
    service: string,
    backend: string,
    isSo: (row: BackendRow) => boolean,
    timeoutMs?: number,
  ) => Promise<BackendRow>
  /** Writes the file anew; `reload` or SIGHUP makes the daemon read it. */
  readonly writeConfig: (text: string) => void
  readonly stop: (signal?: NodeJS.Signals) => Promise<Exit>
}

export interface DaemonOptions {
  /** The instance's name; unique among those that run. */
  readonly instance: string
  /** Where its config file, socket and state are. */
  readonly directory: string
  readonly config: string
  /** Where it pins; absent: nothing is pinned, and it detaches when it ends. */
  readonly pinDir?: string
  /** Further options of `linimo run`. */
  readonly args?: readonly string[]
  /** Another build of Linimo. */
  readonly cli?: string
}

/** Starts `linimo run`; the caller waits for `ready` or for `running.exited`. */
export const startDaemon = (host: Host, options: DaemonOptions): Daemon => {
  const { instance, directory, config, pinDir, args: furtherArgs = [], cli = CLI } = options
  if (!existsSync(cli)) throw new Error(`${cli} is missing: run npm run setup`)
  const configFile = `${directory}/${instance}.yaml`
  const socket = `${directory}/${instance}.sock`
  const stateDir = `${directory}/${instance}.state`
  const names = ['--instance', instance, '--socket', socket, '--state-dir', stateDir]
  const pins = pinDir === undefined ? ['--no-pin'] : ['--pin-dir', pinDir]
  writeFileSync(configFile, config)
  const running = host.start([
    process.execPath,
    cli,
    'run',
    '--config',
    configFile,
    ...names,
    ...pins,
    ...furtherArgs,
  ])

  const linimo = (...args: readonly string[]) =>
    host.capture([process.execPath, cli, ...args, '--socket', socket])
  const json = async <T>(...args: readonly string[]): Promise<T> => {
    const { code, stdout, stderr } = await linimo(...args, '--json')
    if (code !== 0) throw new Error(`linimo ${args.join(' ')} failed with ${code}: ${stderr.trim()}`)
    return JSON.parse(stdout) as T
  }
  const failWhenEnded = async () => {
    const { code, signal, stderr, stdout } = await running.exited
    throw new Error(`linimo run ended with ${signal ?? code}: ${(stderr || stdout).trim()}`)
  }
  const poll = async <T>(attempt: () => Promise<T | undefined>, timeoutMs: number, what: () => string) => {
    for (const end = Date.now() + timeoutMs; Date.now() < end; ) {
      const value = await Promise.race([attempt(), failWhenEnded()])
      if (value !== undefined) return value
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    throw new Error(
      `${what()} within ${timeoutMs} ms; the daemon's log:\n${running.output().stderr || running.output().stdout}`,
    )
  }
  return {
    running,
    configFile,
    socket,
    linimo,
    json,
    ready: async (timeoutMs = 30_000) => {
      await Promise.race([json('status', '--wait', `${timeoutMs}ms`), failWhenEnded()])
      let last: Status | undefined
      return poll(
        async () => {
          last = await json<Status>('status')
          const isComplete = last.services.every(service =>
            service.backends.every(backend => backend.nextHop !== null),
          )
          return isComplete ? last : undefined
        },
        timeoutMs,
        () => `not every backend had a next hop (${JSON.stringify(last?.services)})`,
      )
    },
    ring: service => json<Results['ring.show']>('ring', 'show', service),
    until: (service, backend, isSo, timeoutMs = 15_000) => {
      let last: BackendRow | undefined
      return poll(
        async () => {
          last = (await json<BackendRow[]>('backend', 'list', service)).find(row => row.backend === backend)
          return last && isSo(last) ? last : undefined
        },
        timeoutMs,
        () => `${service}/${backend} did not become as expected (${JSON.stringify(last)})`,
      )
    },
    writeConfig: text => writeFileSync(configFile, text),
    stop: signal => running.stop(signal),
  }
}
