/** What the soak does to the site: each change with its name, and what it must bring about. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackendRow } from '../../src/control/protocol.js'
import type { Random } from '../fixtures/random.js'
import type { Judge } from './judge.js'
import { type FileRow, SERVICES, type SoakSite } from './site.js'

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
  /** SIGTERM, and the same build starts again. */
  readonly restartDaemon: () => Change
  readonly upgrade: () => Change
  /** The file is edited and applied: these weights; whoever is not named keeps its own. */
  readonly applyWeights: (weights: Readonly<Record<string, number>>) => Change
  /** The file without this backend is applied: it leaves, and its connections stay. */
  readonly takeOutOfFile: (backend: string) => Change
  /** And with it again. */
  readonly putIntoFile: (backend: string) => Change
  /** A drain whose deadline passes while the daemon is dead: its connections last until the daemon is back. */
  readonly drainPastDeadline: (backend: string) => Change
  /** One of a kind that makes sense now; null: none does. */
  readonly random: (kind: RandomKind, random: Random, spare: string) => Promise<Change | null>
}

export const randomKinds = [
  'weight',
  'weights',
  'add',
  'remove',
  'drain',
  'undrain',
  'failure',
  'disable',
  'enable',
  'kill',
  'restart',
  'upgrade',
  'apply',
  'out of file',
  'into file',
  'deadline',
] as const
export type RandomKind = (typeof randomKinds)[number]

const DEADLINE_MS = 2000

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
  /** Out of the file, not to be confused with the spare one. */
  let outOfFile: string | null = null

  /** What is configured now as the file would have it. */
  const fileRows = async (): Promise<FileRow[]> =>
    (await rows())
      .filter(({ service, state }) => service === SERVICES[0] && state !== 'leaving')
      .map(({ backend, address, weight }) => ({ name: backend, address, weight }))
  /** No order outlives it: whoever was cut by one comes back. */
  const apply = async (wanted: readonly FileRow[]): Promise<void> => {
    site.editFile(wanted)
    await site.control(client => client.apply())
    for (const { name } of wanted) {
      const why = judge.failure(name)
      if (why === 'disabled' || why === 'deadline') await up(name)
    }
  }

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
      run: async () => {
        await each(service => client => client.backend.undrain(service, backend))
        await up(backend)
      },
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
    restartDaemon: () => ({
      title: 'SIGTERM of the daemon, and the same build starts',
      moves: false,
      run: async () => {
        await site.stopDaemon('SIGTERM')
        await site.startDaemon(build)
      },
    }),
    applyWeights: weights => ({
      title: `apply of the file with weights ${JSON.stringify(weights)}`,
      moves: true,
      run: async () => {
        const all = await fileRows()
        await apply(all.map(row => ({ ...row, weight: weights[row.name] ?? row.weight })))
      },
    }),
    takeOutOfFile: backend => ({
      title: `apply of the file without ${backend}, which leaves`,
      moves: true,
      run: async () => {
        outOfFile = backend
        await apply((await fileRows()).filter(({ name }) => name !== backend))
        await until(`${backend} leaves`, all => both(all, backend, row => row.state === 'leaving'))
      },
    }),
    putIntoFile: backend => ({
      title: `apply of the file with ${backend} again`,
      moves: true,
      run: async () => {
        outOfFile = null
        await apply([...(await fileRows()), { name: backend, address: spareAddress(backend), weight: 1 }])
        await up(backend)
      },
    }),
    drainPastDeadline: backend => ({
      title: `drain ${backend}, and its deadline passes while the daemon is dead`,
      moves: true,
      run: async () => {
        const deadline = DEADLINE_MS / 1000
        await each(service => client => client.backend.drain(service, backend, { deadline }))
        const passesAt = Date.now() + DEADLINE_MS
        await site.stopDaemon('SIGKILL')
        await sleep(Math.max(0, passesAt + 500 - Date.now()))
        judge.fails(backend, 'deadline')
        await site.startDaemon(build)
        await until(`${backend} is out`, all => both(all, backend, row => row.drain?.isOut === true))
      },
    }),
    random: async (kind, random, spare) => {
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
      const weightOf = (name: string): number => all.find(({ backend }) => backend === name)!.weight
      const another = (name: string): number =>
        weightOf(name) >= 3 ? 1 : weightOf(name) + random.between(1, 3)
      const make = <A extends string | undefined>(
        name: A,
        change: (backend: string) => Change,
      ): Change | null => (name === undefined ? null : change(name))
      switch (kind) {
        case 'weight':
          return make(well, name => changes.weight(name, another(name)))
        case 'weights': {
          const some = all.filter(isWell).map(({ backend }) => [backend, another(backend)] as const)
          return some.length > 1 ? changes.severalWeights(Object.fromEntries(some.slice(0, 3))) : null
        }
        case 'add':
          return all.some(({ backend }) => backend === spare) ? null : changes.add(spare)
        case 'remove':
          return mayGo !== undefined && all.some(row => row.backend === spare && isWell(row))
            ? changes.remove(spare)
            : null
        case 'drain':
          return make(mayGo, changes.drain)
        case 'undrain':
          return make(
            of(({ state }) => state === 'draining'),
            changes.undrain,
          )
        case 'failure':
          return make(mayGo, random.chance(0.5) ? changes.crash : changes.linkDown)
        case 'disable':
          return make(mayGo, changes.disable)
        case 'enable':
          return make(
            of(({ state }) => state === 'disabled'),
            changes.enable,
          )
        case 'kill':
          return changes.killDaemon(random.pick([0, 1000, 5000]))
        case 'restart':
          return changes.restartDaemon()
        case 'upgrade':
          return changes.upgrade()
        case 'apply':
          return make(well, name => changes.applyWeights({ [name]: another(name) }))
        case 'out of file':
          return mayGo === undefined || mayGo === spare || outOfFile !== null
            ? null
            : changes.takeOutOfFile(mayGo)
        case 'into file':
          return make(outOfFile ?? undefined, changes.putIntoFile)
        case 'deadline':
          return make(mayGo, changes.drainPastDeadline)
      }
    },
  }
  return changes
}
