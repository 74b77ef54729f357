/** What does it cost a packet that its slot is tracked? */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadNative } from '../src/native.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { BACKENDS, type Balancer, RING_SIZE } from './data-plane/balancer.js'
import { trackedCases, trackedServices } from './data-plane/cases.js'
import { encodePacket } from './data-plane/packet.js'
import { figureOf } from './data-plane/rounds.js'
import { loadTrampoline, programFd } from './data-plane/trampoline.js'
import { measureLoad, type Plan } from './data-plane.js'
import { addVethPair } from './namespace.js'
import { median, undisturbed } from './statistics.js'

const RANDOM_LINE = fileURLToPath(new URL('../build/native/bpf/random_line.bpf.o', import.meta.url))
const LOOPBACK = 1
/** XDP_TX */
const TX = 3
const PACKETS = 1_000_000
const MIB = 2 ** 20
const BYTES_PER_FLOW = 8

const emptyCache = ({ dataplane }: Balancer): void => {
  new BigUint64Array(dataplane.memory('flow_cache')).fill(0n)
}

const plansOf = ({ isQuick }: BenchOptions): readonly (Plan & { readonly cacheMib: number })[] => {
  const rounds = isQuick ? { loads: 1, rounds: 12 } : { loads: 3, rounds: 15 }
  const of = (
    cacheMib: number,
    cases: Plan['cases'],
    prepare?: Plan['prepare'],
    services: Plan['services'] = trackedServices.dr,
  ) => ({
    ...rounds,
    cases: cases.map(one => ({ ...one, name: `${one.name}, cache of ${cacheMib} MiB` })),
    services,
    flows: (cacheMib * MIB) / BYTES_PER_FLOW,
    cacheMib,
    ...(prepare ? { prepare } : {}),
  })
  return [
    of(16, trackedCases.known),
    of(16, trackedCases.knownIpip, undefined, trackedServices.ipip),
    of(
      8,
      trackedCases.known.slice(1).map(one => ({ ...one, budget: null })),
    ),
    of(16, trackedCases.remembered, emptyCache),
    of(8, trackedCases.remembered, emptyCache),
    of(8, trackedCases.refused),
  ]
}

/** One load from an array as large as the cache, at a random place: what a look-up cannot cost less than. */
const randomLine = async (rounds: number): Promise<Figure> => {
  const kind = trackedCases.known.at(-1)!
  const trampoline = await loadTrampoline(kind)
  const object = new (loadNative().BpfObject)(readFileSync(RANDOM_LINE))
  object.setInitialValue('.rodata', encodePacket(kind))
  await object.load()
  const program = object.program('load_line')
  try {
    const fd = programFd('prog_id', program.info.id)
    const nsPerPacket = (target: number): number => {
      trampoline.aim(target)
      const { cpuNs, action } = trampoline.run(PACKETS, LOOPBACK)
      check(action === TX, `the XDP action of a random line was ${action}`)
      return cpuNs / PACKETS
    }
    const loaded: number[] = []
    const empty: number[] = []
    for (let round = 0; round < rounds; round++) {
      loaded.push(nsPerPacket(fd))
      empty.push(nsPerPacket(trampoline.emptyFd))
    }
    return {
      name: 'for comparison: one random line of an array of 16 MiB',
      value: undisturbed(loaded) - undisturbed(empty),
      unit: 'ns',
      note: `median of all rounds ${(median(loaded) - median(empty)).toFixed(1)}`,
    }
  } finally {
    for (const held of [trampoline, program, object]) held.close()
  }
}

const run = async (options: BenchOptions): Promise<Answer> => {
  const [other] = await addVethPair('out', 'sink')
  const interfaces = { entry: LOOPBACK, other }
  const figures: Answer['figures'][number][] = []
  let program = ''
  const plans = plansOf(options)
  for (const plan of plans) {
    const loads: Awaited<ReturnType<typeof measureLoad>>[] = []
    for (let load = 0; load < plan.loads; load++) loads.push(await measureLoad(plan, interfaces))
    program = loads.at(-1)!.program
    figures.push(...plan.cases.map((_, i) => figureOf(loads.map(({ rounds }) => rounds[i]!))))
  }
  figures.push(await randomLine(plans[0]!.rounds))
  return {
    figures,
    setup: [
      program,
      `${plans[0]!.loads} loads of the program, ${plans[0]!.rounds} rounds each`,
      `one service a load, ${BACKENDS} backends, a ring of ${RING_SIZE} slots, all of them learning`,
      'remembered: the cache is emptied before each round of a million new flows; no place: it is full of live ones',
    ],
  }
}

export const dataPlaneTracked: Bench = {
  name: 'data-plane-tracked',
  question: 'What does a packet cost whose slot is tracked, above a program that does nothing?',
  method: 'as data-plane: ns a packet above empty, thread CPU time of BPF_PROG_TEST_RUN',
  needsKernel: true,
  run,
}
