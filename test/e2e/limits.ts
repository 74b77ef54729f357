import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ServiceRow } from '../../src/control/protocol.js'
import type { Daemon } from '../../src/lab/daemon.js'
import { brokenOf, EVERY_MS, echoConfig, hold, PORT } from '../fixtures/echo-site.js'
import { logged } from '../fixtures/logged.js'
import { openPinnedSite, type PinnedSite, pinnedConfig } from '../fixtures/pinned-site.js'
import { attachedXdp, type ConfigFile, serve, skip } from '../fixtures/site.js'

const openSite = async (
  t: Test,
): Promise<PinnedSite & { readonly config: (limits: object, changes?: object) => ConfigFile }> => {
  const site = await openPinnedSite(t)
  const { lab } = site
  await Promise.all(lab.backends.map(backend => serve(backend, 'tcp-named', backend.name, PORT)))
  const { services } = pinnedConfig(lab) as { services: object }
  const { echo } = echoConfig(lab, undefined, { 'idle-time': '15m' }).services
  return {
    ...site,
    config: (limits, changes = {}) =>
      pinnedConfig(lab, { limits, services: { ...services, echo: { ...echo, ...changes } } }),
  }
}

const trackedOf = async (daemon: Daemon): Promise<number[]> =>
  (await daemon.json<ServiceRow[]>('service', 'list')).map(({ trackedSlots }) => trackedSlots)

t.test(
  'limits that are changed at run time, or while the daemon is down, break nothing',
  { skip },
  async t => {
    const site = await openSite(t)
    const { lab, config } = site
    let daemon = site.start(config({ flows: 65536 }))
    await daemon.ready()
    const stream = await site.stream()
    const holders = [await hold({ lab, daemon }, 60)]
    const drained = lab.backends.map(({ name, address }) => ({
      name,
      address,
      weight: name === 'b2' ? 0 : 1,
    }))
    const file = (limits: object): string => JSON.stringify(config(limits, { backends: drained }))
    daemon.writeConfig(file({ flows: 65536 }))
    t.equal((await daemon.linimo('apply')).code, 0)
    holders.push(await hold({ lab, daemon }, 60))
    await sleep(2 * EVERY_MS)
    const tracked = await trackedOf(daemon)
    t.ok(tracked[0]! > 1000, `tracked slots: ${tracked.join(', ')}`)

    const steps = [
      { limits: { flows: 1048576 }, isDown: false },
      { limits: { flows: 16384, services: 4096, backends: 65536, slots: 8388608 }, isDown: false },
      { limits: { flows: 262144 }, isDown: true },
      { limits: { flows: 8192, backends: 131072 }, isDown: true },
    ]
    for (const { limits, isDown } of steps) {
      const before = await attachedXdp(lab.balancer, 'eth0')
      if (isDown) await daemon.stop('SIGKILL')
      else daemon.writeConfig(file(limits))
      const during = hold({ lab, daemon }, 100)
      if (isDown) {
        daemon = site.start(JSON.parse(file(limits)))
        await daemon.ready()
      } else {
        const { code, stderr } = await daemon.linimo('apply')
        t.equal(code, 0, stderr)
      }
      holders.push(await during)
      await sleep(2 * EVERY_MS)
      t.not(
        (await attachedXdp(lab.balancer, 'eth0'))?.id,
        before?.id,
        `another program: ${JSON.stringify(limits)}`,
      )
      t.ok(logged(daemon, 'flows.copied').length > 0, 'with what was remembered')
      t.ok((await trackedOf(daemon)).every((slots, i) => slots >= 0.9 * tracked[i]!))
    }
    for (const one of holders) {
      const report = await one.report()
      t.same([brokenOf(report), report.moved], [0, 0], JSON.stringify(report.held))
    }
    const { sent, lost, torn } = await stream.end()
    t.same({ lost, torn }, { lost: 0, torn: 0 }, `${sent} packets`)
  },
)

t.test(
  'what a service needs is switched on by a start on pins, and off when none needs it',
  { skip },
  async t => {
    const site = await openSite(t)
    const { lab, config } = site
    const untracked = (changes: object): ConfigFile => {
      const { services, ...rest } = config({}, changes) as { services: Record<string, object> }
      const all = Object.entries(services).map(
        ([name, one]) => [name, { tracking: 'never', ...one }] as const,
      )
      return { ...rest, services: Object.fromEntries(all) }
    }
    const first = site.start(untracked({}))
    await first.ready()
    const old = await hold({ lab, daemon: first }, 60)
    const stream = await site.stream()
    await first.stop('SIGKILL')

    const second = site.start(untracked({ tracking: 'on-change' }))
    await second.ready()
    await second.json('backend', 'drain', 'echo/b2', '--deadline', '10m')
    await sleep(2 * EVERY_MS)
    t.ok((await trackedOf(second))[0]! > 1000, 'tracked')
    t.equal(brokenOf(await old.report()), 0, 'none of the connections broke')
    await second.stop('SIGKILL')

    // Every port: also one that no service had.
    const third = site.start(untracked({ tracking: 'on-change', port: 0, health: null }))
    await third.ready()
    const every = await hold({ lab, daemon: third }, 10)
    t.equal(brokenOf(await every.report()), 0)
    const before = await attachedXdp(lab.balancer, 'eth0')
    await third.stop('SIGKILL')
    const fourth = site.start(untracked({ tracking: 'on-change' }))
    await fourth.ready()
    t.not((await attachedXdp(lab.balancer, 'eth0'))?.id, before?.id, 'another program')
    const { sent, lost, torn } = await stream.end()
    t.same({ lost, torn }, { lost: 0, torn: 0 }, `${sent} packets`)
  },
)
