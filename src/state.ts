/**
 * What the next process should know of the backends' health: one file in the state directory, replaced as a whole. It
 * is of use, but nothing depends on it: what cannot be read or written is said, and the daemon goes on.
 */
import { join } from 'node:path'
import { z } from 'zod'
import type { Known } from './health/monitor.js'
import { encodeChecked, readChecked, replaceFile, setAside } from './journal-file.js'
import type { Log } from './log.js'

const FILE = 'health'
const FORMAT = { name: 'linimo-health 1' }
const MODE = 0o600
/** Changes that come together are written together; what is not written yet is lost by kill -9. */
const GATHER_MS = 20
/** Of all time, writing takes at most this share; but no change waits longer for a slow disk than this. */
const WRITING_SHARE = 0.05
const MAX_GATHER_MS = 1000

const contents = z.record(
  z.string(),
  z.strictObject({
    health: z.enum(['up', 'down']),
    reason: z.string().nullable(),
    /** When it was last seen so. */
    checkedAt: z.iso.datetime(),
  }),
)
type Contents = z.infer<typeof contents>

export interface HealthFile {
  /** As the last process knew it, by check. */
  readonly restored: ReadonlyMap<string, Known>
  /** Something has changed: it is written soon. */
  changed(): void
  /** Writes what is known, and no more afterwards. */
  close(): Promise<void>
}

export interface HealthFileOptions {
  readonly stateDir: string
  readonly known: () => ReadonlyMap<string, Known>
  readonly log: Log
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

const read = (path: string, log: Log): Contents => {
  const { body, warning } = readChecked(path, FORMAT)
  if (warning !== null) log.warn({ event: 'state.damaged', path }, warning)
  if (body === null) return {}
  try {
    return contents.parse(JSON.parse(body))
  } catch {
    log.warn({ event: 'state.damaged', path }, `${path} is not understood, and not used: ${setAside(path)}`)
    return {}
  }
}

export const openHealthFile = ({ stateDir, known, log, now = Date.now }: HealthFileOptions): HealthFile => {
  const path = join(stateDir, FILE)
  const restored = new Map(
    Object.entries(read(path, log)).map(([key, { health, reason, checkedAt }]) => [
      key,
      {
        judgement: { health, reason, against: 0 },
        ageMs: Math.max(0, now() - Date.parse(checkedAt)),
      },
    ]),
  )
  let isClosed = false
  let isPending = false
  let writing: Promise<void> = Promise.resolve()
  let endPause = (): void => {}
  const pause = (ms: number): Promise<void> =>
    new Promise(resolve => {
      const timer = setTimeout(resolve, isClosed ? 0 : ms)
      endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  let hasFailed = false
  /** performance.now() at which the next write may begin. */
  let mayWriteAt = 0

  const write = async (): Promise<void> => {
    const began = performance.now()
    const checks = [...known()].flatMap(
      ([
        key,
        {
          judgement: { health, reason },
          ageMs,
        },
      ]) =>
        health === 'unknown'
          ? []
          : [[key, { health, reason, checkedAt: new Date(now() - ageMs).toISOString() }] as const],
    )
    try {
      const text: Contents = Object.fromEntries(checks)
      await replaceFile(path, encodeChecked(FORMAT, `${JSON.stringify(text)}\n`), MODE)
      hasFailed = false
    } catch (cause) {
      if (!hasFailed)
        log.warn(
          { event: 'state.unwritable', path, cause: String(cause) },
          'health is not kept: a restart begins with what was known before',
        )
      hasFailed = true
    }
    const ended = performance.now()
    mayWriteAt = ended + Math.min((ended - began) / WRITING_SHARE, MAX_GATHER_MS)
  }

  return {
    restored,
    changed: () => {
      if (isClosed || isPending) return
      isPending = true
      writing = writing.then(async () => {
        await pause(Math.max(GATHER_MS, mayWriteAt - performance.now()))
        isPending = false
        if (!isClosed) await write()
      })
    },
    close: async () => {
      if (isClosed) return
      isClosed = true
      endPause()
      await writing
      await write()
    },
  }
}
