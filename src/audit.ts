/**
 * The audit log: who changed what, when. JSON lines in the state directory, appended, of bounded size: a full file becomes
 * `audit.log.1`, whose predecessor goes. What cannot be written is said once in the daemon's log, and holds up nothing.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Change, Peer } from './control/protocol.js'
import type { Log } from './log.js'

const MAX_BYTES = 8 * 1024 * 1024
/** Lines not yet written, above which further ones are counted instead: a disk that hangs must not fill the memory. */
const MAX_WAITING = 10_000
const MAX_TEXT = 256
const MAX_CHANGES = 100
const MODE = 0o640

export interface AuditEntry {
  readonly peer: Peer
  readonly method: string
  readonly params: unknown
  /** What it changed; of a refused request none. */
  readonly changes: readonly Change[]
  /** null: it was done; else the error's code. */
  readonly error: string | null
}

export interface AuditLog {
  readonly path: string
  record(entry: AuditEntry): void
  /** Resolves when all that was recorded is written, or given up. */
  flush(): Promise<void>
}

/** Long texts (a whole configuration) by their length and beginning; nothing deeper than parameters are. */
const bounded = (value: unknown, depth = 0): unknown => {
  if (typeof value === 'string')
    return value.length <= MAX_TEXT ? value : `${value.slice(0, MAX_TEXT)}... (${value.length} characters)`
  if (typeof value !== 'object' || value === null) return value
  if (depth === 3) return '...'
  if (Array.isArray(value)) return value.slice(0, MAX_CHANGES).map(one => bounded(one, depth + 1))
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, 32)
      .map(([key, one]) => [key, bounded(one, depth + 1)]),
  )
}

/** One line of the log. */
export const auditLine = (time: Date, { peer, method, params, changes, error }: AuditEntry): string => {
  const { uid, pid, gid } = peer
  const more = changes.length - MAX_CHANGES
  return `${JSON.stringify({
    time: time.toISOString(),
    uid,
    pid,
    gid,
    method,
    params: bounded(params),
    result: error ?? 'ok',
    changes: bounded(changes.slice(0, MAX_CHANGES)),
    ...(more > 0 ? { moreChanges: more } : {}),
  })}\n`
}

/** Whether the file ends in the middle of a line: whoever wrote it was interrupted. */
const endsAmidLine = (path: string): boolean => {
  try {
    const file = openSync(path, 'r')
    try {
      const { size } = fstatSync(file)
      const last = Buffer.alloc(1)
      return size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a
    } finally {
      closeSync(file)
    }
  } catch {
    return false // there is none yet; whether one can be written is seen when it is
  }
}

export interface AuditOptions {
  readonly maxBytes?: number
  readonly wall?: () => Date
}

export const openAudit = (stateDir: string, log: Log, options: AuditOptions = {}): AuditLog => {
  const { maxBytes = MAX_BYTES, wall = () => new Date() } = options
  const path = join(stateDir, 'audit.log')
  let waiting: string[] = []
  let isAmidLine = endsAmidLine(path)
  let lost = 0
  let writing: Promise<void> | null = null
  let size: number | null = null
  let isBroken = false

  const sizeNow = async (): Promise<number> => {
    try {
      return (await stat(path)).size
    } catch {
      return 0
    }
  }

  const append = async (text: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    size ??= await sizeNow()
    if (size > 0 && size + text.length > maxBytes) {
      await rename(path, `${path}.1`)
      size = 0
    }
    size += Buffer.byteLength(text)
    await appendFile(path, text, { mode: MODE })
  }

  /** As many lines as a file may hold, at most. */
  const take = (): string => {
    let text = ''
    let count = 0
    while (count < waiting.length && (count === 0 || text.length + waiting[count]!.length <= maxBytes))
      text += waiting[count++]
    waiting = waiting.slice(count)
    return text
  }

  const writeAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const text = take()
      try {
        await append(isAmidLine ? `\n${text}` : text)
        isAmidLine = false
        if (isBroken) log.info({ event: 'audit.written', path, lost }, 'the audit log is written again')
        isBroken = false
        lost = 0
      } catch (cause) {
        size = null
        isAmidLine = endsAmidLine(path) // a full disk takes what fits
        lost += text.split('\n').length - 1
        const code = (cause as { code?: string }).code ?? String(cause)
        if (!isBroken) log.warn({ event: 'audit.failed', path, code }, 'the audit log cannot be written')
        isBroken = true
      }
    }
    writing = null
  }

  return {
    path,
    record: entry => {
      if (waiting.length >= MAX_WAITING) lost++
      else waiting.push(auditLine(wall(), entry))
      writing ??= Promise.resolve().then(writeAll)
    },
    flush: async () => {
      await writing
    },
  }
}
