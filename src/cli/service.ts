import type { Command } from 'commander'
import type { Context } from './context.js'
import { services, serviceWithBackends } from './rows.js'

export const addService = (program: Command, { withClient, print, paint }: Context): void => {
  const service = program
    .command('service')
    .alias('svc')
    .description('the services: VIP, port, protocol and their backends')
  service
    .command('list')
    .description('all services')
    .action(async () => {
      print(await withClient(client => client.service.list()), rows => services(rows, paint))
    })
  service
    .command('show <service>')
    .description('one service with its backends')
    .action(async (name: string) => {
      print(await withClient(client => client.service.show(name)), row => serviceWithBackends(row, paint))
    })
}
