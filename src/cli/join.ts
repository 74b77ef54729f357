/** join, leave: a backend host. No daemon is asked. */
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { BalancerError } from '../errors.js'
import type { CheckResult } from '../join/check.js'
import type { Finding } from '../join/finding.js'
import type { Flags } from '../join/flags.js'
import type { JoinResult, LeaveResult } from '../join/join.js'
import { list, packetSize } from './arguments.js'
import type { Context } from './context.js'

interface JoinOptions extends Flags {
  readonly from?: string
  readonly as?: string
  readonly check?: boolean
  readonly systemd?: boolean
  readonly state?: string
}

interface LeaveOptions {
  readonly state?: string
}

const signs: Readonly<Record<Finding['kind'], string>> = {
  wrong: 'wrong',
  refused: 'wrong',
  warning: 'warning',
}

const findingText = ({ kind, message, hint }: Finding): string => `${signs[kind]}: ${message}\n  ${hint}\n`

const countsText = (counts: Readonly<Record<string, number>>, none: string): string =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ') || none

const checkInWords = ({ ok, findings, decapsulators, toa }: CheckResult): string =>
  [
    ...findings.map(findingText),
    ...decapsulators.map(
      ({ interface: name, mode, counts }) =>
        `${name}: decapsulates, ${mode} XDP; ${countsText(counts, 'no packets so far')}\n`,
    ),
    toa ? `${toa.cgroup}: reads TCP option 254; ${countsText(toa.counts, 'no connections so far')}\n` : '',
    ok ? 'this host is ready as a backend\n' : '',
  ].join('')

const joinInWords = ({ changed, undone, warnings }: JoinResult): string =>
  [
    ...undone.map(text => `undone: ${text}\n`),
    ...changed.map(text => `${text}\n`),
    ...warnings.map(findingText),
    changed.length + undone.length === 0 ? 'nothing to change: this host is a backend already\n' : '',
  ].join('')

const leaveInWords = ({ undone, kept }: LeaveResult): string =>
  [
    ...undone.map(text => `undone: ${text}\n`),
    ...kept.map(text => `changed since, left as it is: ${text}\n`),
    undone.length + kept.length === 0 ? 'nothing to undo\n' : '',
  ].join('')

/** Each use of an option may hold several words. */
const gather = (word: string, before: readonly string[] | undefined): readonly string[] => [
  ...(before ?? []),
  ...list(word),
]

const wantedFrom = async (options: JoinOptions, context: Context) => {
  const { wantedFromFlags } = await import('../join/flags.js')
  if ((options.from === undefined) !== (options.as === undefined))
    throw new BalancerError('ERR_USAGE', '--from FILE and --as BACKEND go together')
  if (options.from === undefined) return wantedFromFlags(options)
  const { refuseSaid, wantedFromConfig } = await import('../join/from-config.js')
  refuseSaid(options)
  return wantedFromConfig(await context.readConfig(options.from), options.as!, options)
}

const withPath = ['--from', '--state', '--cgroup']

/** The words of a unit: this very command, but for what only prints, with absolute paths. */
const unitWords = (argv: readonly string[]): readonly string[] =>
  argv.slice(argv.indexOf('join')).flatMap((word, at, words) => {
    if (word === '--systemd' || word === '--json') return []
    if (withPath.includes(words[at - 1] ?? '')) return [resolve(word)]
    const [option = '', path] = word.split(/=(.*)/s)
    return withPath.includes(option) && path !== undefined ? [option, resolve(path)] : [word]
  })

const printUnit = async (options: JoinOptions, { argv, io }: Context): Promise<void> => {
  const { unitText } = await import('../join/systemd.js')
  const program = [process.execPath, ...process.execArgv, resolve(process.argv[1] ?? '')]
  const state = options.state === undefined ? [] : ['--state', resolve(options.state)]
  const [join, leave] = [unitWords(argv), ['leave', ...state]].map(words => [...program, ...words])
  io.stdout.write(unitText({ join: join!, leave: leave!, interfaces: options.interface ?? [] }))
}

export const addJoin = (program: Command, context: Context): void => {
  program
    .command('join')
    .description('make this host a backend: VIPs on the loopback, silence about them, tunnels taken apart')
    .option('--vip <addresses>', 'the VIPs, separated by commas', gather)
    .option('--interface <names>', "what the balancer's packets come in by", gather)
    .option('--forward <modes>', 'how they come: dr, ipip, gre, gue (default dr)', gather)
    .option('--port <ports>', "GUE's UDP port (default 6080)", gather)
    .option('--address <addresses>', "where tunnels lead to (default: the interface's addresses)", gather)
    .option('--from-balancer <prefixes>', 'believe tunnels from there alone', gather)
    .option('--mtu <bytes>', 'the longest packet that fits into the tunnels', packetSize)
    .option('--advmss <bytes>', 'the segment size that clients are told, as it is', packetSize)
    .option('--no-advmss', 'leave the segment size alone')
    .addOption(
      new Option('--xdp <mode>', 'how XDP is attached (default auto)').choices(['auto', 'native', 'generic']),
    )
    .option('--toa', 'tell processes the clients of connections that a balancer makes (TCP option 254)')
    .option('--no-toa', 'do not, though the configuration says that a balancer sends it')
    .option('--toa-from <prefixes>', "believe it of the balancers' local addresses alone", gather)
    .option('--cgroup <path>', 'for the processes of this cgroup (default: all of the host)')
    .option('--from <file>', "take all that from the balancer's configuration ...")
    .option('--as <backend>', '... for the backend of this name or address')
    .option('--check', 'change nothing, say what is wrong; exits with 1 when something is')
    .option('--systemd', 'print a systemd unit that joins at each boot')
    .option('--state <file>', 'where the changes are recorded (default /run/linimo/join-NAMESPACE.json)')
    .action(async (options: JoinOptions) => {
      const wanted = await wantedFrom(options, context)
      if (options.systemd) return printUnit(options, context)
      if (options.check) {
        const { checkBackend } = await import('../join/check.js')
        const result = await checkBackend(wanted)
        context.print(result, checkInWords)
        context.setExitCode(result.ok ? 0 : 1)
        return
      }
      const { joinBackend } = await import('../join/join.js')
      const { defaultStatePath } = await import('../join/state-file.js')
      context.print(await joinBackend(wanted, options.state ?? defaultStatePath()), joinInWords)
    })

  program
    .command('leave')
    .description('undo what join has done on this host')
    .option('--state <file>', 'where the changes are recorded (default /run/linimo/join-NAMESPACE.json)')
    .action(async ({ state }: LeaveOptions) => {
      const { leave } = await import('../join/join.js')
      const { defaultStatePath } = await import('../join/state-file.js')
      context.print(await leave(state ?? defaultStatePath()), leaveInWords)
    })
}
