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
  'FLOWS',
  'PACKETS',
  'REPLIES',
  'FORWARD',
  'SOURCE',
  'MTU',
  'NEXT HOP',
]

/** Why a backend gets nothing, else by where its packets leave. */
const nextHop = ({ nextHop, reason }: BackendRow): Cell => {
  if (reason !== null) return { text: reason, colour: 'yellow' }
  return nextHop === null ? '-' : `${nextHop.mac} on ${nextHop.interface}`
}

const share = (slots: number, ringSize: number | undefined): string =>
  ringSize ? `${((100 * slots) / ringSize).toFixed(1)}%` : '-'

/** "draining, out in 532s at the latest": what was ordered, and how far it is. */
const state = ({ state, drain }: BackendRow): string => {
  if (drain === null) return state
  if (drain.isOut) return state === 'draining' ? 'drained' : state
  return drain.remaining === null ? state : `${state} ${drain.remaining}s`
}

/** Live tracked flows; with a + where there may be more. */
const flows = ({ flows, flowsAtLeast }: BackendRow): string =>
  flows === null ? '-' : `${flows}${flowsAtLeast ? '+' : ''}`

/** "gre, key 7". */
const forward = ({ forward, tunnel }: BackendRow): string =>
  [
    forward,
    ...(tunnel?.key == null ? [] : [`key ${tunnel.key}`]),
    ...(tunnel?.port == null ? [] : [`port ${tunnel.port}`]),
    ...(tunnel?.variant ? [`variant ${tunnel.variant}`] : []),
  ].join(', ')

const cells = (row: BackendRow, name: string, ringSize: number | undefined): readonly Cell[] => [
  name,
  endpoint(row.address, row.port).replace(/:0$/, ':*'),
  row.weight,
  { text: state(row), colour: row.state === 'enabled' ? null : 'yellow' },
  { text: row.health, colour: healthColours[row.health] ?? null },
  row.slots,
  share(row.slots, ringSize),
  flows(row),
  row.packets,
  row.replies?.packets ?? '-',
  forward(row),
  row.tunnel?.source ?? '-',
  row.mtu ?? '-',
  nextHop(row),
]

/** The backends of one service, by name. */
export const backendsOf = (service: ServiceRow, paint: Paint, indent = 0): string => {
  const rows = service.backends.map(row => cells(row, row.backend, service.ringSize))
  if (rows.length === 0) return `${' '.repeat(indent)}no backends\n`
  return columns(rows, unused(service.backends), paint, indent)
}

/** What all of them lack. */
const unused = (rows: readonly BackendRow[]): readonly string[] => [
  ...(rows.some(({ flows }) => flows !== null) ? [] : ['FLOWS']),
  ...(rows.some(({ replies }) => replies !== null) ? [] : ['REPLIES']),
  ...(rows.some(({ tunnel }) => tunnel !== null) ? [] : ['SOURCE']),
  ...(rows.some(({ tunnel, replies }) => tunnel !== null || replies !== null) ? [] : ['FORWARD', 'MTU']),
]

const columns = (
  rows: readonly (readonly Cell[])[],
  without: readonly string[],
  paint: Paint,
  indent = 0,
): string => {
  const isShown = (_: unknown, i: number): boolean => !without.includes(backendHeadings[i]!)
  return table(
    backendHeadings.filter(isShown),
    rows.map(row => row.filter(isShown)),
    paint,
    indent,
  )
}

/** Backends of any services, by "service/backend". The share of a ring is known where all of its slots' owners are listed. */
export const backends = (rows: readonly BackendRow[], paint: Paint): string => {
  if (rows.length === 0) return 'no backends\n'
  const lines = rows.map(row => cells(row, `${row.service}/${row.backend}`, undefined))
  return columns(lines, ['SHARE', ...unused(rows)], paint)
}

export const services = (rows: readonly ServiceRow[], paint: Paint): string => {
  const headings = [
    'SERVICE',
    'VIP',
    'FORWARD',
    'SCHEDULER',
    'RING',
    'TRACKED',
    'DIGEST',
    'UP',
    'PACKETS',
    'BYTES',
  ]
  const lines = rows.map(row => {
    const staying = row.backends.filter(({ state }) => state !== 'leaving')
    const up = staying.filter(({ health }) => health === 'up').length
    const isWhole = up === staying.length
    const upCell: Cell = {
      text: `${up}/${staying.length}`,
      colour: up === 0 ? 'red' : isWhole ? 'green' : 'yellow',
    }
    const { service, forward, scheduler, ringSize, digest, packets, bytes } = row
    const tracked = percent(row.trackedShare)
    return [
      service,
      serviceEndpoint(row),
      forward,
      scheduler,
      ringSize,
      tracked,
      digest,
      upCell,
      packets,
      bytes,
    ]
  })
  return lines.length === 0 ? 'no services\n' : table(headings, lines, paint)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

/** "slots 64226 untracked, 1311 learning (2.0% tracked); last change wrote 812, 66349 in all". */
const slotsInWords = ({ slotStates, trackedSlots, trackedShare, ...row }: ServiceRow): string => {
  const states = Object.entries(slotStates).filter(([, slots]) => slots > 0)
  const tracked = trackedSlots === 0 ? '' : ` (${percent(trackedShare)} tracked)`
  const written = `last change wrote ${row.slotsWritten}, ${row.slotsWrittenInAll} in all`
  return `slots ${states.map(([state, slots]) => `${slots} ${state}`).join(', ')}${tracked}; ${written}`
}

const unforwardedInWords = ({ unforwarded: { packets, bytes } }: ServiceRow): readonly string[] =>
  packets === '0' ? [] : [`${packets} packets (${bytes} bytes) not forwarded`]

/** "from 10.1.0.100, 10.1.0.101 and 14 more, ports 1024-65535, with TOA; established 900s, ..." */
const translationInWords = ({ translation }: ServiceRow): readonly string[] => {
  if (translation === null) return []
  const { localAddresses, localPorts, toa, timeouts } = translation
  const some = localAddresses.slice(0, 2).join(', ')
  const more = localAddresses.length > 2 ? ` and ${localAddresses.length - 2} more` : ''
  const from =
    localAddresses.length === 0
      ? []
      : [`from ${some}${more}, ports ${localPorts.first}-${localPorts.last}${toa ? ', with TOA' : ''}`]
  const words = Object.entries(timeouts).map(
    ([state, seconds]) => `${state.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)} ${seconds}s`,
  )
  return [...from, `connections: ${words.join(', ')}`]
}

/** A service's facts, then its backends. */
export const serviceWithBackends = (row: ServiceRow, paint: Paint): string => {
  const facts = [
    serviceEndpoint(row),
    row.forward,
    row.scheduler,
    `${row.ringSize} slots`,
    `no backend: ${row.noBackend}`,
    ...(row.mss === 'keep' ? [] : [`mss: ${row.mss}`]),
    ...(row.ping === 'answer' ? [] : [`ping: ${row.ping}`]),
    `digest ${row.digest}`,
  ]
  const more = [...translationInWords(row), slotsInWords(row), ...unforwardedInWords(row)]
    .map(line => `  ${line}\n`)
    .join('')
  return `${paint(row.service, 'bold')}  ${facts.join('  ')}\n${more}${backendsOf(row, paint, 2)}`
}
