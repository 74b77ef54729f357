/** What do NAT and FULLNAT cost a packet, and those that are not translated? */
import { connectionLayout } from '../src/dataplane/layout.js'
import { loadNative } from '../src/native.js'
import { tcpFlags } from '../test/fixtures/transport.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { type Balancer, RING_SIZE, type ServiceToLoad } from './data-plane/balancer.js'
import { ALL_NEW, type Case, cases } from './data-plane/cases.js'
import { figureOf, LOOPBACK, measureSites, type Rounds, type Site } from './data-plane/rounds.js'
import { services } from './data-plane/services.js'
import { loadTrampoline } from './data-plane/trampoline.js'
import { MANY, reply, request, translated } from './data-plane/translated.js'
import { addVethPair } from './namespace.js'
import { disturbance, median } from './statistics.js'

/** A pass opens what finds a place; the last ports of a full pool are found by the next ones. */
const PASSES = 8

/** Sends a case's every flow once. */
const sendEach = async (one: Case, fd: number): Promise<void> => {
  const trampoline = await loadTrampoline(one)
  try {
    trampoline.aim(fd)
    trampoline.run(one.flows, LOOPBACK)
  } finally {
    trampoline.close()
  }
}

const usedBy = ({ dataplane }: Balancer): number => {
  const { size, fields } = connectionLayout
  const bytes = new Uint8Array(dataplane.memory('connections'))
  let used = 0
  for (let at = fields.kind.offset; at < bytes.length; at += size) if (bytes[at] !== 0) used++
  return used
}

/** Opens a service's every local port, as clients and its backend would. */
const fill = async (balancer: Balancer, fd: number, service: ServiceToLoad): Promise<void> => {
  const flows = service.localAddresses!.length * 65536
  const wish = { title: service.name, flows, budget: null }
  const before = usedBy(balancer)
  for (let pass = 0; pass < PASSES && usedBy(balancer) - before < flows; pass++)
    await sendEach(request(service, wish, tcpFlags.SYN), fd)
  const opened = usedBy(balancer) - before
  check(opened === flows, `${service.name}: ${opened} of ${flows} connections were opened`)
  if (service.backends === 1) await sendEach(reply(service, wish, tcpFlags.SYN | tcpFlags.ACK), fd)
  await sendEach(request(service, wish), fd)
}

/** No connection is there, nor was any. */
const empty = ({ dataplane }: Balancer): void => {
  new BigUint64Array(dataplane.memory('connections')).fill(0n)
  new BigUint64Array(dataplane.memory('connection_index')).fill(0n)
}

/** All of them are over, long since. */
const runOut = ({ dataplane }: Balancer): void => {
  const words = new Uint32Array(dataplane.memory('connections'))
  const at = connectionLayout.fields.expires.offset / 4
  for (let i = at; i < words.length; i += connectionLayout.size / 4) if (words[i] !== 0) words[i] = 1
}

const ordinary = (suffix: string): Case[] =>
  cases
    .filter(({ name, flows }) => /^(DR IPv[46] TCP|no service)/.test(name) && (flows === 1 || flows === MANY))
    .filter(({ name }) => !/VLAN|devmap/.test(name))
    .map(one => ({ ...one, name: `${one.name}; ${suffix}`, budget: null }))

const { nat4, nat6, request4, request6, reply4, reply6 } = translated

const both = (
  title: string,
  of: (title: string, flows: number, budget: number) => Case,
  budgets: [number, number],
) => [of(title, 1, budgets[0]), of(title, MANY, budgets[1])]

const requests = (title: string, service: ServiceToLoad, budgets: [number, number]): Case[] =>
  both(title, (name, flows, budget) => request(service, { title: name, flows, budget }), budgets)
const replies = (title: string, service: ServiceToLoad, budgets: [number, number]): Case[] =>
  both(title, (name, flows, budget) => reply(service, { title: name, flows, budget }), budgets)

const newOf = (title: string, service: ServiceToLoad, budget: number | null): Case =>
  request(service, { title, flows: ALL_NEW, flowsText: 'every packet', budget }, tcpFlags.SYN)

