/** What every command gets: the global options, the client, and one way to print. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { type Client, connect } from '../control/client.js'
import { instanceName, instancePaths } from '../instance.js'
import type { Io } from './io.js'
import { createPaint, type Paint } from './paint.js'

export interface GlobalOptions {
  readonly instance?: string
  readonly socket?: string
  readonly json?: boolean
}

export interface Context {
  readonly io: Io
  readonly paint: Paint
  /** The words after `linimo`. */
  readonly argv: readonly string[]
  readonly instance: () => string
  readonly socketPath: () => string
  readonly isJson: () => boolean
  /** Calls back with a connected client and closes it afterwards. */
  readonly withClient: <T>(use: (client: Client) => Promise<T>) => Promise<T>
  /** Reads a configuration file; problems found in its text are reported under its name. */
  readonly readConfig: (path: string) => Promise<string>
  readonly setConfigFile: (path: string) => void
  readonly configFile: () => string | null
  /** Prints a result: as JSON with --json, else the text made of it. */
  readonly print: <T>(result: T, text: (result: T) => string) => void
  /** What the process exits with when nothing fails; 0 unless set. */
  readonly setExitCode: (code: number) => void
  readonly exitCode: () => number
}

export const createContext = (argv: readonly string[], io: Io, program: Command): Context => {
  let configFile: string | null = null
  let exitCode = 0
  const options = (): GlobalOptions => program.opts()
  const instance = (): string => instanceName(options().instance, io.env)
  const socketPath = (): string => instancePaths(instance(), { socketPath: options().socket }).socketPath
  const isJson = (): boolean => options().json ?? false

  return {
    io,
    paint: createPaint(io),
    argv,
    instance,
    socketPath,
    isJson,
    async withClient(use) {
      const client = await connect({ socketPath: socketPath() })
      try {
        return await use(client)
      } finally {
        await client.close()
      }
    },
    readConfig(path) {
      configFile = path
      return readFile(path, 'utf8')
    },
    setConfigFile(path) {
      configFile = path
    },
    configFile: () => configFile,
    print(result, text) {
      if (!isJson()) io.stdout.write(text(result))
      else io.stdout.write(`${JSON.stringify(result, null, io.stdout.isTTY ? 2 : 0)}\n`)
    },
    setExitCode(code) {
      exitCode = code
    },
    exitCode: () => exitCode,
  }
}
