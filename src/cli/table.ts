/** Aligned columns for people. Nothing is ever cut, whatever the width of the terminal. */
import type { Colour, Paint } from './paint.js'

export type Cell = string | number | { readonly text: string; readonly colour: Colour | null }

const textOf = (cell: Cell): string => (typeof cell === 'object' ? cell.text : String(cell))
const isNumeric = (text: string): boolean => /^(-|[0-9.]+%?)$/.test(text)

/** Control characters, of names and messages from elsewhere, must not reach the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')

/**
 * @param headings one a column; a column of numbers only is aligned to the right
 * @param indent   blanks before each line
 * @returns        lines, each with its newline
 */
export const table = (
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  paint: Paint,
  indent = 0,
): string => {
  const columns = headings.map((heading, column) => {
    const texts = rows.map(row => printable(textOf(row[column] ?? '')))
    return {
      heading,
      width: Math.max(heading.length, ...texts.map(text => text.length)),
      isRight: texts.length > 0 && texts.every(isNumeric),
    }
  })

  const line = (cells: readonly Cell[]): string => {
    const padded = columns.map(({ width, isRight }, column) => {
      const cell = cells[column] ?? ''
      const text = printable(textOf(cell))
      const aligned = isRight
        ? text.padStart(width)
        : column === columns.length - 1
          ? text
          : text.padEnd(width)
      return typeof cell === 'object' ? paint(aligned, cell.colour) : aligned
    })
    return `${' '.repeat(indent)}${padded.join('  ')}`.trimEnd()
  }

  const heading = line(headings.map(text => ({ text, colour: 'dim' })))
  return [heading, ...rows.map(line)].map(text => `${text}\n`).join('')
}
