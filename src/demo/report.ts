/** What the demo found, for people and for programs. */
import type { Status } from '../control/protocol.js'
import type { Transfer } from '../lab/transfer.js'

/** Shares are 0..1. */
export interface Share {
  readonly backend: string
  readonly requests: number
  readonly expected: number
  readonly actual: number
}

/** What `--json` prints. */
export interface Report {
  /** As the backends' own logs count them. */
  readonly requests: number
  /** As the client counts them. */
  readonly failed: number
  readonly backends: readonly Share[]
  readonly download: Transfer
  readonly upload: Transfer
  readonly failover: {
    /** From the stop of a backend to the end of the last request that failed. */
    readonly seconds: number
    readonly failed: number
  }
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`

/** Columns, the first to the left, the others to the right. */
const table = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  return rows
    .map(row =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .map(line => `  ${line.trimEnd()}`)
    .join('\n')
}

export const shareTable = (shares: readonly Share[]): string =>
  table([
    ['backend', 'requests', 'expected', 'actual'],
    ...shares.map(share => [
      share.backend,
      String(share.requests),
      percent(share.expected),
      percent(share.actual),
    ]),
  ])

export const transferLine = (name: string, { bytes, seconds, intact }: Transfer): string =>
  `${name}: ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(2)} s, ${intact ? 'intact' : 'DAMAGED'}`

/** The counters of the data plane: verdicts that occurred, and each backend's packets. */
export const counterTables = (status: Status): string => {
  const verdicts = Object.entries(status.verdicts).filter(([, count]) => count.packets !== '0')
  const backends = status.services.flatMap(service => service.backends)
  return [
    table([
      ['verdict', 'packets', 'bytes'],
      ...verdicts.map(([verdict, count]) => [verdict, count.packets, count.bytes]),
    ]),
    table([
      ['backend', 'new flows', 'packets', 'bytes'],
      ...backends.map(row => [`${row.service}/${row.backend}`, row.newFlows, row.packets, row.bytes]),
    ]),
  ].join('\n\n')
}
