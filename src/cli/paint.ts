/** Colours, for a terminal only, and not where NO_COLOR is set (https://no-color.org). */
import type { Io } from './io.js'

const codes = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const

export type Colour = keyof typeof codes
export type Paint = (text: string, colour: Colour | null) => string

export const createPaint = ({ stdout, env }: Io): Paint => {
  const isColoured = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
  return (text, colour) => (isColoured && colour !== null ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text)
}
