/** The daemon: builds the parts, joins them, stops them. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { parseConfig } from './config.js'
import { type ControlServer, ensureNotRunning, serve } from './control/server.js'
import { startDaemon } from './daemon.js'
import { BalancerError } from './errors.js'
import { createHandlers, type DaemonInfo } from './handlers.js'
import { createLog, type LogLevel } from './log.js'
import { loadNative } from './native.js'
import { instanceSeed } from './seed.js'

export interface RunOptions {
  readonly configPath: string
  readonly instance: string
  readonly socketPath: string
  readonly stateDir: string
  readonly pinDir: string
  readonly logLevel: LogLevel
}

const { version } = createRequire(import.meta.url)('../package.json') as { version: string }

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
 *
 * @throws BalancerError, or a system error, when it cannot start; then nothing has been touched
 */
export const runDaemon = async (options: RunOptions): Promise<void> => {
  const readConfigFile = (): string => {
    try {
      return readFileSync(options.configPath, 'utf8')
    } catch (cause) {
      throw new BalancerError(
        'ERR_STATE',
        `${options.configPath} cannot be read (${(cause as { code?: string }).code})`,
        { cause },
      )
    }
  }
  const { config, warnings } = parseConfig(readConfigFile())
  const log = createLog(options.logLevel, options.instance)
  for (const warning of warnings) log.warn({ event: 'config.warning' }, warning)

  const { peerCredentials } = loadNative()
  await ensureNotRunning({ socketPath: options.socketPath, peerOf: peerCredentials })
  let server: ControlServer | null = null
  const daemon = await startDaemon({
    config,
    instanceSeed: () => instanceSeed(options.stateDir),
    publish: event => server?.publish(event),
    log,
  })
  try {
    const info: DaemonInfo = {
      version,
      instance: options.instance,
      startedAt: new Date(),
      configPath: options.configPath,
      readConfigFile,
      appliedAt: new Date(),
      error: null,
    }
    const handlers = createHandlers(daemon, info)
    server = await serve({
      socketPath: options.socketPath,
      handlers,
      log,
      peerOf: peerCredentials,
    })
    log.info({ event: 'daemon.started', version, pid: process.pid, config: options.configPath }, 'running')

    process.on('SIGHUP', () => {
      handlers
        .apply({}, { pid: process.pid, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 })
        .then(
          ({ changes }) =>
            log.info(
              { event: 'config.reloaded', changes: changes.length },
              'the configuration was read again',
            ),
          (error: unknown) => {
            info.error = messageOf(error)
            log.error(
              { event: 'config.refused', code: error instanceof BalancerError ? error.code : undefined },
              `the configuration stays as it was: ${info.error}`,
            )
          },
        )
    })
    const signal = await new Promise<NodeJS.Signals>(resolve => {
      for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve)
    })
    log.info({ event: 'daemon.stopping', signal }, 'detaching')
  } finally {
    await server?.close()
    await daemon.close()
  }
  log.info({ event: 'daemon.stopped' }, 'stopped')
}
