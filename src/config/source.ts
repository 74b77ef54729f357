/** The text of a configuration as a tree in which every key and value knows its place. YAML 1.2, so JSON too. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { tooDeep } from './depth.js'
import type { Position, Report } from './problem.js'

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly at: Position
  readonly value: unknown
  /** As it is written, if it is a plain scalar: what YAML takes for a number may be meant as text. */
  readonly text: string | null
}

export interface ListNode {
  readonly kind: 'list'
  readonly at: Position
  readonly items: readonly Node[]
}

export interface MapNode {
  readonly kind: 'map'
  readonly at: Position
  readonly entries: ReadonlyMap<string, Entry>
}

export interface Entry {
  /** The key's place. */
  readonly at: Position
  readonly value: Node
}

export type Node = ScalarNode | ListNode | MapNode

const TOO_DEEP = 'nested more deeply than any configuration is'

/** @returns null when it exhausts the stack, which `tooDeep` should have prevented */
const parse = (text: string, lineCounter: LineCounter): Document.Parsed | null => {
  try {
    return parseDocument(text, {
      lineCounter,
      version: '1.2',
      schema: 'core',
      resolveKnownTags: false,
      uniqueKeys: false, // found by nodesOf, with the place of both
      prettyErrors: false,
    })
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** @returns null when the text is no YAML, or empty: that has been reported */
export const readSource = (text: string, report: Report): Node | null => {
  const lines = new LineCounter()
  const positionOf = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const deep = tooDeep(text)
  if (deep !== null) {
    report.problem(deep, '', TOO_DEEP)
    return null
  }
  const document = parse(text, lines)
  if (document === null) {
    report.problem({ line: 1, column: 1 }, '', TOO_DEEP)
    return null
  }
  const said = new Set<string>()
  for (const { pos, message, code } of [...document.errors, ...document.warnings]) {
    const words = inOurWords(code, message)
    if (!said.has(`${pos[0]} ${words}`)) report.problem(positionOf(pos[0]), '', words)
    said.add(`${pos[0]} ${words}`)
  }
  if (document.errors.length > 0) return null
  if (document.contents === null) {
    report.problem({ line: 1, column: 1 }, '', 'the configuration is empty')
    return null
  }
  return nodesOf(document, positionOf, report)
}

const inOurWords = (code: string, message: string): string =>
  code === 'MULTIPLE_DOCS' ? 'a second document begins here' : message.replace(/\s+/g, ' ').slice(0, 200)

const pathTo = (path: string, key: string | number): string =>
  typeof key === 'number' ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`

/** Aliases stand for the very node of their anchor, so however often they nest, nothing is copied. */
const nodesOf = (
  document: Document.Parsed,
  positionOf: (offset: number) => Position,
  report: Report,
): Node => {
  const anchors = new Map<string, Node>()

  const emptyAt = (at: Position): ScalarNode => ({ kind: 'scalar', at, value: null, text: null })

  /** @param within the place of what holds it, for a value that is not there: `key:` */
  const convert = (node: unknown, path: string, within: Position): Node => {
    const range = (node as { range?: [number, number, number] | null } | null)?.range
    const at = range ? positionOf(range[0]) : within
    if (isAlias(node)) {
      const target = anchors.get(node.source)
      if (target) return target
      report.problem(at, path, `there is no anchor &${node.source} before this`)
      return emptyAt(at)
    }
    const converted = isMap(node)
      ? convertMap(node, path, at)
      : isSeq(node)
        ? convertList(node, path, at)
        : isScalar(node)
          ? scalar(node.value, node.type === 'PLAIN' ? (node.source ?? null) : null, at, within)
          : emptyAt(at)
    const anchor = (node as { anchor?: string } | null)?.anchor
    if (anchor) anchors.set(anchor, converted)
    return converted
  }

  const scalar = (value: unknown, text: string | null, at: Position, within: Position): ScalarNode => ({
    kind: 'scalar',
    at: value === null && !text ? within : at,
    value,
    text,
  })

  const convertList = (node: YAMLSeq, path: string, at: Position): ListNode => ({
    kind: 'list',
    at,
    items: node.items.map((item, index) => convert(item, pathTo(path, index), at)),
  })

  const convertMap = (node: YAMLMap, path: string, at: Position): MapNode => {
    const entries = new Map<string, Entry>()
    for (const pair of node.items) {
      const key = convert(pair.key, path, at)
      const name =
        key.kind === 'scalar' ? (key.text ?? (typeof key.value === 'string' ? key.value : null)) : null
      if (name === null || name === '') {
        report.problem(key.at, path, 'a key must be a word')
        continue
      }
      const value = convert(pair.value, pathTo(path, name), key.at)
      const first = entries.get(name)
      if (first)
        report.problem(key.at, pathTo(path, name), `"${name}" is here twice: first in line ${first.at.line}`)
      else entries.set(name, { at: key.at, value })
    }
    return { kind: 'map', at, entries }
  }

  return convert(document.contents, '', { line: 1, column: 1 })
}
