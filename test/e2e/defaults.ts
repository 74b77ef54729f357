/** The daemon as an operator starts it, with its configuration and nothing else, where it keeps things by default. */
import { existsSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { BackendRow, Status } from '../../src/control/protocol.js'
import { CLI } from '../../src/lab/daemon.js'
import { type Lab, VIP } from '../../src/lab/lab.js'
import type { Exit, Running } from '../../src/lab/process.js'
import { attachedXdp, type ConfigFile, fetchNames, openLab, skip } from '../fixtures/site.js'

interface Machine {
  readonly lab: Lab
  readonly instance: string
  readonly configFile: string
  /** Runs a command on the balancer's host, with mounts of its own. */
  readonly there: (...command: readonly [string, ...string[]]) => Promise<Exit>
  readonly linimo: (...args: readonly string[]) => Promise<Exit>
  /** `linimo run` with the configuration and nothing else but the arguments given. */
  readonly run: (...args: readonly string[]) => Running
}

const MOUNTS = 'mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /run && mount -t bpf bpf /sys/fs/bpf'

/** The balancer's host with /var/lib, /run and /sys/fs/bpf of its own: they go with the process that holds them. */
const openMachine = async (t: Test): Promise<Machine> => {
  const lab = await openLab(t, { backends: 2 })
  const hold = `${MOUNTS} && echo ready && exec sleep 600`
  const holder = lab.balancer.start(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', hold])
  for (let waited = 0; !holder.output().stdout.includes('ready'); waited += 20) {
    if (waited > 10_000) throw new Error(`no mounts: ${holder.output().stderr}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  const instance = `${lab.prefix}-defaults`
  const configFile = `${lab.directory}/linimo.yaml`
  // The network namespace is the process's own, since its name is in /run.
  const enter = ['nsenter', '--target', String(holder.pid), '--mount', '--net'] as const
  const [program, ...options] = enter
  const cli = (...args: readonly string[]) => [process.execPath, CLI, ...args, '--instance', instance]
  return {
    lab,
    instance,
    configFile,
    there: (...command) => lab.balancer.capture([program, ...options, ...command]),
    linimo: (...args) => lab.balancer.capture([program, ...options, ...cli(...args)]),
    run: (...args) =>
      lab.balancer.start([program, ...options, ...cli('run', '--config', configFile, ...args)]),
  }
}

const configOf = (lab: Lab, weights: readonly number[]): ConfigFile => ({
  interfaces: ['eth0'],
  services: {
    web: {
      vip: VIP,
      port: 80,
      backends: lab.backends.map(({ name, address }, i) => ({ name, address, weight: weights[i] ?? 1 })),
    },
  },
})

const write = ({ configFile }: Machine, config: ConfigFile): void =>
  writeFileSync(configFile, JSON.stringify(config))

const ready = async ({ linimo }: Machine): Promise<Status> => {
  const { code, stdout, stderr } = await linimo('status', '--wait', '30s', '--json')
  if (code !== 0) throw new Error(`not ready: ${stderr}`)
  return JSON.parse(stdout) as Status
}

const shown = async ({ linimo }: Machine, backend: string): Promise<BackendRow> => {
  const { stdout, stderr } = await linimo('backend', 'show', backend, '--json')
  if (!stdout) throw new Error(stderr)
  return JSON.parse(stdout) as BackendRow
}

t.test('by default the packets outlive the daemon, and detach ends them', { skip }, async t => {
  const machine = await openMachine(t)
  const { lab, instance, linimo, there } = machine
  write(machine, configOf(lab, [1, 1]))
  const pins = `/sys/fs/bpf/linimo/${instance}`
  const first = machine.run()
  const { pid } = await ready(machine)
  t.equal((await there('test', '-d', `${pins}/links`)).code, 0, `it pins in ${pins}`)
  t.equal((await there('test', '-e', `/var/lib/linimo/${instance}/seed`)).code, 0)
  const service = JSON.parse((await linimo('service', 'show', 'web', '--json')).stdout) as { digest: string }

  const second = await machine.run().exited
  t.equal(second.code, 7)
  t.match(second.stderr, new RegExp(`process ${pid}\\b`), 'the owner is named')

  t.equal((await linimo('backend', 'set', 'web/b1', '--weight', '5')).code, 0)
  t.equal((await linimo('backend', 'drain', 'web/b2')).code, 0)
  const attached = await attachedXdp(lab.balancer, 'eth0')
  t.equal((await first.stop('SIGTERM')).code, 0)
  t.same(await attachedXdp(lab.balancer, 'eth0'), attached, 'SIGTERM leaves it attached')
  t.equal((await fetchNames(lab.client, VIP, 10)).length, 10, 'and the packets flowing')

  write(machine, configOf(lab, [1, 3]))
  const again = machine.run()
  await ready(machine)
  t.same(await attachedXdp(lab.balancer, 'eth0'), attached)
  t.match(await shown(machine, 'web/b1'), { weight: 5 }, 'what was changed at run time is kept')
  t.match(await shown(machine, 'web/b2'), { weight: 3, state: 'draining', slots: 0 }, 'and the file read')
  const diff = await linimo('diff', '--json')
  t.equal(diff.code, 10)
  const { drift } = JSON.parse(diff.stdout) as { drift: readonly { name: string; detail: string }[] }
  t.same(drift.map(({ name, detail }) => `${name} ${detail}`).sort(), [
    'web/b1 weight 1 -> 5',
    'web/b2 state enabled -> draining',
  ])
  write(machine, configOf(lab, [1, 1]))
  t.equal((await linimo('apply')).code, 0)
  t.equal((await linimo('diff')).code, 0)
  t.match(
    JSON.parse((await linimo('service', 'show', 'web', '--json')).stdout),
    { digest: service.digest },
    'the ring is that of the file again',
  )

  const detached = await linimo('detach')
  t.equal(detached.code, 0, detached.stderr)
  t.equal((await again.exited).code, 0, 'the daemon has ended')
  t.equal(await attachedXdp(lab.balancer, 'eth0'), null)
  t.not((await there('test', '-e', pins)).code, 0, 'nothing is pinned any more')
  t.match((await linimo('detach')).stdout, /nothing to detach/)
  t.notOk(existsSync(pins), 'nor was anything outside of this machine')
})

t.test('--detach-on-exit leaves nothing', { skip }, async t => {
  const machine = await openMachine(t)
  write(machine, configOf(machine.lab, [1, 1]))
  const running = machine.run('--detach-on-exit')
  await ready(machine)
  t.equal((await machine.there('ls', `/sys/fs/bpf/linimo/${machine.instance}`)).code, 0)
  t.equal((await running.stop('SIGINT')).code, 0)
  t.equal(await attachedXdp(machine.lab.balancer, 'eth0'), null)
  t.not((await machine.there('ls', `/sys/fs/bpf/linimo/${machine.instance}`)).code, 0)
})

t.test('without bpffs the start is refused with the command that mounts it', { skip }, async t => {
  const machine = await openMachine(t)
  const { lab, linimo, there } = machine
  write(machine, configOf(lab, [1, 1]))
  t.equal((await there('umount', '/sys/fs/bpf')).code, 0)
  // What is below it belongs to the machine that the tests run on.
  const isBpffs = async () => (await there('stat', '-f', '-c', '%T', '/sys/fs/bpf')).stdout.includes('bpf_fs')
  for (let mounts = 0; mounts < 8 && (await isBpffs()); mounts++) await there('umount', '/sys/fs/bpf')
  const { code, stderr } = await machine.run().exited
  t.equal(code, 1)
  t.match(stderr, /mount -t bpf bpf \/sys\/fs\/bpf/)
  t.match(stderr, /--no-pin/)
  t.equal(await attachedXdp(lab.balancer, 'eth0'), null)
  t.match((await linimo('detach')).stdout, /nothing to detach/)

  const without = machine.run('--no-pin')
  await ready(machine)
  t.equal((await fetchNames(lab.client, VIP, 4)).length, 4)
  t.equal((await without.stop('SIGTERM')).code, 0)
  t.equal(await attachedXdp(lab.balancer, 'eth0'), null, 'its end is the end of its packets')

  const command = /`(mount [^`]*)`/.exec(stderr)![1]!
  t.equal((await there('sh', '-c', command)).code, 0, command)
  machine.run()
  await ready(machine)
  t.equal((await linimo('detach')).code, 0)
})
