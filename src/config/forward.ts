/**
 * Reads how packets reach the backends of a service, or one of them: a word, `forward: gue`, or a map,
 * `forward: { mode: gue, port: 6080 }`. What a mode takes besides may also stand beside `forward` (`key: 7`).
 */
import { DEFAULT_GUE_PORT, type Forward, type ForwardMode } from '../model.js'
import { childPath, type Fields, readFields, readLeaf } from './fields.js'
import type { Position, Report } from './problem.js'
import { type forwardKeys, forwardMode, forwardShape } from './schema.js'
import type { Node } from './source.js'

/** What was said, and where. */
interface Said<T> {
  readonly value: T
  readonly at: Position
  readonly path: string
}

/** What is not there was not said, or was wrong and has been reported. */
export interface ForwardDraft {
  /** A mode was said that there is not. */
  readonly isUnclear?: true
  readonly mode?: Said<ForwardMode>
  readonly key?: Said<number>
  readonly port?: Said<number>
  readonly variant?: Said<0 | 1>
}

/** The mode that takes each. */
const takenBy = { key: 'gre', port: 'gue', variant: 'gue' } as const
/** Their names beside `forward`. */
const besideNames = { key: 'key', port: 'tunnel-port', variant: 'variant' } as const
const optionNames = ['key', 'port', 'variant'] as const

const UNCLEAR = { isUnclear: true } as const

const readInside = (node: Node, path: string, report: Report): ForwardDraft => {
  if (node.kind !== 'map') {
    const value = readLeaf(forwardMode, node, 'forward', path, report)
    return value === undefined ? UNCLEAR : { mode: { value, at: node.at, path } }
  }
  const { values, at } = readFields(forwardShape, node, node.at, path, report)
  const { mode, key, port, variant } = values
  return {
    ...(mode === undefined && node.entries.has('mode') ? UNCLEAR : {}),
    ...(mode === undefined ? {} : { mode: { value: mode, at: at('mode'), path: childPath(path, 'mode') } }),
    ...(key === undefined ? {} : { key: { value: key, at: at('key'), path: childPath(path, 'key') } }),
    ...(port === undefined ? {} : { port: { value: port, at: at('port'), path: childPath(path, 'port') } }),
    ...(variant === undefined
      ? {}
      : { variant: { value: variant, at: at('variant'), path: childPath(path, 'variant') } }),
  }
}

/** @param path of the service or the backend that the keys are of */
export const readForward = (
  { values, at }: Fields<typeof forwardKeys>,
  path: string,
  report: Report,
): ForwardDraft => {
  const { forward } = values
  const inside = forward ? readInside(forward, childPath(path, 'forward'), report) : {}
  const beside = <T>(value: T | undefined, option: (typeof optionNames)[number]) => {
    const name = besideNames[option]
    if (value === undefined) return {}
    const said = { value, at: at(name), path: childPath(path, name) }
    if (inside[option]) report.problem(said.at, said.path, `${name} is in forward already`)
    return { [option]: said }
  }
  return {
    ...inside,
    ...beside(values.key, 'key'),
    ...beside(values['tunnel-port'], 'port'),
    ...beside(values.variant, 'variant'),
  }
}

/** @returns null when what was said, and has been reported, leaves it open */
export const modeFrom = (own: ForwardDraft, service: ForwardDraft = {}): ForwardMode | null => {
  if (own.mode) return own.mode.value
  return own.isUnclear || service.isUnclear ? null : (service.mode?.value ?? 'dr')
}

/** Says what the mode has no use for. @param mode the one that is in effect there */
export const checkForward = (draft: ForwardDraft, mode: ForwardMode | null, report: Report): void => {
  if (mode === null) return
  for (const option of optionNames) {
    const said = draft[option]
    if (!said || takenBy[option] === mode) continue
    const name = said.path.slice(said.path.lastIndexOf('.') + 1)
    report.problem(said.at, said.path, `${name} is for forward: ${takenBy[option]}, not ${mode}`)
  }
}

/** What is said nowhere has its default; a backend goes on with what its service says of the same mode. */
export const forwardFrom = (own: ForwardDraft, service?: ForwardDraft): Forward => {
  const mode = modeFrom(own, service) ?? 'dr'
  const inherited = service && modeFrom(service) === mode ? service : {}
  const { key, port, variant } = { ...inherited, ...own }
  switch (mode) {
    case 'gre':
      return { mode, key: key?.value ?? null }
    case 'gue':
      return { mode, port: port?.value ?? DEFAULT_GUE_PORT, variant: variant?.value ?? 0 }
    case 'nat':
    case 'fullnat':
      return { mode }
    default:
      return { mode }
  }
}

/** Whether a backend says anything of its own. */
export const saysForward = (draft: ForwardDraft): boolean => Object.keys(draft).length > 0
