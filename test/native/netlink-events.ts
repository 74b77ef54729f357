import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { NetlinkEvent } from '../../src/native.js'
import { ifindexOf, run, until, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'

const { Netlink } = native

const subscribed = (t: { teardown(close: () => unknown): void }): readonly NetlinkEvent[] => {
  const netlink = new Netlink()
  t.teardown(() => netlink.close())
  const events: NetlinkEvent[] = []
  netlink.subscribe(batch => events.push(...batch))
  return events
}

/** A process that runs a script with `native` and `run`, in this namespace. */
const child = (script: string, ...flags: string[]) =>
  spawn(
    process.execPath,
    [
      ...process.execArgv,
      ...flags,
      '--input-type=module',
      '--eval',
      `import { native } from '${new URL('../fixtures/native.js', import.meta.url)}'
       import { run } from '${new URL('../fixtures/host.js', import.meta.url)}'
       ${script}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('links, addresses, routes and neighbours come as they change', async t => {
    const events = subscribed(t)
    const seen = (what: string, matches: (event: NetlinkEvent) => boolean) =>
      until(what, () => events.some(matches)).then(() => t.pass(what))
    vethPair(t, 'one', 'two')
    const one = ifindexOf('one')
    run('ip addr add 10.9.0.1/24 dev one')
    run('ip route add 10.50.0.0/16 via 10.9.0.2')
    run('ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev one')
    run('ip neigh delete 10.9.0.2 dev one')
    run('ip route delete 10.50.0.0/16')
    run('ip addr delete 10.9.0.1/24 dev one')
    run('ip link add three type veth peer name four')
    run('ip link delete three')
    for (const change of ['new', 'delete'] as const) {
      await seen(`link ${change}`, e => e.kind === 'link' && e.change === change && e.link.name === 'three')
      await seen(
        `address ${change}`,
        e => e.kind === 'address' && e.change === change && e.address.ifindex === one,
      )
      await seen(
        `route ${change}`,
        e => e.kind === 'route' && e.change === change && e.route.destination.join('.') === '10.50.0.0',
      )
      await seen(
        `neighbour ${change}`,
        e => e.kind === 'neighbour' && e.change === change && e.neighbour.address.join('.') === '10.9.0.2',
      )
    }
  })

  t.test('a port that leaves its bridge is no link that goes', async t => {
    vethPair(t, 'one', 'two')
    run('ip link add bridge0 type bridge')
    run('ip link set one master bridge0')
    const events = subscribed(t)
    run('ip link set one nomaster')
    run('ip link delete bridge0')
    await until('the bridge goes', () =>
      events.some(e => e.kind === 'link' && e.change === 'delete' && e.link.name === 'bridge0'),
    )
    t.notOk(events.some(e => e.kind === 'link' && e.change === 'delete' && e.link.name === 'one'))
  })

  t.test('a second subscription, or one without a function, is refused', async t => {
    const netlink = new Netlink()
    t.throws(() => netlink.subscribe('events' as never), { name: 'TypeError' })
    netlink.subscribe(() => {})
    t.throws(() => netlink.subscribe(() => {}), { code: 'EBUSY' })
    netlink.close()
  })

  t.test('nothing comes after close', async t => {
    const netlink = new Netlink()
    let calls = 0
    netlink.subscribe(() => calls++)
    const events = subscribed(t)
    run('ip link add three type veth peer name four')
    run('ip link delete three') // both have read these; neither callback has run yet
    netlink.close()
    await until('the other subscriber is called', () => events.length > 0)
    t.equal(calls, 0)
  })

  t.test('a subscription does not keep the process alive', async t => {
    const [code] = await once(child('new native.Netlink().subscribe(() => {})'), 'exit')
    t.equal(code, 0)
  })

  t.test('an exception in the callback is an uncaught exception', async t => {
    const [code] = await once(
      child(`
        process.on('uncaughtException', error => process.exit(error.message === 'mine' ? 7 : 1))
        new native.Netlink().subscribe(() => { throw new Error('mine') })
        run('ip link add three type veth peer name four')
        run('ip link delete three')
        setTimeout(() => process.exit(3), 20_000)`),
      'exit',
    )
    t.equal(code, 7)
  })

  t.test('events that overran the socket are told as such', async t => {
    const subscriber = child(`
      new native.Netlink().subscribe(events => {
        if (events.some(event => event.kind === 'overrun')) process.exit(9)
      })
      setTimeout(() => process.exit(3), 30_000)
      console.log('ready')`)
    t.teardown(() => subscriber.kill('SIGKILL'))
    await once(subscriber.stdout, 'data')
    subscriber.kill('SIGSTOP')
    run('ip link set lo up')
    const batch = spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'inherit', 'inherit'] })
    for (let i = 0; i < 40_000; i++)
      batch.stdin.write(`route ${i % 2 ? 'delete' : 'add'} local 10.50.0.0/16 dev lo table 1000\n`)
    batch.stdin.end()
    await once(batch, 'exit')
    subscriber.kill('SIGCONT')
    const [code] = await once(subscriber, 'exit')
    t.equal(code, 9)
  })
} else if (skip) {
  t.test('netlink events', { skip }, async () => {})
}
