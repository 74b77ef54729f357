/** Reads `tunnel-source`: one address or prefix, or a list with one of each family. */
import { addressFamily } from '../address.js'
import { readLeaf } from './fields.js'
import type { Position, Report } from './problem.js'
import { tunnelSource } from './schema.js'
import type { Node } from './source.js'

export interface TunnelSource {
  readonly source: string
  readonly at: Position
  readonly path: string
}

const KEY = 'tunnel-source'

const readOne = (node: Node, key: string, path: string, report: Report): TunnelSource[] => {
  const source = readLeaf(tunnelSource, node, key, path, report)
  return source === undefined ? [] : [{ source, at: node.at, path }]
}

export const readTunnelSource = (node: Node, path: string, report: Report): readonly TunnelSource[] => {
  if (node.kind !== 'list') return readOne(node, KEY, path, report)
  if (node.items.length === 0) report.problem(node.at, path, `${KEY} must not be empty`)
  const read = node.items.flatMap((item, i) => readOne(item, `each of ${KEY}`, `${path}[${i}]`, report))
  read.forEach(({ source, at, path }, i) => {
    const family = addressFamily(source)
    const first = read.slice(0, i).find(other => addressFamily(other.source) === family)
    if (first)
      report.problem(
        at,
        path,
        `${KEY} has two of IPv${family}, ${first.source} and ${source}: one of each family`,
      )
  })
  return read
}
