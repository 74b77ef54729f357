/** The words of a command line as values; a word that is none is a usage error. */
import { isIP } from 'node:net'
import { InvalidArgumentError } from 'commander'

/** "web/b2", split at the first slash: an unnamed backend's name is its address, which may hold anything but one. */
export const backendName = (word: string): { readonly service: string; readonly backend: string } => {
  const slash = word.indexOf('/')
  if (slash < 1 || slash === word.length - 1)
    throw new InvalidArgumentError('A backend is named SERVICE/BACKEND.')
  return { service: word.slice(0, slash), backend: word.slice(slash + 1) }
}

const integer =
  (min: number, max: number) =>
  (word: string): number => {
    const value = /^\d+$/.test(word) ? Number(word) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It is an integer from ${min} to ${max}.`)
  }

export const weight = integer(0, 1000)
export const port = integer(1, 65535)
export const count = integer(1, Number.MAX_SAFE_INTEGER)
/** Of an IP packet, or a part of it. */
export const packetSize = integer(88, 65535)

export const address = (word: string): string => {
  if (isIP(word) !== 0) return word
  throw new InvalidArgumentError('It is an IPv4 or IPv6 address.')
}

export const mac = (word: string): string => {
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(word)) return word.toLowerCase()
  throw new InvalidArgumentError('It is a MAC address such as 02:00:00:00:00:0c.')
}

/** As `mac`; "none" is null: the next hop is resolved again. */
export const macOrNone = (word: string): string | null => (word === 'none' ? null : mac(word))

export const list = (word: string): readonly string[] => word.split(',').filter(item => item !== '')

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** "500ms", "30s", "2m", "1h"; a plain number is seconds. In milliseconds. */
export const durationMs = (word: string): number => {
  const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(word) ?? []
  const value = Number(digits) * (unitMs[unit] ?? Number.NaN)
  if (value <= 24 * 3_600_000) return value
  throw new InvalidArgumentError('It is a duration such as 500ms, 30s or 2m, of a day at most.')
}
