/** The parts of a running daemon, joined: what main.ts starts and stops. */
import { createAttachments, entriesOf } from './attachments.js'
import { type Balancer, createBalancer } from './balancer.js'
import { clientRouteText } from './client-routes.js'
import { createClientRoutes } from './client-routes-followed.js'
import type { Event, InterfaceStatus, Status } from './control/protocol.js'
import { createConnectionClock } from './dataplane/connection-clock.js'
import { Dataplane, shapeFor } from './dataplane/dataplane.js'
import { createFlowClock } from './dataplane/flow-clock.js'
import { shapeForPools } from './dataplane/pooling.js'
import { createSweeper } from './dataplane/sweeper.js'
import { createTables, type Tables } from './dataplane/tables.js'
import { createFlows, type Flows } from './flows/flows.js'
import { type Clock, systemClock } from './health/clock.js'
import { createMonitor } from './health/monitor.js'
import { probe } from './health/probe.js'
import { restoredHealth } from './health/restored.js'
import { partsOf } from './identities.js'
import { claimedAddresses, createInterfaceAddresses } from './interface-addresses.js'
import type { Journal } from './journal.js'
import { allowKernelLookups, kernelSettings } from './kernel-lookups.js'
import { createLocalAddresses, type FollowedLocalAddresses } from './local-addresses-followed.js'
import type { Log } from './log.js'
import type { Exposition } from './metrics/exposition.js'
import type { Config } from './model.js'
import { loadNative, type NetlinkLink } from './native.js'
import { createNextHops, type FollowedNextHops } from './next-hops.js'
import { createPathMtus } from './path-mtu.js'
import { openPathMtuReports } from './path-mtu-reports.js'
import { createRefusals } from './refusals.js'
import { rehearse } from './rehearsal.js'
import { createRingBuilder } from './ring-builder.js'
import { createRings } from './rings.js'
import { openHealthFile } from './state.js'
import { createTranslationNetwork } from './translation-network.js'
import type { Wanted } from './wanted.js'
import { createWantedNeighbours } from './wanted-neighbours.js'
import { natBackends, wantedPools } from './wanted-pools.js'

/** Answers to packets without a backend: as many a second and CPU as Linux sends ICMP errors. */
const REJECTS_PER_SECOND = 1000
/** How long the first attachment waits for the backends' checks and neighbours, at most. */
const SETTLE_LIMIT_MS = 5000
const SETTLE_POLL_MS = 10
/** How often slots whose time has come move on, and how often the flow cache is swept. */
const TICK_MS = 1000
const SWEEP_MS = 10_000
/** How often the health file is written although nothing has changed, so that its ages are true. */
const KEEP_AGES_MS = 60_000

export interface Sweep {
  /** When it ended. */
  readonly at: Date
  readonly durationMs: number
}

/** What is measured as it happens. */
export type Measures = Pick<Exposition, 'slotsWritten' | 'swept'>

export interface Daemon {
  readonly balancer: Balancer
  readonly dataplane: Dataplane
  /** Those that have state: listed, counted, dropped. */
  readonly flows: Flows
  readonly interfaces: () => readonly InterfaceStatus[]
  /** What translated backends need of the network; empty: there are none. */
  readonly translation: () => Pick<Status, 'clientRoutes' | 'localAddresses'>
  /** The last sweep of the flow cache; null: none yet. */
  readonly lastSweep: () => Sweep | null
  readonly pools: Tables['pools']
  /** Attached everywhere, and every check has a result. */
  isReady(): boolean
  /** Ends, and leaves the packets flowing where they can be: what is pinned goes on. */
  release(): Promise<void>
  /** Ends, detaches, and frees everything. */
  close(): Promise<void>
  /** Ends as if it had not been started, as far as that can be. */
  abandon(): Promise<void>
}

const firstOf = ({ interfaces }: Config, links: readonly NetlinkLink[]): NetlinkLink | undefined =>
  interfaces.flatMap(name => links.find(link => link.name === name) ?? [])[0]

const delay = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface DaemonOptions {
  /** The configuration, and what was changed at run time. */
  readonly wanted: Wanted
  readonly journal: Journal
  /** The instance's own seed, for a configuration without one. */
  readonly instanceSeed: () => string
  /** null: nothing is pinned, and packets stop with the daemon. */
  readonly pinDir: string | null
  readonly stateDir: string
  readonly publish: (event: Event) => void
  readonly measures: Measures
  readonly log: Log
}

