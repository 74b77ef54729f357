/** The lab of the soak: backends that say who they are, one client that holds flows, a daemon that pins and is restarted. */
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Client, connect } from '../../src/control/client.js'
import { type Daemon, startDaemon } from '../../src/lab/daemon.js'
import { type BackendHost, createLab, type Lab, VIP } from '../../src/lab/lab.js'
import type { Running } from '../../src/lab/process.js'
import { joinHost } from '../fixtures/joined.js'
import { buildAnother } from '../fixtures/other-build.js'
import type { ClientOptions, Said } from './said.js'

export const PORT = 7000
export const RING_SIZE = 4099
export const SEED = '0f1e2d3c4b5a69788796a5b4c3d2e1f0'
export const SERVICES = ['echo', 'ping'] as const
/** A connection that asks once in this time is to be kept. */
export const RESTING_MS = 30_000
const IDLE = '45s'

/** A backend as the configuration file has it. */
export interface FileRow {
  readonly name: string
  readonly address: string
  readonly weight: number
}

export interface SoakSite {
  readonly lab: Lab
  readonly daemon: () => Daemon
  /** Runs something with a client of the daemon that runs. */
  readonly control: <T>(use: (client: Client) => Promise<T>) => Promise<T>
  readonly startDaemon: (build?: 'this' | 'another') => Promise<Daemon>
  readonly stopDaemon: (signal: NodeJS.Signals) => Promise<void>
  /** Edits the daemon's own file; it takes effect with `apply`, or with the next start. */
  readonly editFile: (backends: readonly FileRow[]) => void
  readonly startServer: (backend: string) => Promise<void>
  readonly killServer: (backend: string) => Promise<void>
  readonly setLink: (backend: string, state: 'up' | 'down') => Promise<void>
  /** Ends politely what talks to a backend. */
  readonly leave: (backend: string) => void
  /** What the client has said since the last time. */
  readonly heard: () => readonly Said[]
  readonly endClient: () => Promise<void>
  readonly close: () => Promise<void>
}

const program = (name: string): string => fileURLToPath(new URL(`./programs/${name}.ts`, import.meta.url))
export const soakProgram = (name: string, ...args: readonly string[]): [string, ...string[]] => [
  process.execPath,
  '--import',
  'tsx',
  program(name),
  ...args,
]

