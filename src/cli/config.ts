/** check, diff, apply: the configuration file and what runs. */
import type { Command } from 'commander'
import type { Change, DiffResult, Impact, Results } from '../control/protocol.js'
import { BalancerError } from '../errors.js'
import type { Context } from './context.js'

/** `diff` exits with this when something would change. */
const EXIT_DIFFERENT = 10

const signs = { add: '+', remove: '-', change: '~' } as const

const inWords = (changes: readonly Change[], none: string): string =>
  changes.length === 0
    ? `${none}\n`
    : changes
        .map(
          ({ action, kind, name, detail }) =>
            `${signs[action]} ${kind} ${name}${detail === '' ? '' : `: ${detail}`}\n`,
        )
        .join('')

const warn = ({ io }: Context, warnings: readonly string[]): void => {
  for (const warning of warnings) io.stderr.write(`warning: ${warning}\n`)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

const impactInWords = ({
  service,
  slotsMoved,
  slots,
  packetShare,
  flows,
  breaks,
  reason,
}: Impact): string => {
  const moved = `${slotsMoved} of ${slots} slots would move (${percent(slotsMoved / slots)})`
  const packets =
    packetShare === null
      ? 'no packets in the last minute'
      : `${percent(packetShare)} of the last minute's packets`
  const why = reason === null ? '' : `${breaks ? '; BREAKS connections' : ''}: ${reason}`
  return `${service}: ${moved}, ${packets}, live flows: ${flows}${why}\n`
}

/** What apply would do; what it would throw away; what that does to the flows. */
const diffInWords = ({ changes, drift, impact, breaks }: DiffResult): string => {
  const lost = drift.filter(({ isThrownAway }) => isThrownAway)
  const kept = drift.filter(({ isThrownAway }) => !isThrownAway)
  return [
    lost.length + kept.length > 0 && changes.length > 0 ? 'apply would change:\n' : '',
    inWords(changes, 'nothing would change'),
    lost.length > 0 ? `changed at run time, thrown away by apply:\n${inWords(lost, '')}` : '',
    kept.length > 0 ? `changed at run time, and in the file as well:\n${inWords(kept, '')}` : '',
    ...impact.map(impactInWords),
    breaks ? 'connections that are not tracked cannot be kept: apply wants --force\n' : '',
  ].join('')
}

interface ConfigOptions {
  readonly config?: string
  readonly force?: boolean
  readonly dryRun?: boolean
}

/** Sends the text of the file, or nothing: then the daemon reads its own, whose name it tells for its problems. */
const withConfig = <T>(
  context: Context,
  file: string | undefined,
  ask: (client: Parameters<Parameters<Context['withClient']>[0]>[0], text: string | undefined) => Promise<T>,
): Promise<T> =>
  context.withClient(async client => {
    const text = file === undefined ? undefined : await context.readConfig(file)
    try {
      return await ask(client, text)
    } catch (error) {
      if (text === undefined && error instanceof BalancerError && error.code === 'ERR_CONFIG_INVALID')
        context.setConfigFile((await client.status()).config.path)
      throw error
    }
  })

const check = async (context: Context, { config: file }: ConfigOptions): Promise<void> => {
  let result: Results['check']
  if (file === undefined) {
    result = await withConfig(context, undefined, client => client.check())
  } else {
    const text = await context.readConfig(file)
    const { parseConfig } = await import('../config.js')
    result = { ok: true, warnings: parseConfig(text).warnings }
  }
  context.print(result, ({ warnings }) => {
    warn(context, warnings)
    return `${file ?? 'the configuration'}: ok\n`
  })
}

const diff = async (context: Context, { config: file }: ConfigOptions): Promise<void> => {
  const result = await withConfig(context, file, (client, text) => client.diff(text))
  context.print(result, result => {
    warn(context, result.warnings)
    return diffInWords(result)
  })
  if (result.changes.length > 0) context.setExitCode(EXIT_DIFFERENT)
}

const apply = async (context: Context, options: ConfigOptions): Promise<void> => {
  if (options.dryRun) return diff(context, options)
  const { config, force } = options
  const result = await withConfig(context, config, (client, text) =>
    client.apply(text, force ? { force } : {}),
  )
  context.print(result, ({ changes, warnings }) => {
    warn(context, warnings)
    return inWords(changes, 'nothing changed')
  })
}

export const addConfig = (program: Command, context: Context): void => {
  const file = ['--config <file>', "the configuration file (default: the daemon's own, read again)"] as const
  program
    .command('check')
    .description('check a configuration file; with --config no daemon is needed')
    .option(...file)
    .action((options: ConfigOptions) => check(context, options))
  program
    .command('diff')
    .description(`show what apply would change; exits with ${EXIT_DIFFERENT} when that is anything`)
    .option(...file)
    .action((options: ConfigOptions) => diff(context, options))
  program
    .command('apply')
    .description('make a configuration file the running one, whatever was changed at run time')
    .option(...file)
    .option('--dry-run', 'as diff')
    .option('--force', 'also where that breaks connections that cannot be kept')
    .action((options: ConfigOptions) => apply(context, options))
}
