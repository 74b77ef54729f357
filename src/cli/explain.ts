import { type Command, InvalidArgumentError } from 'commander'
import type { Context } from './context.js'

interface ExplainOptions {
  readonly config: string
  readonly interface?: string
  readonly packet?: string
  readonly packets?: string
}

export const addExplain = (program: Command, context: Context): void => {
  program
    .command('explain')
    .description(
      'run the data plane on frames and say what becomes of them; needs no daemon, touches no interface',
    )
    .requiredOption('--config <file>', 'the configuration to load')
    .option('--interface <name>', "where the frames enter (default: the configuration's first)")
    .option('--packet <hex>', 'one frame')
    .option('--packets <file>', 'frames, one in hex a line')
    .action(async ({ config, interface: interfaceName, packet, packets }: ExplainOptions) => {
      if ((packet === undefined) === (packets === undefined))
        throw new InvalidArgumentError('give either --packet HEX or --packets FILE')
      context.setConfigFile(config)
      const { runExplain } = await import('../explain.js')
      const options = { configPath: config, interfaceName, packet, packetsPath: packets }
      context.setExitCode(await runExplain(options, context.io.stdout, context.io.stderr))
    })
}
