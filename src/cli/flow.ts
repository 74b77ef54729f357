import { type Command, InvalidArgumentError, Option } from 'commander'
import type { FlowCount, FlowDrop, FlowRow, FlowState } from '../control/protocol.js'
import { parseClients } from '../flows/client.js'
import { flowStates } from '../flows/states.js'
import { count } from './arguments.js'
import type { Context } from './context.js'
import { createFlowTable } from './flow-table.js'
import { table } from './table.js'

interface FilterOptions {
  readonly backend?: string
  readonly client?: string
  readonly state?: FlowState
}

/** Written at once. */
const ROWS_A_WRITE = 500

const client = (word: string): string => {
  if (parseClients(word) !== null) return word
  throw new InvalidArgumentError('It is an address, a prefix, or ADDRESS:PORT.')
}

/** Waits while the reader, a pager perhaps, has enough to read. */
const write = async ({ io: { stdout } }: Context, text: string): Promise<void> => {
  if (!stdout.write(text)) await new Promise(resolve => stdout.once('drain', resolve))
}

/** JSON: one array, a row a line. */
const printer = (context: Context) => {
  const { lines } = createFlowTable(context.paint)
  let printed = 0
  const json = (rows: readonly FlowRow[]): string =>
    rows.map((row, i) => `${printed + i === 0 ? '[' : ','}\n${JSON.stringify(row)}`).join('')
  return {
    rows: async (rows: readonly FlowRow[]): Promise<void> => {
      if (rows.length === 0) return
      await write(context, context.isJson() ? json(rows) : lines(rows))
      printed += rows.length
    },
    end: (): Promise<void> => {
      if (context.isJson()) return write(context, printed === 0 ? '[]\n' : '\n]\n')
      return write(context, printed === 0 ? 'no flows\n' : '')
    },
  }
}

const list = (
  context: Context,
  options: FilterOptions & { readonly service?: string; readonly limit?: number },
) =>
  context.withClient(async ({ flow }) => {
    const print = printer(context)
    let rows: FlowRow[] = []
    for await (const row of flow.list(options)) {
      rows.push(row)
      if (rows.length < ROWS_A_WRITE) continue
      await print.rows(rows)
      rows = []
    }
    await print.rows(rows)
    await print.end()
  })

const countInWords = (counted: FlowCount, { paint }: Context): string => {
  const { total, dropped, kinds, states, services } = counted
  const some = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .filter(([, one]) => one > 0)
      .map(([name, one]) => `${one} ${name}`)
      .join(', ')
  if (total === 0) return 'no flows\n'
  const rows = services.flatMap(({ service, backends }) =>
    backends.map(({ backend, total }) => [`${service}/${backend}`, total]),
  )
  return [
    `${total} ${total === 1 ? 'flow' : 'flows'}${dropped === 0 ? '' : `, ${dropped} of them dropped`}\n`,
    `by kind     ${some(kinds)}\n`,
    `by state    ${some(states)}\n`,
    rows.length === 0 ? '' : `\n${table(['BACKEND', 'FLOWS'], rows, paint)}`,
  ].join('')
}

const dropInWords = ({ dropped, tracked }: FlowDrop): string =>
  `dropped ${dropped} ${dropped === 1 ? 'connection' : 'connections'}\n${
    tracked === 0
      ? ''
      : `${tracked} tracked ${tracked === 1 ? 'flow stays' : 'flows stay'}: they cannot be dropped\n`
  }`

const ID = /^\d+:[0-9a-f]{8}$/

const dropHelp = `
A TCP connection is marked: its client gets a reset with its next packet, and so does its server; an end that
sends nothing notices nothing, until the entry expires. UDP is forgotten at once, and a client that goes on sending
begins a new flow. Tracked flows (direct routing, tunnels) cannot be dropped: forgetting one would move it to
another backend instead of ending it.

  linimo flow drop web --client 192.0.2.7:40001     one connection
  linimo flow drop 66560:1f9a0c33                   the same, by its id in the list
  linimo flow drop web --backend b2                 all of a backend's
  linimo flow drop --all                            all there are`

const trackedHelp = `
Connections of fullnat, snat, and nat by flow are listed with their addresses. A tracked flow is what the flow cache
knows: its backend, half-open, open or closed, and when it was last seen (to 4 s), but no address, so --client never
matches it. Flows in slots that are not tracked have no state, and are not listed.`

export const addFlow = (program: Command, context: Context): void => {
  const noun = program
    .command('flow')
    .description('connections that are translated, and flows that are tracked')
  const withFilter = (command: Command): Command =>
    command
      .option('--backend <name>', 'with this backend')
      .option('--client <prefix>', 'opened from these: an address, a prefix, or ADDRESS:PORT', client)
  const state = (): Option => new Option('--state <state>', 'in this state').choices(flowStates)

  withFilter(noun.command('list [service]'))
    .description('flows, of all services or of one, as they are found')
    .addOption(state())
    .option('--limit <n>', 'no more than these', count)
    .addHelpText('after', trackedHelp)
    .action((service: string | undefined, options: FilterOptions & { readonly limit?: number }) =>
      list(context, { ...options, ...(service === undefined ? {} : { service }) }),
    )
  withFilter(noun.command('count [service]'))
    .description('how many there are: by kind, by state, by service and backend')
    .addOption(state())
    .addHelpText('after', trackedHelp)
    .action(async (service: string | undefined, options: FilterOptions) => {
      const filter = { ...options, ...(service === undefined ? {} : { service }) }
      context.print(await context.withClient(client => client.flow.count(filter)), counted =>
        countInWords(counted, context),
      )
    })
  withFilter(noun.command('drop [service|id]'))
    .description('end connections: both ends are reset with their next packets')
    .addOption(state())
    .option('--all', 'all there are')
    .addHelpText('after', dropHelp)
    .action(async (word: string | undefined, options: FilterOptions & { readonly all?: boolean }) => {
      const named = word === undefined ? {} : ID.test(word) ? { id: word } : { service: word }
      context.print(
        await context.withClient(client => client.flow.drop({ ...options, ...named })),
        dropInWords,
      )
    })
}
