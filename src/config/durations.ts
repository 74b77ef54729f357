/** Durations as they are written: a number and its unit. */

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** @returns milliseconds, or null when the text is no duration of whole milliseconds */
export const parseDuration = (text: string): number | null => {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text)
  if (!match) return null
  const ms = Math.round(Number(match[1]) * units[match[2]!]! * 1000) / 1000
  return Number.isInteger(ms) ? ms : null
}

/** The shortest way to write it: "2s", "1500ms". */
export const formatDuration = (ms: number): string => {
  const unit = ['h', 'm', 's'].find(unit => ms > 0 && ms % units[unit]! === 0) ?? 'ms'
  return `${ms / units[unit]!}${unit}`
}