const sitesFor = (cpus: number): readonly Site[] => {
  const [fresh, told] = [translated.fresh(cpus, false), translated.fresh(cpus, true)]
  const newConnection = (
    title: string,
    service: ServiceToLoad,
    prepare: (balancer: Balancer) => void,
    budget: number | null,
  ): Site => ({
    services: [service],
    flows: null,
    cases: [newOf(title, service, budget)],
    prepare,
    open: async (balancer, fd) => {
      // So that each entry has been somebody's.
      for (let pass = 0; pass < 3; pass++) {
        prepare(balancer)
        await sendEach(request(service, { title: service.name, flows: MANY, budget: null }, tcpFlags.SYN), fd)
      }
    },
  })
  return [
    { services, flows: null, cases: ordinary('neither') },
    {
      services: [...services, nat4, nat6],
      flows: null,
      cases: [
        ...ordinary('NAT'),
        ...requests('NAT request, IPv4 TCP', nat4, [26, 29]),
        ...requests('NAT request, IPv6 TCP', nat6, [26, 29]),
        ...replies('NAT reply, IPv4 TCP', nat4, [20, 24]),
        ...replies('NAT reply, IPv6 TCP', nat6, [20, 24]),
      ],
    },
    {
      services: [...services, nat4, nat6, request4, request6],
      flows: null,
      cases: [
        ...ordinary('NAT and FULLNAT'),
        ...requests('FULLNAT request, IPv4 TCP', request4, [50, 250]),
        request(request6, { title: 'FULLNAT request, IPv6 TCP', flows: 1, budget: 50 }),
      ],
      open: async (balancer, fd) => {
        for (const service of [request4, request6]) await fill(balancer, fd, service)
      },
    },
    {
      services: [reply4, reply6],
      flows: null,
      cases: [
        ...replies('FULLNAT reply, IPv4 TCP', reply4, [40, 220]),
        reply(reply6, { title: 'FULLNAT reply, IPv6 TCP', flows: 1, budget: 40 }),
      ],
      open: async (balancer, fd) => {
        for (const service of [reply4, reply6]) await fill(balancer, fd, service)
      },
    },
    newConnection('FULLNAT new connection, IPv4 TCP, entries unused', fresh, empty, 300),
    newConnection('FULLNAT new connection, IPv4 TCP, entries of former ones', fresh, runOut, 300),
    newConnection('FULLNAT new connection, IPv4 TCP, entries unused, TOA', told, empty, null),
  ]
}

/** What a packet that is not translated costs more where others are. */
const moreOf = (figures: readonly Figure[]): Figure[] =>
  figures.flatMap(({ name, value }) => {
    const [what, when] = name.split('; ')
    const without = figures.find(one => one.name === `${what}; neither`)
    if (without === undefined || when === undefined || when.startsWith('neither')) return []
    const budget = what!.startsWith('no service') ? { budget: { of: 'value', atMost: 2 } as const } : {}
    return [{ name: `more with ${when}: ${what}`, value: value - without.value, unit: 'ns', ...budget }]
  })

/** From the maps that are loaded. */
const bytesAConnection = async (interfaces: { entry: number; other: number }): Promise<Figure> => {
  const { loadBalancer } = await import('./data-plane/balancer.js')
  const { dataplane } = await loadBalancer([request4], interfaces)
  try {
    const [entries, index] = [dataplane.memory('connections'), dataplane.memory('connection_index')]
    return {
      name: 'a FULLNAT connection',
      value: (entries.byteLength + index.byteLength) / MANY,
      unit: 'bytes',
      budget: { of: 'value', atMost: 80 },
      note: `${entries.byteLength / MANY} of the connections, ${index.byteLength / MANY} of their index`,
    }
  } finally {
    await dataplane.close()
  }
}

const run = async ({ isQuick }: BenchOptions): Promise<Answer> => {
  const [loads, rounds] = isQuick ? [1, 8] : [3, 15]
  const [other] = await addVethPair('out', 'sink')
  const interfaces = { entry: LOOPBACK, other }
  const sites = sitesFor(loadNative().possibleCpus)
  const all: Rounds[][] = []
  let programs: string[] = []
  for (let load = 0; load < loads; load++) {
    const measured = await measureSites(sites, rounds, interfaces)
    all.push(measured.rounds)
    programs = measured.programs
  }
  const figures = sites.flatMap(site => site.cases).map((_, i) => figureOf(all.map(one => one[i]!)))
  return {
    figures: [...figures, ...moreOf(figures), await bytesAConnection(interfaces)],
    setup: [
      ...sites.map(({ cases: [first] }, i) => `${first!.name}: ${programs[i]}`),
      `${loads} loads of each, ${rounds} rounds, all cases of all of them in turn; rings of ${RING_SIZE} slots`,
      'replies: from one backend, to clients behind one gateway, after two prefixes of the host that are longer',
      'FULLNAT: every local port of its pool has a connection that is established; new ones: a pool of which at most half is taken',
      ...disturbance(all.flatMap(one => one.map(({ balanced }) => balanced))),
      `the median of empty programs took ${median(all.flatMap(one => one.map(each => median(each.empty)))).toFixed(1)} ns`,
    ],
  }
}

export const dataPlaneNat: Bench = {
  name: 'data-plane-nat',
  question: 'What do NAT and FULLNAT cost a packet, and those that are not translated?',
  method:
    'as data-plane: ns a packet above empty, thread CPU time of BPF_PROG_TEST_RUN; here several loads of the program at once, each with tables of its own, in the same rounds',
  needsKernel: true,
  run,
}
