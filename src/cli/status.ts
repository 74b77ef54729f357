import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Status } from '../control/protocol.js'
import { BalancerError } from '../errors.js'
import { durationMs } from './arguments.js'
import type { Context } from './context.js'
import { serviceWithBackends } from './rows.js'
import { table } from './table.js'

const DEFAULT_WAIT_MS = 30_000
const RETRY_MS = 100

const interfaceInWords = ({ name, mode, reason }: Status['interfaces'][number]): string =>
  `${name} ${mode ?? 'not attached'}${reason === null ? '' : ` (${reason})`}`

const journalInWords = ({ journal }: Status, paint: Context['paint']): readonly string[] => {
  if (journal === null) return []
  const { entries, error } = journal
  const held =
    entries === 0 ? 'nothing changed at run time' : `${entries} changed at run time: linimo diff shows them`
  return [
    `journal     ${held}`,
    ...(error === null ? [] : [paint(`            a restart would lose changes: ${error}`, 'red')]),
  ]
}

const flowCacheInWords = ({ flowCache }: Status): readonly string[] => {
  if (flowCache === null) return []
  const { entries, live, inserted, deferred, refused, unremembered, lastSweep } = flowCache
  const swept = lastSweep === null ? 'not swept yet' : `swept in ${Math.round(1000 * lastSweep.duration)} ms`
  const isFull = [deferred, refused, unremembered].some(count => count !== '0')
  return [
    `flow cache  ${live} live of ${entries} entries, ${inserted} entered, ${swept}`,
    ...(isFull
      ? [`            found no place: ${deferred} deferred, ${refused} refused, ${unremembered} unremembered`]
      : []),
  ]
}

const poolsInWords = ({ pools }: Status, paint: Context['paint']): readonly string[] =>
  pools.map(({ pool, addresses, ports, used, opened, refused }, i) => {
    const more = addresses.length > 1 ? ` and ${addresses.length - 1} more` : ''
    const counts = `${used} used of ${ports} ports, ${opened} opened`
    const lack = refused === '0' ? '' : paint(`, ${refused} refused: exhausted`, 'red')
    const heading = (i === 0 ? 'pools' : '').padEnd(12)
    return `${heading}${pool}${more}: ${counts}${lack}`
  })

const metricsInWords = ({ http }: Status, paint: Context['paint']): readonly string[] => {
  if (http === null) return []
  return [
    `metrics     http://${http.listen.replace(/^:/, '*:')}/metrics`,
    ...(http.error === null ? [] : [paint(`            ${http.error}`, 'red')]),
  ]
}

const inWords = (status: Status, { paint }: Context): string => {
  const { config } = status
  const lines = [
    `${paint(`linimo ${status.instance}`, 'bold')}  ${status.ready ? paint('ready', 'green') : paint('not ready', 'yellow')}` +
      `  version ${status.version}, process ${status.pid}, since ${status.startedAt}`,
    `config      ${config.path}, applied ${config.appliedAt}`,
    ...(config.error === null
      ? []
      : [paint(`            the file is not what runs: ${config.error}`, 'red')]),
    `interfaces  ${status.interfaces.map(interfaceInWords).join(', ') || 'none'}`,
    `program     ${status.program.tag}`,
    ...flowCacheInWords(status),
    ...poolsInWords(status, paint),
    ...journalInWords(status, paint),
    ...metricsInWords(status, paint),
    '',
  ]
  const services = status.services.map(service => `${serviceWithBackends(service, paint)}\n`)
  const counted = Object.entries(status.verdicts).filter(([, { packets }]) => packets !== '0')
  const verdicts = table(
    ['VERDICT', 'PACKETS', 'BYTES'],
    counted.map(([name, { packets, bytes }]) => [name, packets, bytes]),
    paint,
  )
  return `${lines.join('\n')}\n${services.join('')}${counted.length === 0 ? 'no packets yet\n' : verdicts}`
}

/** What `ready` still waits for. */
const missing = ({ interfaces, services }: Status): string => {
  const detached = interfaces.filter(({ mode }) => mode === null).map(({ name }) => `${name} is not attached`)
  const unchecked = services
    .flatMap(({ backends }) => backends)
    .filter(({ health }) => health === 'unknown')
    .map(({ service, backend }) => `${service}/${backend} has no result of a health check`)
  return [...detached, ...unchecked].slice(0, 5).join(', ') || 'the daemon is not ready'
}

/** Asks until the daemon is ready, also while its socket is not there yet. */
const waitUntilReady = async (context: Context, waitMs: number): Promise<Status> => {
  const deadline = performance.now() + waitMs
  for (;;) {
    let why: string
    try {
      const status = await context.withClient(client =>
        client.status({ timeoutMs: Math.max(1, deadline - performance.now()) }),
      )
      if (status.ready) return status
      why = missing(status)
    } catch (error) {
      const codes = ['ERR_NOT_REACHABLE', 'ERR_CONNECTION_LOST', 'ERR_TIMEOUT']
      if (!(error instanceof BalancerError) || !codes.includes(error.code)) throw error
      why = error.message
    }
    if (performance.now() + RETRY_MS > deadline)
      throw new BalancerError('ERR_TIMEOUT', `not ready within ${waitMs / 1000} s: ${why}`)
    await sleep(RETRY_MS)
  }
}

export const addStatus = (program: Command, context: Context): void => {
  program
    .command('status')
    .description('the state of the daemon, its interfaces, services and backends on one screen')
    .option(
      '--wait [duration]',
      'return when it is attached and every check has a result (default 30s)',
      durationMs,
    )
    .action(async ({ wait }: { readonly wait?: number | true }) => {
      const status =
        wait === undefined
          ? await context.withClient(client => client.status())
          : await waitUntilReady(context, wait === true ? DEFAULT_WAIT_MS : wait)
      context.print(status, status => inWords(status, context))
    })
}
