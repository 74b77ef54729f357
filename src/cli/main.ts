/** The command line: noun, then verb. Built on the exported client; what needs no daemon is imported when it is used. */
import { Command, CommanderError } from 'commander'
import { addBackend } from './backend.js'
import { addCompletion } from './completion.js'
import { addConfig } from './config.js'
import { createContext } from './context.js'
import { addDemo } from './demo.js'
import { addDetach } from './detach.js'
import { addEvents } from './events.js'
import { addExplain } from './explain.js'
import { asJson, asText, exitCodeOf, toFailure } from './failure.js'
import { addFlow } from './flow.js'
import type { Io } from './io.js'
import { addJoin } from './join.js'
import { addRing } from './ring.js'
import { addRun } from './run.js'
import { addService } from './service.js'
import { addStatus } from './status.js'
import { addVersion, packageVersion } from './version.js'

const createProgram = (io: Io): Command =>
  new Command('linimo')
    .description('Layer-4 load balancer: XDP data plane, Maglev consistent hashing')
    .version(packageVersion(), '-V, --version', 'print the version')
    .option('--instance <name>', 'the daemon meant, where several run (env LINIMO_INSTANCE; default main)')
    .option('--socket <path>', 'its control socket (default /run/linimo/INSTANCE/control.sock)')
    .option('--json', 'print JSON, also for an error')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: text => io.stdout.write(text),
      writeErr: text => io.stderr.write(text),
      outputError: () => undefined, // told with all other failures, below
    })
    .exitOverride()

/**
 * Runs one command.
 *
 * @param argv the words after `linimo`
 * @returns what the process should exit with
 */
export const main = async (argv: readonly string[], io: Io): Promise<number> => {
  const program = createProgram(io)
  const context = createContext(argv, io, program)
  const adders = [
    addRun,
    addConfig,
    addStatus,
    addService,
    addBackend,
    addRing,
    addFlow,
    addExplain,
    addEvents,
    addDemo,
    addDetach,
    addJoin,
    addCompletion,
    addVersion,
  ]
  for (const add of adders) add(program, context)

  try {
    await program.parseAsync(argv, { from: 'user' })
    return context.exitCode()
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0 // help or version was asked for
    if (error instanceof CommanderError && error.code === 'commander.help') return 2 // a verb is missing: help was printed
    const failure = toFailure(error)
    io.stderr.write(argv.includes('--json') ? asJson(failure) : asText(failure, context.configFile()))
    return exitCodeOf(failure)
  }
}
