/** A large file through the VIP, and the proof that it arrived as it was. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, writeFileSync } from 'node:fs'
import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Lab } from './lab.js'

/** Where the client is, where its files are, and what the backends serve. */
export type Site = Pick<Lab, 'client' | 'directory' | 'files'>

export interface Transfer {
  readonly bytes: number
  readonly seconds: number
  /** What arrived has the SHA-256 of what was sent. */
  readonly intact: boolean
}

const sha256 = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

const size = async (file: string) => (await stat(file)).size

const TIMED = ['-sS', '-f', '-m', '60', '-w', '%{time_total}'] as const

/** Makes a file of random bytes that every backend serves as /files/NAME. */
export const makeFile = (lab: Site, name: string, bytes: number): string => {
  const file = join(lab.files, name)
  writeFileSync(file, randomBytes(bytes))
  return file
}

/** @param host the VIP as it stands in a URL: IPv6 in brackets */
export const download = async (lab: Site, host: string, name: string): Promise<Transfer> => {
  const received = join(lab.directory, `received-${name}`)
  const seconds = await lab.client.run(['curl', ...TIMED, '-o', received, `http://${host}/files/${name}`])
  const [sent, got] = await Promise.all([sha256(join(lab.files, name)), sha256(received)])
  return { bytes: await size(received), seconds: Number(seconds), intact: sent === got }
}

/** The backend's web server tells in which file it has put what it received; it is removed. */
export const upload = async (lab: Site, host: string, name: string): Promise<Transfer> => {
  const sent = join(lab.files, name)
  const headers = join(lab.directory, `headers-${name}`)
  const to = `http://${host}/upload`
  const seconds = await lab.client.run(['curl', ...TIMED, '-o', '/dev/null', '-D', headers, '-T', sent, to])
  const received = /^x-body-file: *(\S+)/im.exec(await readFile(headers, 'utf8'))?.[1]
  if (!received) throw new Error('the backend does not say where it has put the upload')
  const hashes = await Promise.all([sha256(sent), sha256(received)])
  const bytes = await size(received)
  await rm(received)
  return { bytes, seconds: Number(seconds), intact: hashes[0] === hashes[1] }
}
