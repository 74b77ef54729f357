/** Structured logs: JSON lines on stdout, written at once, for a daemon that may be killed. */
import { pino } from 'pino'

type Write = (fields: object, message: string) => void

/** What each part asks of a logger; pino's fits. `fields.event` is a stable name such as "backend.down". */
export interface Log {
  readonly debug: Write
  readonly info: Write
  readonly warn: Write
  readonly error: Write
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export const createLog = (level: LogLevel, instance: string): Log =>
  pino(
    {
      level,
      base: { instance },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    pino.destination({ dest: 1, sync: true }),
  )
