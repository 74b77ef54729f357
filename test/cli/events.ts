import t from 'tap'
import type { Event } from '../../src/control/protocol.js'
import { startDaemon } from '../control/fixtures/daemon.js'
import { linimo } from './fixtures/run.js'

const events: readonly Event[] = [
  { kind: 'health', service: 'web', backend: 'b1', health: 'down', reason: 'connection refused' },
  { kind: 'health', service: 'web', backend: 'b1', health: 'up', reason: null },
  { kind: 'next-hop', service: 'web', backend: 'b1', reason: 'no route' },
  { kind: 'next-hop', service: 'web', backend: 'b1', reason: null },
  { kind: 'interface', name: 'eth0', mode: 'generic', reason: 'no native XDP' },
  {
    kind: 'change',
    changes: [{ action: 'add', kind: 'backend', name: 'web/b4', detail: '' }],
    by: 'uid 0 pid 1',
  },
]

const follow = async (t: Parameters<typeof startDaemon>[0], ...options: string[]) => {
  let subscribed: () => void = () => undefined
  const isSubscribed = new Promise<void>(resolve => (subscribed = resolve))
  const { socketPath, server } = await startDaemon(t, {
    subscribe: async () => {
      setImmediate(subscribed) // the answer has left by then
      return { subscribed: true }
    },
  })
  const controller = new AbortController()
  let lines = 0
  const onOutput = () => {
    if (++lines === events.length) controller.abort()
  }
  const running = linimo(['events', ...options, '--socket', socketPath], {
    signal: controller.signal,
    onOutput,
  })
  await isSubscribed
  for (const event of events) server.publish(event)
  return running
}

t.test('events are lines', async t => {
  const { code, stdout } = await follow(t)
  t.equal(code, 0)
  t.same(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => line.replace(/^\S+Z /, '')),
    [
      'health web/b1 is down: connection refused',
      'health web/b1 is up',
      'next-hop web/b1 has no next hop: no route',
      'next-hop web/b1 has a next hop',
      'interface eth0 is attached, generic: no native XDP',
      'change uid 0 pid 1: add backend web/b4',
    ],
  )
})

t.test('events are JSON lines with --json, each with its time', async t => {
  const { stdout } = await follow(t, '--json')
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.same(
    lines.map(({ time, ...event }) => event),
    events,
  )
  for (const { time } of lines) t.equal(new Date(time).toISOString(), time)
})

t.test("the daemon's end is the command's", async t => {
  const { socketPath, server } = await startDaemon(t, {
    subscribe: async () => {
      setImmediate(() => server.close())
      return { subscribed: true }
    },
  })
  t.match(await linimo(['events', '--socket', socketPath]), { code: 4, stderr: /ended the connection/ })
})
