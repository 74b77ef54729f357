import type { Command } from 'commander'
import { instancePaths } from '../instance.js'
import type { Context } from './context.js'

interface DetachOptions {
  readonly pinDir?: string
  readonly stateDir?: string
}

interface Outcome {
  readonly pid: number | null
  readonly interfaces: readonly number[]
  readonly removed: boolean
  readonly left: readonly string[]
}

const inWords = (directory: string, { pid, interfaces, removed, left }: Outcome): string => {
  if (pid === null && !removed && left.length === 0)
    return `nothing to detach: no daemon runs, and nothing is pinned in ${directory}\n`
  const lines: string[] = []
  if (pid !== null) lines.push(`the daemon, process ${pid}, has ended`)
  if (removed)
    lines.push(
      `detached from ${interfaces.length} interface${interfaces.length === 1 ? '' : 's'}; ${directory} is removed`,
    )
  for (const path of left) lines.push(`${path} is not of Linimo: left alone`)
  return `${lines.join('\n')}\n`
}

export const addDetach = (program: Command, context: Context): void => {
  program
    .command('detach')
    .description('end the daemon, if it runs, and remove everything: links, program, maps, pins')
    .option('--pin-dir <path>', 'where it pins (default /sys/fs/bpf/linimo/INSTANCE)')
    .option('--state-dir <path>', 'where it keeps its state (default /var/lib/linimo/INSTANCE)')
    .action(async ({ pinDir, stateDir }: DetachOptions) => {
      const socketPath = context.socketPath()
      const paths = instancePaths(context.instance(), { socketPath, pinDir, stateDir })
      const { detachInstance } = await import('../detach.js')
      context.print(await detachInstance(paths), outcome => inWords(paths.pinDir, outcome))
    })
}
