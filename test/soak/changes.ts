/** What the soak does to the site: each change with its name, and what it must bring about. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackendRow } from '../../src/control/protocol.js'
import type { Random } from '../fixtures/random.js'
import type { Judge } from './judge.js'
import { SERVICES, type SoakSite } from './site.js'

export interface Change {
  readonly title: string
  /** It moves slots, or it moves none. */
  readonly moves: boolean
  readonly run: () => Promise<void>
}

export interface Changes {
  readonly weight: (backend: string, weight: number) => Change
  readonly severalWeights: (weights: Readonly<Record<string, number>>) => Change
  readonly add: (backend: string) => Change
  /** It leaves; its connections are ended politely, and it goes. */
  readonly remove: (backend: string) => Change
  readonly drain: (backend: string) => Change
  readonly undrain: (backend: string) => Change
  readonly disable: (backend: string) => Change
  readonly enable: (backend: string) => Change
  readonly crash: (backend: string) => Change
  readonly restart: (backend: string) => Change
  readonly linkDown: (backend: string) => Change
  readonly linkUp: (backend: string) => Change
  readonly killDaemon: (awayMs: number) => Change
  readonly upgrade: () => Change
  /** One that makes sense now; null: none of the kind that was drawn. */
  readonly random: (random: Random, spare: string) => Promise<Change | null>
}

