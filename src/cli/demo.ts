import type { Command } from 'commander'
import type { Context } from './context.js'

export const addDemo = (program: Command, { argv }: Context): void => {
  program
    .command('demo [args...]')
    .description('balance real requests in a lab of network namespaces: --hold leaves it up')
    .allowUnknownOption()
    .action(async () => {
      // a program of its own, which reads the words after its name and ends the process
      process.argv.splice(2, process.argv.length, ...argv.slice(argv.indexOf('demo') + 1))
      await import('../demo/main.js')
    })
}
