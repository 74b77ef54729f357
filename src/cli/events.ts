import type { Command } from 'commander'
import type { Event } from '../control/protocol.js'
import { BalancerError } from '../errors.js'
import type { Context } from './context.js'

const because = (reason: string | null): string => (reason === null ? '' : `: ${reason}`)

const inWords = (event: Event): string => {
  switch (event.kind) {
    case 'health':
      return `${event.service}/${event.backend} is ${event.health}${because(event.reason)}`
    case 'next-hop': {
      const state = event.reason === null ? 'has a next hop' : 'has no next hop'
      return `${event.service}/${event.backend} ${state}${because(event.reason)}`
    }
    case 'interface':
      return `${event.name} ${event.mode === null ? 'is not attached' : `is attached, ${event.mode}`}${because(event.reason)}`
    case 'admin': {
      const state = event.isOut ? (event.state === 'leaving' ? 'gone' : 'drained') : event.state
      return `${event.service}/${event.backend} is ${state}${because(event.reason)}`
    }
    case 'change': {
      const changes = event.changes.map(({ action, kind, name, detail }) =>
        `${action} ${kind} ${name} ${detail}`.trimEnd(),
      )
      return `${event.by}: ${changes.join(', ')}`
    }
  }
}

/** Each event with the time at which it came, until the daemon ends. */
const follow = (context: Context): Promise<void> =>
  context.withClient(async client => {
    const { io } = context
    await client.subscribe(event => {
      const time = new Date().toISOString()
      if (context.isJson()) io.stdout.write(`${JSON.stringify({ time, ...event })}\n`)
      else io.stdout.write(`${time} ${event.kind} ${inWords(event)}\n`)
    })
    const stopped = new Promise<'stopped'>(resolve => {
      if (io.signal?.aborted) resolve('stopped')
      io.signal?.addEventListener('abort', () => resolve('stopped'), { once: true })
    })
    if ((await Promise.race([stopped, client.closed])) !== 'stopped')
      throw new BalancerError('ERR_CONNECTION_LOST', 'the daemon has ended the connection')
  })

export const addEvents = (program: Command, context: Context): void => {
  program
    .command('events')
    .description('print what happens, as it happens; with --json one object a line')
    .action(() => follow(context))
}