/**
 * Loads or adopts, fills, then attaches: no packet meets a table that is not ready.
 *
 * @throws BalancerError when it cannot; then packets go where they went before
 */
export const startDaemon = async (options: DaemonOptions): Promise<Daemon> => {
  const { wanted, journal, instanceSeed, pinDir, stateDir, publish, measures, log } = options
  const { config } = wanted
  const native = loadNative()
  const seedOf = ({ seed }: Config): string => seed ?? instanceSeed()
  const closing: (() => unknown)[] = []
  let isAttached = false
  let isEnding = false
  /** What is due after the end is no longer done: else a start that failed would try for ever. */
  const clock: Clock = {
    ...systemClock,
    after: (ms, call) => systemClock.after(ms, () => void (isEnding || call())),
  }

  const end = async (): Promise<void> => {
    isEnding = true
    for (const close of closing.splice(0).reverse()) await close()
  }
  const failed = (what: string) => (error: unknown) => {
    if (isEnding) return
    log.error({ event: 'update.failed', error: String(error) }, `${what} could not be brought into effect`)
  }

  let dataplane: Dataplane | null = null
  let balancer: Balancer | null = null
  try {
    const opened = await Dataplane.open({
      pinDir,
      shape: shapeFor(config.limits, seedOf(config), {
        tracking: config.services.some(({ tracking }) => tracking !== 'never'),
        anyPort: config.services.some(({ port }) => port === 0),
        ...shapeForPools(wantedPools(config), natBackends(config)),
        answersPerSecond: REJECTS_PER_SECOND,
      }),
      log,
    })
    dataplane = opened

    const now = (): number => performance.now()
    const pathMtus = await createPathMtus({
      reports: openPathMtuReports({ dataplane: opened, tickNs: native.tickNs, now }),
      routeMtu: address => nextHops.routeMtu(address),
      onChange: () => nextHops.reconsider(),
      log,
    })
    const netlink = new native.Netlink()
    const localAddresses: FollowedLocalAddresses = createLocalAddresses({
      netlink,
      tables: () => nextHops.tables,
      onChange: () => nextHops.reconsider(),
      log,
    })
    const nextHops: FollowedNextHops = await createNextHops({
      netlink,
      entry: links => firstOf(balancer?.config() ?? config, links),
      // Until the tables are filled no interface is attached; then all of them are looked at.
      onChange: ({ links }) =>
        void balancer?.refresh({ links: links && isAttached }).catch(failed('a change of the network')),
      log,
      probe: true,
      learntMtu: pathMtus.get,
      onPathChange: pathMtus.forget,
      localAddresses,
    })
    closing.push(() => nextHops.close())
    nextHops.accompany(localAddresses)
    const addresses = await createInterfaceAddresses(
      netlink,
      nextHops,
      () => claimedAddresses(balancer?.config() ?? config),
      () => void balancer?.refresh({ links: isAttached }).catch(failed('a change of addresses')),
      failed('a change of addresses'),
    )
    const attachments = createAttachments({
      dataplane: opened,
      queryXdp: native.queryXdp,
      log,
      onChange: ({ name, mode, reason }) => publish({ kind: 'interface', name, mode, reason }),
      addressesOf: addresses.of,
    })

    const flowClock = createFlowClock(opened.jiffies(), now(), native.tickNs, now)
    const connectionClock = createConnectionClock(opened.jiffies(), now(), native.tickNs, now)
    const sweeper = createSweeper()
    closing.push(() => sweeper.close())
    const refusals = createRefusals(
      clock,
      log,
      () => void balancer?.refresh({ links: false }).catch(failed('the size of the flow cache')),
    )
    closing.push(() => refusals.close())
    const tables = createTables(opened, {
      now,
      onSlotsWritten: measures.slotsWritten,
      onBroken: (service, reason) =>
        log.warn(
          { event: 'service.broken', service, reason },
          'edited meanwhile: its flows may change their backends',
        ),
      onRefused: refusals.refused,
      flowClock,
      connectionClock,
      sweep: (swept, request) =>
        sweeper.sweep({
          ...request,
          flowCache: swept.handle('flow_cache'),
          slots: swept.handle('slots'),
        }),
      sweepConnections: (swept, request) =>
        sweeper.sweepConnections({ ...request, connections: swept.handle('connections') }),
    })

    const clientRoutes = createClientRoutes({ netlink, nextHops, put: tables.setClientRoutes, clock, log })
    closing.push(() => clientRoutes.close())
    const wantedNeighbours = createWantedNeighbours({
      map: () => opened.wantedNeighbours,
      netlink,
      nextHops,
      clock,
    })
    closing.push(() => wantedNeighbours.close())

    const healthFile = openHealthFile({ stateDir, known: () => monitor.known(), log })
    const monitor = createMonitor(
      probe,
      clock,
      (key, now, before) => {
        healthFile.changed()
        balancer?.healthChanged(key, now, before).catch(failed('a change of health'))
      },
      restoredHealth(healthFile.restored, key => tables.isDead(...partsOf(key))),
    )
    closing.push(() => monitor.close())
    closing.push(() => healthFile.close())
    const keepingAges = setInterval(() => healthFile.changed(), KEEP_AGES_MS)
    closing.push(() => clearInterval(keepingAges))
    const builder = createRingBuilder()
    closing.push(() => builder.close())

    balancer = createBalancer({
      config,
      wanted,
      journal,
      seedOf,
      tables,
      rings: createRings(builder),
      nextHops,
      monitor,
      attachments,
      translation: createTranslationNetwork({
        clientRoutes,
        localAddresses,
        neighbours: wantedNeighbours,
        begin: () => allowKernelLookups(kernelSettings, log),
      }),
      publish,
      log,
      clock,
    })
    const deadline = now() + SETTLE_LIMIT_MS
    await balancer.prepare()
    while (!balancer.isSettled() && now() < deadline) await delay(SETTLE_POLL_MS)
    // An interface that is taken over from other tables must be known to these beforehand.
    await tables.setInterfaces(entriesOf(config.interfaces, nextHops.links(), addresses.of))
    await balancer.attach()
    isAttached = true
    await opened.settle()
    rehearse(now)

    const running = balancer
    const flows = createFlows({
      memory: name => opened.memory(name),
      serviceOf: tables.serviceOf,
      wanted: running.wanted,
      connectionClock,
      flowClock,
    })
    const ticking = setInterval(() => {
      tables.tick().catch(failed('the time of tracked slots'))
      running.tick()
      pathMtus.tick().catch(failed('what routers say of the paths'))
    }, TICK_MS)
    closing.push(() => clearInterval(ticking))
    let lastSweep: Sweep | null = null
    const sweep = async (): Promise<void> => {
      if (!opened.shape.tracking && opened.shape.numbers === 0) return
      const began = now()
      await tables.sweep()
      lastSweep = { at: new Date(), durationMs: now() - began }
      measures.swept(lastSweep.durationMs)
    }
    let isSweeping = false
    const sweeping = setInterval(() => {
      if (isSweeping) return
      isSweeping = true
      sweep()
        .catch(failed('a sweep of the flow cache'))
        .finally(() => {
          isSweeping = false
        })
    }, SWEEP_MS)
    closing.push(() => clearInterval(sweeping))

    const isEverywhere = (): boolean => attachments.status().every(({ mode }) => mode !== null)
    return {
      balancer,
      dataplane: opened,
      flows,
      interfaces: () => attachments.status(),
      translation: () => {
        const routes = [...clientRoutes.tables().values()].flat().map(clientRouteText)
        const findings = localAddresses.findings()
        return {
          ...(routes.length > 0 ? { clientRoutes: routes } : {}),
          ...(findings.length > 0
            ? {
                localAddresses: findings.map(({ address, isUsable, text }) => ({
                  address,
                  used: isUsable,
                  text,
                })),
              }
            : {}),
        }
      },
      lastSweep: () => lastSweep,
      pools: tables.pools,
      isReady: () => isEverywhere() && monitor.isComplete(),
      release: async () => {
        await end()
        await opened.release()
      },
      close: async () => {
        await end()
        await opened.close()
      },
      abandon: async () => {
        await end()
        await opened.abandon()
      },
    }
  } catch (error) {
    await end()
    await dataplane?.abandon()
    throw error
  }
}
