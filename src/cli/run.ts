import { type Command, Option } from 'commander'
import { instancePaths } from '../instance.js'
import type { LogLevel } from '../log.js'
import type { Context } from './context.js'

interface RunOptions {
  readonly config: string
  readonly pinDir?: string
  readonly pin: boolean
  readonly detachOnExit?: boolean
  readonly stateDir?: string
  readonly logLevel: LogLevel
}

export const addRun = (program: Command, context: Context): void => {
  program
    .command('run')
    .description('run the daemon in the foreground')
    .requiredOption('--config <file>', 'its configuration')
    .option(
      '--pin-dir <path>',
      'where in bpffs it pins maps, program and links, by which packets flow on without it (default /sys/fs/bpf/linimo/INSTANCE)',
    )
    .option('--no-pin', 'pin nothing: packets stop with the daemon')
    .option('--detach-on-exit', 'detach at SIGTERM and SIGINT, instead of leaving packets flowing')
    .option('--state-dir <path>', 'where it keeps its state (default /var/lib/linimo/INSTANCE)')
    .addOption(
      new Option('--log-level <level>', 'how much it logs')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .action(async ({ config, pinDir, pin, detachOnExit, stateDir, logLevel }: RunOptions) => {
      const instance = context.instance()
      const paths = instancePaths(instance, { socketPath: context.socketPath(), pinDir, stateDir })
      context.setConfigFile(config)
      const { runDaemon } = await import('../main.js')
      await runDaemon({
        configPath: config,
        instance,
        logLevel,
        ...paths,
        pinDir: pin ? paths.pinDir : null,
        detachOnExit: detachOnExit ?? false,
      })
    })
}
