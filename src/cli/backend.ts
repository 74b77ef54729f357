import { Argument, type Command, InvalidArgumentError } from 'commander'
import type { BackendRow } from '../control/protocol.js'
import { address, backendName, mac, macOrNone, port, weight } from './arguments.js'
import type { Context } from './context.js'
import { backends } from './rows.js'

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

export const addBackend = (program: Command, { withClient, print, paint }: Context): void => {
  const noun = program.command('backend').alias('be').description('the real servers behind the services')
  const name = () => new Argument('<service/backend>', 'such as web/b2').argParser(backendName)
  const printRow = (row: BackendRow): void => print(row, row => backends([row], paint))

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
      printRow(await withClient(client => client.backend.add(service, backend, options)))
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
      printRow(await withClient(client => client.backend.set(service, backend, options)))
    })
  noun
    .command('remove')
    .description('take a backend out of a service')
    .addArgument(name())
    .action(async ({ service, backend }: Name) => {
      const removed = await withClient(client => client.backend.remove(service, backend))
      print(removed, ({ service, backend }) => `removed ${service}/${backend}\n`)
    })
}
