/**
 * The network namespaces of one lab, and the promise that they vanish with it: a guard in a session of its own waits
 * for the end of a pipe, which comes when the lab is closed and also when its process dies in any way, then ends the
 * processes in the namespaces and removes them.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, capture, type Exit, type Running, run, start } from './process.js'

/** One host of the lab: a network namespace. */
export interface Host {
  /** The namespace's name, as `ip netns` shows it. */
  readonly namespace: string
  /** The command that runs `command` there. */
  readonly command: (command: Command) => Command
  readonly start: (command: Command) => Running
  readonly run: (command: Command, options?: Parameters<typeof run>[1]) => Promise<string>
  readonly capture: (command: Command, options?: Parameters<typeof capture>[1]) => Promise<Exit>
  /** Lines for `ip -batch`. */
  readonly ip: (...lines: readonly string[]) => Promise<void>
  /** Values of /proc/sys/net, by path below it: 'ipv4/ip_forward'. */
  readonly sysctl: (values: Readonly<Record<string, string | number>>) => Promise<void>
}

export interface Namespaces {
  /** What all its names begin with; unique on this machine. */
  readonly prefix: string
  /** For the lab's files; removed with it. */
  readonly directory: string
  readonly add: (name: string) => Promise<Host>
  /** Mounts a bpf file system in the directory; it goes with the rest. @returns its path */
  readonly mountBpffs: () => Promise<string>
  /** Ends what was started in the namespaces, removes them and the directory. May be called twice. */
  readonly close: () => Promise<void>
}

// ip netns pids lists exactly the processes that are in the namespace: they are the lab's.
const GUARD = `
trap '' INT TERM HUP
cat >/dev/null
names=$(cd /run/netns 2>/dev/null && ls -d "$1"-* 2>/dev/null)
pids() { for name in $names; do ip netns pids "$name" 2>/dev/null; done; }
for signal in TERM TERM TERM TERM TERM TERM TERM TERM TERM TERM KILL KILL; do
	found=$(pids)
	[ -n "$found" ] || break
	kill -$signal $found 2>/dev/null
	sleep 0.2
done
for name in $names; do ip netns del "$name"; done
umount "$2/bpf" 2>/dev/null
rm -rf "$2"
`

const startGuard = (prefix: string, directory: string) => {
  const guard = spawn('bash', ['-c', GUARD, 'lab-guard', prefix, directory], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const exited = new Promise<void>(resolve => guard.once('close', () => resolve()))
  guard.unref()
  return async () => {
    guard.ref()
    guard.stdin.end()
    await exited
  }
}

const hostIn = (namespace: string, started: Set<Running>): Host => {
  const command = (inner: Command): Command => ['nsenter', `--net=/run/netns/${namespace}`, ...inner]
  const runThere: Host['run'] = (inner, options) => run(command(inner), options)
  return {
    namespace,
    command,
    start: inner => {
      const running = start(command(inner))
      started.add(running)
      running.exited.finally(() => started.delete(running)).catch(() => {})
      return running
    },
    run: runThere,
    capture: (inner, options) => capture(command(inner), options),
    ip: async (...lines) => {
      // Not `ip -n`: that remounts /sys, and fails in a chroot that is no mount point.
      await runThere(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
    },
    sysctl: async values => {
      const writes = Object.entries(values).map(([path, value]) => `echo ${value} >/proc/sys/net/${path}`)
      await runThere(['sh', '-e'], { input: `${writes.join('\n')}\n` })
    },
  }
}

const open = new Set<Namespaces>()

export const createNamespaces = (): Namespaces => {
  const prefix = `lnm-${randomBytes(3).toString('hex')}`
  const directory = mkdtempSync(join(tmpdir(), `${prefix}-`))
  const release = startGuard(prefix, directory)
  const started = new Set<Running>()
  const pending = new Set<Promise<unknown>>()
  let closed: Promise<void> | undefined

  const build = async (name: string) => {
    const host = hostIn(`${prefix}-${name}`, started)
    await run(['ip', 'netns', 'add', host.namespace])
    await host.sysctl({
      'ipv4/conf/all/rp_filter': 0,
      'ipv4/conf/default/rp_filter': 0,
      'ipv6/conf/all/disable_ipv6': 0,
      'ipv6/conf/default/disable_ipv6': 0,
      'ipv6/conf/default/accept_dad': 0,
      'ipv6/conf/default/accept_ra': 0,
      'ipv6/conf/default/router_solicitations': 0,
    })
    await host.ip('link set lo up')
    return host
  }
  const close = async () => {
    await Promise.allSettled(pending) // the guard looks once for what there is to remove
    await Promise.allSettled([...started].map(running => running.stop()))
    await release()
    open.delete(namespaces)
  }
  const namespaces: Namespaces = {
    prefix,
    directory,
    add: name => {
      if (closed) return Promise.reject(new Error('the lab is being taken down'))
      const host = build(name)
      pending.add(host)
      host.finally(() => pending.delete(host)).catch(() => {})
      return host
    },
    mountBpffs: async () => {
      const path = join(directory, 'bpf')
      mkdirSync(path)
      await run(['mount', '-t', 'bpf', 'bpf', path])
      return path
    },
    close: () => {
      closed ??= close()
      return closed
    },
  }
  open.add(namespaces)
  return namespaces
}

/** Takes down every lab of this process, also one that is being built. */
export const closeAllNamespaces = async (): Promise<void> => {
  await Promise.all([...open].map(namespaces => namespaces.close()))
}
