import type { Command } from 'commander'
import type { RingView } from '../control/protocol.js'
import { list } from './arguments.js'
import type { Context } from './context.js'
import { table } from './table.js'

interface RingOptions {
  readonly slots?: boolean
  readonly down?: readonly string[]
  readonly config?: string
}

const percent = (share: number): string => `${(100 * share).toFixed(3)}%`

const inWords = ({ service, size, digest, backends, owners }: RingView, { paint }: Context): string => {
  const rows = backends.map(({ backend, slots, expected, actual }) => [
    backend,
    slots,
    percent(expected),
    percent(actual),
  ])
  const shares = table(['BACKEND', 'SLOTS', 'EXPECTED', 'ACTUAL'], rows, paint)
  const slots = owners?.map((owner, slot) => `${slot} ${owner ?? '-'}\n`).join('')
  return `${service}: ${size} slots, digest ${digest}\n${shares}${slots === undefined ? '' : `\n${slots}`}`
}

const show = async (
  context: Context,
  service: string,
  { slots, down, config: file }: RingOptions,
): Promise<void> => {
  const supposed = { ...(slots === undefined ? {} : { slots }), ...(down === undefined ? {} : { down }) }
  let ring: RingView
  if (file === undefined) {
    ring = await context.withClient(client => client.ring.show(service, supposed))
  } else {
    const text = await context.readConfig(file)
    const [{ parseConfig }, { ringView }] = await Promise.all([
      import('../config.js'),
      import('../ring-view.js'),
    ])
    ring = ringView(parseConfig(text).config, service, supposed)
  }
  context.print(ring, ring => inWords(ring, context))
}

export const addRing = (program: Command, context: Context): void => {
  program
    .command('ring')
    .description('which backend owns which slots')
    .command('show <service>')
    .description("the shares of a service's ring")
    .option('--slots', 'add the owner of each slot')
    .option('--down <backends>', 'suppose these down: b1,b2', list)
    .option('--config <file>', 'compute it from a configuration file: no daemon is needed')
    .action((service: string, options: RingOptions) => show(context, service, options))
}
