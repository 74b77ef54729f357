/** Reads `snat`: a prefix or a list of prefixes whose hosts' own connections leave from local addresses. */
import { readLeaf } from './fields.js'
import type { Position, Report } from './problem.js'
import { snatPrefix } from './schema.js'
import type { Node } from './source.js'

export interface SnatEntry {
  readonly prefix: string
  readonly at: Position
  readonly path: string
}

const KEY = 'snat'
/** snat_prefixes of bpf/connection.h: each is compared with every packet that leaves. */
export const MAX_SNAT_PREFIXES = 16

const readOne = (node: Node, key: string, path: string, report: Report): SnatEntry[] => {
  const prefix = readLeaf(snatPrefix, node, key, path, report)
  return prefix === undefined ? [] : [{ prefix, at: node.at, path }]
}

export const readSnat = (node: Node, report: Report): readonly SnatEntry[] => {
  if (node.kind !== 'list') return readOne(node, KEY, KEY, report)
  if (node.items.length === 0) report.problem(node.at, KEY, `${KEY} must not be empty`)
  if (node.items.length > MAX_SNAT_PREFIXES)
    report.problem(
      node.items[MAX_SNAT_PREFIXES]!.at,
      `${KEY}[${MAX_SNAT_PREFIXES}]`,
      `${KEY} has ${node.items.length} prefixes: at most ${MAX_SNAT_PREFIXES}`,
    )
  return node.items.flatMap((item, i) => readOne(item, `each of ${KEY}`, `${KEY}[${i}]`, report))
}
