/** The real daemon in a namespace of its own, pinned and journalled as in production, and the exported client on its socket. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Client, connect } from '../src/control/client.js'
import { CLI, startDaemon } from '../src/lab/daemon.js'
import { createNamespaces } from '../src/lab/namespaces.js'

/** Another build is measured by naming its `dist/cli.js` there. */
const cli = process.env.LINIMO_BENCH_CLI ?? CLI

export const RING_SIZE = 65537

export interface DaemonToBench {
  /** Services web0, web1 and so on, TCP, each connection kept by tracking. */
  readonly services: number
  /** Of each service: b0, b1 and so on, weight 1. */
  readonly backends: number
  /** Places in the flow cache. */
  readonly flows: number
}

export interface BenchedDaemon {
  readonly client: Client
  /** Another connection to the same socket. */
  readonly connect: () => Promise<Client>
  /** Its directory of bpffs. */
  readonly pinDir: string
  /** CPU time of its event loop's thread so far, ms. */
  readonly cpuMs: () => number
}

export const backendAddress = (index: number): string => `10.1.${index >> 8}.${index & 255}`

/** Next hops are given: nothing but the changes asked for is under way. */
const configOf = ({ services, backends, flows }: DaemonToBench): string =>
  JSON.stringify({
    interfaces: ['in'],
    limits: { flows },
    services: Object.fromEntries(
      Array.from({ length: services }, (_, service) => [
        `web${service}`,
        {
          vip: `192.0.2.${10 + service}`,
          port: 80,
          protocol: 'tcp',
          'ring-size': RING_SIZE,
          tracking: 'on-change',
          backends: Array.from({ length: backends }, (_, index) => ({
            name: `b${index}`,
            address: backendAddress(index),
            mac: '02:00:00:00:00:0b',
          })),
        },
      ]),
    ),
  })

/** Runs `measure` beside a daemon that is ready; whatever happens, daemon, pins and namespace go afterwards. */
export const withDaemon = async <T>(
  wanted: DaemonToBench,
  measure: (daemon: BenchedDaemon) => Promise<T>,
): Promise<T> => {
  const namespaces = createNamespaces()
  const clients: Client[] = []
  try {
    const host = await namespaces.add('balancer')
    await host.ip(
      'link add in type veth peer name out',
      'addr add 10.1.255.254/16 dev in',
      'link set in up',
      'link set out up',
    )
    const pinDir = join(await namespaces.mountBpffs(), 'linimo')
    const daemon = startDaemon(host, {
      instance: namespaces.prefix,
      directory: namespaces.directory,
      config: configOf(wanted),
      pinDir,
      args: ['--detach-on-exit'],
      cli,
    })
    await daemon.ready()
    const another = async (): Promise<Client> => {
      const client = await connect({ socketPath: daemon.socket })
      clients.push(client)
      return client
    }
    try {
      const client = await another()
      const { pid } = await client.status()
      // On the CPU, in ns: the first number. A process's first thread has its id.
      const cpuMs = () =>
        Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
      return await measure({ client, connect: another, pinDir, cpuMs })
    } finally {
      for (const client of clients) await client.close()
      await daemon.stop()
    }
  } finally {
    await namespaces.close()
  }
}