export const createChanges = (site: SoakSite, judge: Judge): Changes => {
  /** A daemon that is killed answers nobody; all else is one call for each service. */
  const each = (
    call: (
      service: string,
    ) => (client: Parameters<Parameters<SoakSite['control']>[0]>[0]) => Promise<unknown>,
  ) =>
    site.control(async client => {
      for (const service of SERVICES) await call(service)(client)
    })
  const rows = (): Promise<readonly BackendRow[]> => site.control(client => client.backend.list())
  const until = async (
    what: string,
    isSo: (all: readonly BackendRow[]) => boolean,
    timeoutMs = 40_000,
  ): Promise<void> => {
    const end = Date.now() + timeoutMs
    for (;;) {
      const all = await rows()
      if (isSo(all)) return
      if (Date.now() > end) throw new Error(`never happened: ${what}: ${JSON.stringify(all)}`)
      await sleep(100)
    }
  }
  const both = (all: readonly BackendRow[], name: string, isSo: (row: BackendRow) => boolean): boolean => {
    const own = all.filter(({ backend }) => backend === name)
    return own.length === SERVICES.length && own.every(isSo)
  }
  const down = (name: string) =>
    until(`${name} is down`, all => both(all, name, row => row.health === 'down' && row.slots === 0))
  const up = async (name: string): Promise<void> => {
    await until(`${name} is up`, all => both(all, name, row => row.health === 'up' && row.slots > 0))
    judge.recovers(name)
  }

  const spareAddress = (name: string): string => site.lab.backends.find(one => one.name === name)!.address
  let build: 'this' | 'another' = 'this'

  const changes: Changes = {
    weight: (backend, weight) => ({
      title: `weight of ${backend} to ${weight}`,
      moves: true,
      run: () => each(service => client => client.backend.set(service, backend, { weight })),
    }),
    severalWeights: weights => ({
      title: `weights ${JSON.stringify(weights)} within a second`,
      moves: true,
      run: async () => {
        for (const [backend, weight] of Object.entries(weights))
          await each(service => client => client.backend.set(service, backend, { weight }))
      },
    }),
    add: backend => ({
      title: `add ${backend}`,
      moves: true,
      run: async () => {
        await each(
          service => client => client.backend.add(service, backend, { address: spareAddress(backend) }),
        )
        await up(backend)
      },
    }),
    remove: backend => ({
      title: `remove ${backend}, which leaves`,
      moves: true,
      run: async () => {
        await each(service => client => client.backend.remove(service, backend))
      },
    }),
    drain: backend => ({
      title: `drain ${backend}`,
      moves: true,
      run: () => each(service => client => client.backend.drain(service, backend, { deadline: 3600 })),
    }),
    undrain: backend => ({
      title: `undrain ${backend}`,
      moves: true,
      run: () => each(service => client => client.backend.undrain(service, backend)),
    }),
    disable: backend => ({
      title: `disable ${backend}`,
      moves: true,
      run: async () => {
        judge.fails(backend, 'disabled')
        await each(service => client => client.backend.disable(service, backend))
      },
    }),
    enable: backend => ({
      title: `enable ${backend}`,
      moves: true,
      run: async () => {
        await each(service => client => client.backend.enable(service, backend))
        await up(backend)
      },
    }),
    crash: backend => ({
      title: `the server of ${backend} is killed`,
      moves: true,
      run: async () => {
        judge.fails(backend, 'killed')
        await site.killServer(backend)
        await down(backend)
      },
    }),
    restart: backend => ({
      title: `the server of ${backend} returns`,
      moves: true,
      run: async () => {
        await site.startServer(backend)
        await up(backend)
      },
    }),
    linkDown: backend => ({
      title: `the link of ${backend} goes down`,
      moves: true,
      run: async () => {
        judge.fails(backend, 'link down')
        await site.setLink(backend, 'down')
        await down(backend)
      },
    }),
    linkUp: backend => ({
      title: `the link of ${backend} comes up`,
      moves: true,
      run: async () => {
        await site.setLink(backend, 'up')
        await up(backend)
      },
    }),
    killDaemon: awayMs => ({
      title: `kill -9 of the daemon, which returns after ${awayMs} ms`,
      moves: false,
      run: async () => {
        await site.stopDaemon('SIGKILL')
        await sleep(awayMs)
        await site.startDaemon(build)
      },
    }),
    upgrade: () => ({
      title: 'another build takes over',
      moves: false,
      run: async () => {
        const before = (await site.control(client => client.status())).program.tag
        await site.stopDaemon('SIGTERM')
        build = build === 'this' ? 'another' : 'this'
        await site.startDaemon(build)
        const after = (await site.control(client => client.status())).program.tag
        if (after === before) throw new Error(`the program is still ${before}`)
      },
    }),
    random: async (random, spare) => {
      const all = (await rows()).filter(({ service }) => service === SERVICES[0])
      const of = (is: (row: BackendRow) => boolean): string | undefined => {
        const some = all.filter(is)
        return some.length > 0 ? random.pick(some).backend : undefined
      }
      const isWell = (row: BackendRow): boolean =>
        row.state === 'enabled' && row.health === 'up' && row.weight > 0
      const well = of(isWell)
      // Enough others stay for everybody's slots.
      const mayGo = all.filter(isWell).length > 3 ? well : undefined
      const make = <A extends string | undefined>(
        name: A,
        change: (backend: string) => Change,
      ): Change | null => (name === undefined ? null : change(name))
      switch (random.below(11)) {
        case 0:
        case 1: {
          const row = all.find(({ backend }) => backend === well)
          return make(well, name =>
            changes.weight(name, (row?.weight ?? 1) >= 3 ? 1 : (row?.weight ?? 1) + random.between(1, 3)),
          )
        }
        case 2:
          return all.some(({ backend }) => backend === spare) ? null : changes.add(spare)
        case 3:
          return mayGo !== undefined && all.some(row => row.backend === spare && isWell(row))
            ? changes.remove(spare)
            : null
        case 4:
          return make(mayGo, changes.drain)
        case 5:
          return make(
            of(({ state }) => state === 'draining'),
            changes.undrain,
          )
        case 6:
          return make(mayGo, random.chance(0.5) ? changes.crash : changes.linkDown)
        case 7:
          return make(mayGo, changes.disable)
        case 8:
          return make(
            of(({ state }) => state === 'disabled'),
            changes.enable,
          )
        case 9:
          return changes.killDaemon(random.pick([0, 1000, 5000]))
        default:
          return changes.upgrade()
      }
    },
  }
  return changes
}
