/** Flows as lines of a table, however many: the first ones fix the columns' widths. */
import type { FlowRow } from '../control/protocol.js'
import type { Paint } from './paint.js'

const headings = [
  'KIND',
  'SERVICE',
  'PROTO',
  'CLIENT',
  'SERVER',
  'BACKEND',
  'LOCAL',
  'STATE',
  'IDLE',
  'EXPIRES',
  'ID',
]

const endpoint = (address: string | null, port: number | null): string => {
  if (address === null) return '-'
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

const cells = (row: FlowRow): readonly string[] => [
  row.kind,
  row.service ?? '-',
  row.protocol,
  endpoint(row.client, row.clientPort),
  endpoint(row.server, row.serverPort),
  row.backend ?? '-',
  endpoint(row.local, row.localPort),
  row.dropped ? `${row.state}, dropped` : row.state,
  `${row.idle}s`,
  `${row.expires}s`,
  row.id ?? '-',
]

export interface FlowTable {
  /** The lines of some more flows; the heading before the first. */
  lines(rows: readonly FlowRow[]): string
}

export const createFlowTable = (paint: Paint): FlowTable => {
  let widths: readonly number[] | null = null
  return {
    lines: rows => {
      const texts = rows.map(cells)
      const isFirst = widths === null
      const fixed =
        widths ?? headings.map((heading, i) => Math.max(heading.length, ...texts.map(one => one[i]!.length)))
      widths = fixed
      const line = (one: readonly string[]): string =>
        one
          .map((text, i) => text.padEnd(fixed[i]!))
          .join('  ')
          .trimEnd()
      const heading = isFirst ? [paint(line(headings), 'dim')] : []
      return [...heading, ...texts.map(line)].map(text => `${text}\n`).join('')
    },
  }
}
