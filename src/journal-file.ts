/**
 * A small file that is always whole: written beside, made durable, then renamed over. Its first line names the format and
 * the SHA-256 of the rest, so that whatever else happened to it is noticed.
 */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

export interface CheckedFormat {
  /** "linimo-journal 1" */
  readonly name: string
}

const digestOf = (body: string): string => createHash('sha256').update(body).digest('hex')

export const encodeChecked = ({ name }: CheckedFormat, body: string): string =>
  `${name} ${digestOf(body)}\n${body}`

/** @returns the body, or null when this is not exactly what was written */
export const decodeChecked = ({ name }: CheckedFormat, bytes: Uint8Array): string | null => {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
  const end = text.indexOf('\n')
  const body = text.slice(end + 1)
  return end >= 0 && text.slice(0, end) === `${name} ${digestOf(body)}` ? body : null
}

/** The directory is made when it is missing. */
const openInDirectory = async (path: string, mode: number): Promise<FileHandle> => {
  try {
    return await open(path, 'w', mode)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    return open(path, 'w', mode)
  }
}

/** Replaces a file atomically and durably. @throws the system's error, such as ENOSPC; then the old file is still there */
export const replaceFile = async (path: string, text: string, mode: number): Promise<void> => {
  const beside = `${path}.tmp`
  const file = await openInDirectory(beside, mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(beside, path)
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The same, for a thread that has nothing else to do. */
export const replaceFileSync = (path: string, text: string, mode: number): void => {
  const beside = `${path}.tmp`
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const file = openSync(beside, 'w', mode)
  try {
    writeFileSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(beside, path)
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/** What a read finds: `body` null and no warning means that there is no such file. */
export interface Found {
  readonly body: string | null
  readonly warning: string | null
}

/** Reads such a file; one that is damaged is kept beside, as `NAME.damaged`, for people to look at. */
export const readChecked = (path: string, format: CheckedFormat): Found => {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    const { code } = error as { code?: string }
    return { body: null, warning: code === 'ENOENT' ? null : `${path} cannot be read (${code})` }
  }
  const body = decodeChecked(format, bytes)
  if (body !== null) return { body, warning: null }
  return { body: null, warning: `${path} is damaged, and not used: ${setAside(path)}` }
}

/** @returns what has become of it, in words */
export const setAside = (path: string): string => {
  try {
    renameSync(path, `${path}.damaged`)
    return `kept as ${basename(path)}.damaged`
  } catch (error) {
    return `it could not be set aside (${(error as { code?: string }).code})`
  }
}
