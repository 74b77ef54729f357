/** The daemon: builds the parts, joins them, stops them. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { openAudit } from './audit.js'
import { parseConfig } from './config.js'
import { type ControlServer, ensureNotRunning, serve } from './control/server.js'
import { startDaemon } from './daemon.js'
import { checkBpffs } from './dataplane/bpffs.js'
import { pinnedSeed } from './dataplane/pins.js'
import { BalancerError } from './errors.js'
import { createHandlers, type DaemonInfo } from './handlers.js'
import { systemClock } from './health/clock.js'
import { type Journal, openJournal } from './journal.js'
import { takeLock } from './lock.js'
import { createLog, type Log, type LogLevel } from './log.js'
import { createEndpoint } from './metrics/endpoint.js'
import { createExposition } from './metrics/exposition.js'
import type { Config } from './model.js'
import { loadNative } from './native.js'
import { instanceSeed } from './seed.js'
import { readStatus } from './status.js'

export interface RunOptions {
  readonly configPath: string
  readonly instance: string
  readonly socketPath: string
  readonly stateDir: string
  /** null: nothing is pinned, and packets stop with the daemon. */
  readonly pinDir: string | null
  /** Its end detaches it: nothing of it is left. */
  readonly detachOnExit: boolean
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
  const hangUps = listenForHangUps()
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
  const text = readConfigFile()
  const { config, warnings } = parseConfig(text)
  const log = createLog(options.logLevel, options.instance)
  for (const warning of warnings) log.warn({ event: 'config.warning' }, warning)

  const { peerCredentials } = loadNative()
  const { pinDir, stateDir, socketPath } = options
  if (pinDir !== null) checkBpffs(pinDir)
  const lock = takeLock(pinDir === null ? [stateDir] : [stateDir, pinDir])
  try {
    await ensureNotRunning({ socketPath, peerOf: peerCredentials })
    const journal = openJournal(stateDir, { now: systemClock.now, wall: Date.now }, log)
    try {
      await runLocked(options, { text, config }, journal, readConfigFile, hangUps, log)
    } finally {
      await journal.end() // the lock is what keeps others from reading it
    }
  } finally {
    lock.release()
  }
  log.info({ event: 'daemon.stopped' }, 'stopped')
}

/** The seed of a configuration that has none: read or made once. */
const seedKeeper = ({ stateDir, pinDir }: RunOptions, log: Log): (() => string) => {
  let seed: string | null = null
  const onUnsaved = (error: BalancerError): void =>
    log.warn(
      { event: 'seed.unsaved', cause: messageOf(error.cause) },
      `${error.message}: without its seed a later start gives flows other slots`,
    )
  return () => {
    seed ??= instanceSeed(stateDir, { pinned: pinDir === null ? null : pinnedSeed(pinDir), onUnsaved })
    return seed
  }
}

/** SIGHUP from the first moment on: one that comes before anybody can take it is taken then. */
const listenForHangUps = (): { take(reload: () => void): void } => {
  let reload = (): void => {
    isPending = true
  }
  let isPending = false
  process.on('SIGHUP', () => reload())
  return {
    take: taken => {
      reload = taken
      if (isPending) taken()
    },
  }
}

const runLocked = async (
  options: RunOptions,
  file: { readonly text: string; readonly config: Config },
  journal: Journal,
  readConfigFile: () => string,
  hangUps: ReturnType<typeof listenForHangUps>,
  log: Log,
): Promise<void> => {
  const { peerCredentials } = loadNative()
  const { pinDir, stateDir } = options
  const audit = openAudit(stateDir, log)
  const { wanted, warnings } = journal.replay(file)
  for (const warning of warnings) log.warn({ event: 'journal.warning' }, warning)
  const exposition = createExposition()
  const endpoint = createEndpoint(exposition, log)
  await endpoint.open(wanted.config.http)
  let server: ControlServer | null = null
  let isEnded = false
  const daemon = await startDaemon({
    wanted,
    journal,
    instanceSeed: seedKeeper(options, log),
    pinDir,
    stateDir,
    publish: event => server?.publish(event),
    measures: exposition,
    log,
  }).catch(async (error: unknown) => {
    await endpoint.close()
    throw error
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
    const handlers = createHandlers(daemon, info, { journal, audit, endpoint })
    endpoint.serve(() => readStatus({ daemon, info, journal, endpoint }))
    server = await serve({
      socketPath: options.socketPath,
      handlers,
      log,
      peerOf: peerCredentials,
    })
    log.info({ event: 'daemon.started', version, pid: process.pid, config: options.configPath }, 'running')

    hangUps.take(() => {
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
    const detaches = pinDir === null || options.detachOnExit
    log.info({ event: 'daemon.stopping', signal, detaches }, detaches ? 'detaching' : 'packets go on')
    await server.close()
    await endpoint.close()
    await (detaches ? daemon.close() : daemon.release())
    await audit.flush()
    isEnded = true
  } finally {
    if (!isEnded) {
      await server?.close()
      await endpoint.close()
      await daemon.abandon()
    }
  }
}
