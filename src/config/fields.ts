/** Reads the keys of a map by a shape: every key on its own, so that each problem is found. */
import { z } from 'zod'
import { didYouMean, nearestWord } from './did-you-mean.js'
import type { Position, Report } from './problem.js'
import type { MapNode, Node } from './source.js'

/** One value. */
export interface Leaf<T> {
  readonly kind: 'leaf'
  /** What it must be: "a number from 1 to 5". */
  readonly what: string
  readonly schema: z.ZodType<T>
  /** Text, even if YAML takes it for a number or a boolean. */
  readonly asWritten: boolean
  /** Words that would do, for a did-you-mean. */
  readonly words: readonly string[]
}

/** Several values, none twice. */
export interface List<T> {
  readonly kind: 'list'
  readonly of: Leaf<T>
}

/** Whatever is there: its reader checks it. */
export interface Nested {
  readonly kind: 'nested'
}

// biome-ignore lint/complexity/noBannedTypes: a leaf of anything but null and undefined
type Field = Leaf<{}> | List<{}> | Nested
export type Shape = Readonly<Record<string, Field>>
type ValueOf<F> =
  F extends Leaf<infer T> ? T : F extends List<infer T> ? readonly T[] : F extends Nested ? Node : never
export type Values<S extends Shape> = { readonly [K in keyof S]?: ValueOf<S[K]> }

/** What was read of a map: what is missing, or was wrong and has been reported, is not there. */
export interface Fields<S extends Shape> {
  readonly values: Values<S>
  /** The place of a key's value, or of what should hold it. */
  readonly at: (key: keyof S & string) => Position
}

interface LeafOptions {
  readonly asWritten?: boolean
  readonly words?: readonly string[]
}

export const leaf = <T>(what: string, schema: z.ZodType<T>, options: LeafOptions = {}): Leaf<T> => ({
  kind: 'leaf',
  what,
  schema,
  asWritten: options.asWritten ?? false,
  words: options.words ?? [],
})

export const list = <T>(of: Leaf<T>): List<T> => ({ kind: 'list', of })
export const nested: Nested = { kind: 'nested' }

/** A check of a leaf fails with this message; otherwise the leaf says what it must be. */
export const refuse = (context: z.RefinementCtx, message: string, hint?: string): never => {
  context.addIssue({ code: 'custom', message, params: { hint } })
  return z.NEVER
}

export const childPath = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

const isAbsent = (node: Node): boolean => node.kind === 'scalar' && node.value === null

/** A value as a message shows it. */
const shown = (node: Node): string => {
  if (node.kind !== 'scalar') return node.kind === 'map' ? 'a map' : 'a list'
  if (node.value === null) return 'empty'
  const text = node.text ?? JSON.stringify(node.value) ?? String(node.value)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

/** @param key how a message calls it */
export const readLeaf = <T>(
  field: Leaf<T>,
  node: Node,
  key: string,
  path: string,
  report: Report,
): T | undefined => {
  const mustBe = `${key} must be ${field.what}, not ${shown(node)}`
  if (node.kind !== 'scalar') {
    report.problem(node.at, path, mustBe)
    return undefined
  }
  const isText = field.asWritten && node.text !== null && node.text !== '' && !isAbsent(node)
  const result = field.schema.safeParse(isText ? node.text : node.value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const own = issue?.code === 'custom' ? issue : null
  const hint =
    own?.params?.hint ?? (typeof node.value === 'string' ? didYouMean(node.value, field.words) : null)
  report.problem(node.at, path, own ? `${key} ${own.message}` : mustBe, hint)
  return undefined
}

const readList = <T>(
  field: List<T>,
  node: Node,
  key: string,
  path: string,
  report: Report,
): T[] | undefined => {
  if (node.kind !== 'list') {
    const hint = node.kind === 'scalar' && node.value !== null ? `write ${key}: [${shown(node)}]` : null
    report.problem(node.at, path, `${key} must be a list, not ${shown(node)}`, hint)
    return undefined
  }
  if (node.items.length === 0) report.problem(node.at, path, `${key} must not be empty`)
  const seen = new Map<T, Position>()
  node.items.forEach((item, index) => {
    const value = readLeaf(field.of, item, `each of ${key}`, `${path}[${index}]`, report)
    if (value === undefined) return
    const first = seen.get(value)
    if (first)
      report.problem(
        item.at,
        `${path}[${index}]`,
        `${key} has ${shown(item)} twice: first in line ${first.line}`,
      )
    else seen.set(value, item.at)
  })
  return [...seen.keys()]
}

/**
 * @param parent where to say that a key is missing: the place of the map's own key
 * @param required keys that must be there
 */
export const readFields = <S extends Shape>(
  shape: S,
  node: MapNode,
  parent: Position,
  path: string,
  report: Report,
  required: readonly (keyof S & string)[] = [],
): Fields<S> => {
  const known = Object.keys(shape)
  const meant = new Set<string | null>()
  for (const [key, { at }] of node.entries) {
    if (Object.hasOwn(shape, key)) continue
    const word = nearestWord(key, known)
    meant.add(word)
    const hint = word === null ? `the keys here are ${known.join(', ')}` : `did you mean ${word}?`
    report.problem(at, childPath(path, key), `unknown key "${key}"`, hint)
  }
  const values: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(shape)) {
    const entry = node.entries.get(key)
    const keyPath = childPath(path, key)
    if (!entry) {
      if (required.includes(key) && !meant.has(key)) report.problem(parent, keyPath, `"${key}" is missing`)
      continue
    }
    const { value } = entry
    if (field.kind === 'nested') {
      if (!isAbsent(value)) values[key] = value
    } else {
      const read =
        field.kind === 'leaf'
          ? readLeaf(field, value, key, keyPath, report)
          : readList(field, value, key, keyPath, report)
      if (read !== undefined) values[key] = read
    }
  }
  return { values: values as Values<S>, at: key => node.entries.get(key)?.value.at ?? parent }
}

/** @returns the node if it is a map; else that has been reported */
export const expectMap = (node: Node, key: string, path: string, report: Report): MapNode | null => {
  if (node.kind === 'map') return node
  report.problem(node.at, path, `${key} must be a map, not ${shown(node)}`)
  return null
}