const until = async (what: string, isSo: () => boolean, timeoutMs = 30_000): Promise<void> => {
  for (const end = Date.now() + timeoutMs; !isSo(); ) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const serve = async (host: BackendHost, name: string, forward: SoakForward): Promise<Running> => {
  const address = isTranslated(forward) ? host.address : VIP
  const running = host.start(soakProgram('server', name, String(PORT), address))
  await until(`${name} listens`, () => {
    const { stdout, stderr } = running.output()
    if (stderr) throw new Error(`${name}: ${stderr}`)
    return stdout.includes('ready')
  })
  return running
}

/** How the backends are reached; `mixed`: by IPIP, every second one by GUE. */
export const forwards = ['dr', 'ipip', 'gre', 'gue', 'mixed', 'nat', 'fullnat'] as const
export type SoakForward = (typeof forwards)[number]

/** Backends of translation are on a network of their own, and know nothing of the VIP. */
const isTranslated = (forward: SoakForward): boolean => forward === 'nat' || forward === 'fullnat'
/** The client's address. */
export const clientOf = (forward: SoakForward): string => (isTranslated(forward) ? '10.0.1.1' : '10.0.0.1')
const POOL = '10.0.8.0/28'
/** What a backend's replies need to come back by the balancer. */
const wayBack = (forward: SoakForward): readonly string[] =>
  forward === 'nat'
    ? ['route replace default via 10.0.0.2']
    : forward === 'fullnat'
      ? [`route replace ${POOL} via 10.0.0.2`]
      : []

/** What a backend's row says of its own. */
const ownForward = (name: string, forward: SoakForward): object =>
  forward === 'mixed' && Number(name.slice(1)) % 2 === 0 ? { forward: 'gue' } : {}

const configOf = (
  rows: readonly FileRow[],
  { isChecked, forward = 'dr' }: Pick<SoakOptions, 'isChecked' | 'forward'>,
): string => {
  const check = { type: 'tcp', port: PORT, interval: '700ms', timeout: '700ms', rise: 2, fall: 4 }
  const service = {
    vip: VIP,
    port: PORT,
    'ring-size': RING_SIZE,
    tracking: 'on-change',
    forward: forward === 'mixed' ? 'ipip' : forward,
    backends: rows.map(row => ({ ...row, ...ownForward(row.name, forward) })),
    ...(isChecked ? { health: check } : {}),
  }
  return JSON.stringify({
    interfaces: isTranslated(forward) ? ['eth0', 'eth1'] : ['eth0'],
    ...(forward === 'fullnat' ? { 'local-addresses': [POOL] } : {}),
    seed: SEED,
    limits: { flows: 65536 },
    services: {
      echo: { ...service, protocol: 'tcp', 'idle-time': IDLE },
      ping: { ...service, protocol: 'udp', 'udp-idle-time': IDLE },
    },
  })
}

export interface SoakOptions extends Pick<ClientOptions, 'steady' | 'resting' | 'datagrams' | 'steadyMs'> {
  /** In the configuration; one more host waits to be added. */
  readonly backends: number
  readonly isUpgrading: boolean
  /** Without health checks nothing but a change moves a slot. */
  readonly isChecked: boolean
  /** Default: direct routing. */
  readonly forward?: SoakForward
  /** Default: RESTING_MS. */
  readonly restingMs?: number
}

export const openSoak = async (options: SoakOptions): Promise<SoakSite> => {
  const { forward = 'dr' } = options
  const arms = isTranslated(forward) ? 2 : 1
  const lab = await createLab({ arms, backends: options.backends + 1, vips: [VIP] })
  try {
    const pinDir = `${await lab.mountBpffs()}/linimo/main`
    let another: string | undefined
    if (options.isUpgrading) {
      mkdirSync(`${lab.directory}/other`)
      another = buildAnother(`${lab.directory}/other`)
    }
    if (isTranslated(forward)) await Promise.all(lab.backends.map(one => one.ip(...wayBack(forward))))
    else if (forward !== 'dr') {
      const flags = ['--vip', VIP, '--interface', 'eth0', '--forward', 'ipip,gre,gue']
      await Promise.all(lab.backends.map(one => joinHost(lab, one, ...flags)))
    }
    const host = (name: string): BackendHost => lab.backends.find(one => one.name === name)!
    const servers = new Map<string, Running>()
    for (const one of lab.backends) servers.set(one.name, await serve(one, one.name, forward))

    const rows = lab.backends
      .slice(0, options.backends)
      .map(({ name, address }) => ({ name, address, weight: 1 }))
    let config = configOf(rows, options)
    let daemon: Daemon
    const begin = async (build: 'this' | 'another' = 'this'): Promise<Daemon> => {
      const instance = `${lab.prefix}-main`
      const cli = build === 'another' && another !== undefined ? { cli: another } : {}
      daemon = startDaemon(lab.balancer, { instance, directory: lab.directory, config, pinDir, ...cli })
      // Not daemon.ready(): a backend whose link is down has no next hop.
      await daemon.json('status', '--wait', '30s')
      return daemon
    }
    await begin()

    const asked: ClientOptions = { restingMs: RESTING_MS, ...options, host: VIP, port: PORT }
    const client = lab.client.start(soakProgram('client', JSON.stringify(asked)))
    let read = 0
    const heard = (): readonly Said[] => {
      const { stdout } = client.output()
      const end = stdout.lastIndexOf('\n') + 1
      const lines = stdout.slice(read, end).split('\n').filter(Boolean)
      read = Math.max(read, end)
      return lines.map(line => JSON.parse(line) as Said)
    }

    return {
      lab,
      daemon: () => daemon,
      control: async use => {
        const control = await connect({ socketPath: daemon.socket })
        try {
          return await use(control)
        } finally {
          await control.close()
        }
      },
      startDaemon: begin,
      stopDaemon: async signal => {
        await daemon.stop(signal)
      },
      editFile: backends => {
        config = configOf(backends, options)
        daemon.writeConfig(config)
      },
      startServer: async name => {
        servers.set(name, await serve(host(name), name, forward))
      },
      killServer: async name => {
        await servers.get(name)!.stop('SIGKILL')
      },
      setLink: async (name, state) => {
        // Routes go with the link; those of its own network come back with it.
        await host(name).ip(`link set eth0 ${state}`, ...(state === 'up' ? wayBack(forward) : []))
      },
      leave: name => {
        client.stdin.write(`leave ${name}\n`)
      },
      heard,
      endClient: async () => {
        client.stdin.end()
        const { code, stderr } = await client.exited
        if (code !== 0) throw new Error(`the client ended with ${code}: ${stderr}`)
      },
      close: () => lab.close(),
    }
  } catch (error) {
    await lab.close()
    throw error
  }
}
