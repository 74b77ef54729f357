/** How deeply a text nests, found without recursion: the YAML parser has no limit but the stack's. */
import { CST, Lexer } from 'yaml'
import type { Position } from './problem.js'

/** Brackets around a value; also dashes and question marks that open one level after the other in a line. */
const MAX_LEVELS = 32
/** Spaces in front of a line: each may be a level. */
const MAX_INDENT = 256

/** Tokens that stand for nothing in the text. */
const marks: ReadonlySet<string> = new Set([CST.BOM, CST.DOCUMENT, CST.FLOW_END, CST.SCALAR])

/** @returns where the text nests too deeply to be read, or null */
export const tooDeep = (text: string): Position | null => {
  let line = 1
  let column = 1
  let brackets = 0
  let opened = 0
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') brackets++
    else if (token === ']' || token === '}') brackets--
    else if (token === '-' || token === '?') opened++
    const indents = column === 1 && /^[ \t]+$/.test(token) && token.length > MAX_INDENT
    if (brackets > MAX_LEVELS || opened > MAX_LEVELS || indents) return { line, column }
    const newlines = token.split('\n').length - 1
    if (newlines > 0) {
      line += newlines
      column = token.length - token.lastIndexOf('\n')
      opened = 0
    } else if (!marks.has(token)) {
      column += token.length
    }
  }
  return null
}
