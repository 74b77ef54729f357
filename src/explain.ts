/**
 * `linimo explain` without a daemon: a private instance of the data plane, each frame through the kernel's own test
 * run. No interface is touched, and nothing is asked of the network.
 */
import { readFileSync } from 'node:fs'
import { macText } from './address.js'
import { parseConfig } from './config.js'
import { Dataplane, shapeFor, type Verdict } from './dataplane/dataplane.js'
import { shapeForPools } from './dataplane/pooling.js'
import { createTables, type Tables } from './dataplane/tables.js'
import { BalancerError } from './errors.js'
import { type Encapsulation, encapsulationOf, reasonOf, type Way } from './explain-sizes.js'
import type { Log } from './log.js'
import {
  type Backend,
  backendIdentity,
  type Config,
  forwardOf,
  type Service,
  serviceIdentity,
} from './model.js'
import { loadNative, type NetlinkLink } from './native.js'
import { createNextHops, type NextHops } from './next-hops.js'
import { resolutionOf, targetOf, tunnelOf } from './reach.js'
import { createRingBuilder } from './ring-builder.js'
import { createRings } from './rings.js'
import { natBackends, wantedPools } from './wanted-pools.js'
import { translatedOf } from './wanted-service.js'

export interface ExplainOptions {
  readonly configPath: string
  /** Where the frames enter; default: the configuration's first interface. */
  readonly interfaceName: string | undefined
  /** One frame, or a file of them, in hex, one a line. */
  readonly packet: string | undefined
  readonly packetsPath: string | undefined
}

export interface Explanation {
  readonly verdict: Verdict
  readonly action: 'ABORTED' | 'DROP' | 'PASS' | 'TX' | 'REDIRECT'
  readonly service: string | null
  readonly backend: string | null
  /** The outgoing frame (TX, REDIRECT), or the frame as the host gets it (PASS); hex. */
  readonly packet: string | null
  /** Through a tunnel only. */
  readonly encapsulation?: Encapsulation
  /** Where the verdict's name leaves something to say. */
  readonly reason?: string
}

/** Anything with a `write`. */
export interface Output {
  write(text: string): unknown
}

const actions = ['ABORTED', 'DROP', 'PASS', 'TX', 'REDIRECT'] as const
const NO_SEED = '0'.repeat(32)
const MIN_FRAME_BYTES = 14
/** Stands for an entry interface that this host does not have. */
const STAND_IN_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0xfe)
const IFF_UP = 1
const ARPHRD_ETHER = 1

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** @throws BalancerError `ERR_PACKET` */
export const parseFrame = (text: string): Uint8Array => {
  const hex = text.replace(/^0x|[\s:]/gi, '')
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex))
    throw new BalancerError('ERR_PACKET', 'not a frame in hex: two digits a byte are expected')
  if (hex.length / 2 < MIN_FRAME_BYTES)
    throw new BalancerError(
      'ERR_PACKET',
      `a frame of ${hex.length / 2} bytes: the kernel runs frames from ${MIN_FRAME_BYTES} bytes on`,
    )
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

/** The link that frames enter by; a name that this host does not know borrows loopback's index. */
const entryLink = (links: readonly NetlinkLink[], name: string | undefined): NetlinkLink => {
  const found = links.find(link => link.name === name)
  if (found) return found
  const loopback = links.find(link => link.name === 'lo')
  return {
    ifindex: loopback?.ifindex ?? 1,
    name: name ?? 'lo',
    lower: null,
    kind: null,
    mac: STAND_IN_MAC,
    mtu: 1500,
    flags: IFF_UP,
    type: ARPHRD_ETHER,
  }
}

/** Every enabled backend owns its slots, resolved or not: a verdict is to say which. */
const fill = async (config: Config, tables: Tables, nextHops: NextHops): Promise<void> => {
  const builder = createRingBuilder()
  const rings = createRings(builder)
  try {
    for (const service of config.services) {
      const owners = await rings.owners(
        service,
        service.backends.map(({ weight }) => weight > 0),
      )
      const backends = service.backends.map(backend => {
        const resolution = resolutionOf(nextHops, service, backend)
        return {
          identity: backendIdentity(service, backend),
          address: backend.address,
          port: backend.port ?? service.port,
          isDead: false,
          isDraining: false,
          nextHop: 'nextHop' in resolution ? resolution.nextHop : null,
          tunnel: tunnelOf(service, backend),
          translated: translatedOf(service, backend),
        }
      })
      // Nobody's owner ever changes here.
      await tables.put([{ service: { ...service, tracking: 'never' }, owners, backends }])
    }
  } finally {
    await builder.close()
  }
}

