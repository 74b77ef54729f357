import { Argument, type Command, InvalidArgumentError } from 'commander'
import type { BackendRow, ChangedRow } from '../control/protocol.js'
import { address, backendName, durationMs, mac, macOrNone, port, weight } from './arguments.js'
import type { Context } from './context.js'
import { backends } from './rows.js'
import { waitUntilOut } from './wait-until-out.js'

type Name = ReturnType<typeof backendName>

interface AddOptions {
  readonly address: string
  readonly port?: number
  readonly weight?: number
  readonly mac?: string
}

interface SetOptions {
  readonly weight?: number
  readonly mac?: string | null
}

interface DrainOptions {
  readonly deadline?: number
  readonly wait?: number | true
}

export const addBackend = (program: Command, context: Context): void => {
  const { withClient, print, paint } = context
  const noun = program.command('backend').alias('be').description('the real servers behind the services')
  const name = () => new Argument('<service/backend>', 'such as web/b2').argParser(backendName)
  const warn = ({ warning }: { readonly warning?: string }): void => {
    if (warning !== undefined)
      context.io.stderr.write(`warning: a restart would lose this change: ${warning}\n`)
  }
  const printRow = (row: BackendRow): void => print(row, row => backends([row], paint))
  const printChanged = (row: ChangedRow): void => {
    warn(row)
    printRow(row)
  }

  noun
    .command('list [service]')
    .description('all backends, or those of a service')
    .action(async (service?: string) => {
      print(await withClient(client => client.backend.list(service)), rows => backends(rows, paint))
    })
  noun
    .command('show')
    .description('one backend')
    .addArgument(name())
    .action(async ({ service, backend }: Name) => {
      printRow(await withClient(client => client.backend.show(service, backend)))
    })
  noun
    .command('add')
    .description('put a backend into a service')
    .addArgument(name())
    .requiredOption('--address <address>', 'IPv4 or IPv6', address)
    .option('--port <port>', "default: the service's", port)
    .option('--weight <weight>', '0 to 1000, default 1; 0 takes no flows', weight)
    .option('--mac <mac>', 'a static next hop', mac)
    .action(async ({ service, backend }: Name, options: AddOptions) => {
      printChanged(await withClient(client => client.backend.add(service, backend, options)))
    })
  noun
    .command('set')
    .description('change a backend')
    .addArgument(name())
    .option('--weight <weight>', '0 to 1000; 0 takes no flows', weight)
    .option('--mac <mac>', 'a static next hop; none: resolve it again', macOrNone)
    .action(async ({ service, backend }: Name, options: SetOptions) => {
      if (Object.keys(options).length === 0)
        throw new InvalidArgumentError('nothing to set: give --weight or --mac')
      printChanged(await withClient(client => client.backend.set(service, backend, options)))
    })
  noun
    .command('remove')
    .description('take a backend out of a service; its connections stay until they end')
    .addArgument(name())
    .option('--now', 'cut its connections')
    .action(async ({ service, backend }: Name, options: { readonly now?: boolean }) => {
      const removed = await withClient(client => client.backend.remove(service, backend, options))
      warn(removed)
      print(removed, ({ service, backend, isLeaving }) =>
        isLeaving
          ? `removed ${service}/${backend}: it is leaving, and goes when its connections have ended\n`
          : `removed ${service}/${backend}\n`,
      )
    })
  noun
    .command('drain')
    .description('give a backend no new connections; the old ones stay')
    .addArgument(name())
    .option('--deadline <duration>', 'out after this time in any case, such as 10m', durationMs)
    .option('--wait [duration]', 'return when it is out (exit 8 when that takes longer)', durationMs)
    .action(async ({ service, backend }: Name, { deadline, wait }: DrainOptions) => {
      const options = deadline === undefined ? {} : { deadline: deadline / 1000 }
      const row = await withClient(client => client.backend.drain(service, backend, options))
      warn(row)
      printRow(
        wait === undefined
          ? row
          : await waitUntilOut(context, service, backend, wait === true ? Number.POSITIVE_INFINITY : wait),
      )
    })
  for (const [verb, description] of [
    ['undrain', 'end a drain: the backend takes new connections again'],
    ['disable', 'take a backend out at once, with its connections'],
    ['enable', 'take back a drain or a disable'],
  ] as const)
    noun
      .command(verb)
      .description(description)
      .addArgument(name())
      .action(async ({ service, backend }: Name) => {
        printChanged(await withClient(client => client.backend[verb](service, backend)))
      })
}
