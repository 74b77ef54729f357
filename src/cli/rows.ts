/** Services and backends as lines of a table. */
import type { BackendRow, ServiceRow } from '../control/protocol.js'
import type { Colour, Paint } from './paint.js'
import { type Cell, table } from './table.js'

const healthColours: Readonly<Record<string, Colour>> = { up: 'green', down: 'red', unknown: 'yellow' }

const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** "192.0.2.10:80/tcp"; a service of every port has "*". */
export const serviceEndpoint = ({ vip, port, protocol }: ServiceRow): string =>
  `${endpoint(vip, port).replace(/:0$/, ':*')}/${protocol}`

const backendHeadings = [
  'BACKEND',
  'ADDRESS',
  'WEIGHT',
  'STATE',
  'HEALTH',
  'SLOTS',
  'SHARE',
  'PACKETS',
  'NEXT HOP',
]

/** Why a backend gets nothing, else by where its packets leave. */
const nextHop = ({ nextHop, reason }: BackendRow): Cell => {
  if (reason !== null) return { text: reason, colour: 'yellow' }
  return nextHop === null ? '-' : `${nextHop.mac} on ${nextHop.interface}`
}

const share = (slots: number, ringSize: number | undefined): string =>
  ringSize ? `${((100 * slots) / ringSize).toFixed(1)}%` : '-'

const cells = (row: BackendRow, name: string, ringSize: number | undefined): readonly Cell[] => [
  name,
  endpoint(row.address, row.port).replace(/:0$/, ':*'),
  row.weight,
  { text: row.state, colour: row.state === 'enabled' ? null : 'yellow' },
  { text: row.health, colour: healthColours[row.health] ?? null },
  row.slots,
  share(row.slots, ringSize),
  row.packets,
  nextHop(row),
]

/** The backends of one service, by name. */
export const backendsOf = (service: ServiceRow, paint: Paint, indent = 0): string => {
  const rows = service.backends.map(row => cells(row, row.backend, service.ringSize))
  return rows.length === 0
    ? `${' '.repeat(indent)}no backends\n`
    : table(backendHeadings, rows, paint, indent)
}

/** Backends of any services, by "service/backend". The share of a ring is known where all of its slots' owners are listed. */
export const backends = (rows: readonly BackendRow[], paint: Paint): string => {
  const headings = backendHeadings.filter(heading => heading !== 'SHARE')
  const lines = rows.map(row =>
    cells(row, `${row.service}/${row.backend}`, undefined).filter((_, i) => i !== SHARE),
  )
  return lines.length === 0 ? 'no backends\n' : table(headings, lines, paint)
}

const SHARE = backendHeadings.indexOf('SHARE')

export const services = (rows: readonly ServiceRow[], paint: Paint): string => {
  const headings = ['SERVICE', 'VIP', 'FORWARD', 'SCHEDULER', 'RING', 'DIGEST', 'UP', 'PACKETS', 'BYTES']
  const lines = rows.map(row => {
    const up = row.backends.filter(({ health }) => health === 'up').length
    const isWhole = up === row.backends.length
    const upCell: Cell = {
      text: `${up}/${row.backends.length}`,
      colour: up === 0 ? 'red' : isWhole ? 'green' : 'yellow',
    }
    const { service, forward, scheduler, ringSize, digest, packets, bytes } = row
    return [service, serviceEndpoint(row), forward, scheduler, ringSize, digest, upCell, packets, bytes]
  })
  return lines.length === 0 ? 'no services\n' : table(headings, lines, paint)
}

/** A service's facts in one line, then its backends. */
export const serviceWithBackends = (row: ServiceRow, paint: Paint): string => {
  const facts = [
    serviceEndpoint(row),
    row.forward,
    row.scheduler,
    `${row.ringSize} slots`,
    `no backend: ${row.noBackend}`,
    `digest ${row.digest}`,
  ]
  return `${paint(row.service, 'bold')}  ${facts.join('  ')}\n${backendsOf(row, paint, 2)}`
}