export interface Explainer {
  /** The program's tag: the daemon's `status` has the same. */
  readonly tag: string
  /** @throws BalancerError `ERR_PACKET`, or the kernel's error for a frame that it does not take */
  explain(frame: Uint8Array): Promise<Explanation>
  close(): Promise<void>
}

/** @param interfaceName where the frames enter; default: the configuration's first */
export const createExplainer = async (
  config: Config,
  interfaceName = config.interfaces[0],
): Promise<Explainer> => {
  const netlink = new (loadNative().Netlink)()
  const entry = entryLink(await netlink.links(), interfaceName)
  const nextHops = await createNextHops({
    netlink,
    entry: () => entry,
    onChange: () => {},
    log: silent,
    probe: false,
  })
  let dataplane: Dataplane
  let tables: Tables
  try {
    dataplane = await Dataplane.load(
      shapeFor(config.limits, config.seed ?? NO_SEED, {
        anyPort: config.services.some(({ port }) => port === 0),
        ...shapeForPools(wantedPools(config), natBackends(config)),
        trace: true,
      }),
    )
    tables = createTables(dataplane, { now: () => performance.now() })
    await nextHops.follow(
      config.services.flatMap(service => service.backends.map(backend => targetOf(service, backend))),
    )
    await tables.setPools(wantedPools(config))
    await fill(config, tables, nextHops)
  } catch (cause) {
    nextHops.close()
    throw cause
  }

  const known = new Map(
    config.services.map(service => [
      serviceIdentity(service),
      {
        service,
        backends: new Map(service.backends.map(backend => [backendIdentity(service, backend), backend])),
      },
    ]),
  )
  const wayOf = (service: Service, backend: Backend): Way => {
    const resolution = resolutionOf(nextHops, service, backend)
    return {
      address: backend.address,
      forward: forwardOf(service, backend),
      pathMtu: 'nextHop' in resolution ? resolution.nextHop.mtu : null,
      reason: 'reason' in resolution ? resolution.reason : null,
    }
  }
  let entryMac = ''

  return {
    tag: dataplane.tag,
    explain: async frame => {
      const destination = frame.slice(0, 6)
      if (macText(destination) !== entryMac) {
        entryMac = macText(destination)
        await tables.setInterfaces([{ ifindex: entry.ifindex, mac: destination, mtu: entry.mtu }])
      }
      const { returnValue, data, trace } = dataplane.run(frame, entry.ifindex)
      const action = actions[returnValue] ?? 'ABORTED'
      const { verdict } = trace
      const owner = trace.backend === null ? null : tables.backendOf(trace.backend)
      const its = owner && known.get(owner.service)
      const backend = its?.backends.get(owner?.identity ?? '') ?? null
      // A reply's service is its backend's.
      const isReply = trace.service === null && owner !== null
      const service = trace.service === null ? (owner?.service ?? null) : tables.serviceOf(trace.service)
      const isKept = action === 'TX' || action === 'REDIRECT' || action === 'PASS'
      const way = its && backend && wayOf(its.service, backend)
      const encapsulation = way && data ? encapsulationOf(data, verdict, way) : null
      const reason = reasonOf(verdict, frame, isReply ? null : (way ?? null), entry.mtu)
      return {
        verdict,
        action,
        service: service === null ? null : (known.get(service)?.service.name ?? null),
        backend: backend?.name ?? null,
        packet: isKept && data ? Buffer.from(data).toString('hex') : null,
        ...(encapsulation ? { encapsulation } : {}),
        ...(reason === null ? {} : { reason }),
      }
    },
    close: async () => {
      nextHops.close()
      await dataplane.close()
    },
  }
}

/** One JSON line a frame, in order; a bad one is answered with its line's number. @returns the exit code */
export const runExplain = async (
  options: ExplainOptions,
  stdout: Output,
  stderr: Output,
): Promise<number> => {
  const { config } = parseConfig(readFileSync(options.configPath, 'utf8'))
  const text = options.packet ?? readFileSync(options.packetsPath!, 'utf8')
  const explainer = await createExplainer(config, options.interfaceName)
  stderr.write(`program ${explainer.tag}\n`)
  let exitCode = 0
  try {
    for (const [index, line] of text.split('\n').entries()) {
      if (line.trim() === '') continue
      try {
        stdout.write(`${JSON.stringify(await explainer.explain(parseFrame(line)))}\n`)
      } catch (error) {
        exitCode = 1
        const message = error instanceof Error ? error.message : String(error)
        stdout.write(`${JSON.stringify({ line: index + 1, error: message })}\n`)
      }
    }
  } finally {
    await explainer.close()
  }
  return exitCode
}
