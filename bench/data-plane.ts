/** What does the data plane cost a packet, above a program that does nothing? */
import type { Answer, Bench, BenchOptions } from './bench.js'
import { BACKENDS, type Interfaces, RING_SIZE } from './data-plane/balancer.js'
import { cases } from './data-plane/cases.js'
import {
  figureOf,
  LOOPBACK,
  measureSites,
  PACKETS,
  PACKETS_OF_MANY_FLOWS,
  type Rounds,
  type Site,
} from './data-plane/rounds.js'
import { services } from './data-plane/services.js'
import { addVethPair } from './namespace.js'
import { disturbance } from './statistics.js'

export interface Plan extends Site {
  readonly loads: number
  readonly rounds: number
}

const untracked = { services, flows: null }
const planOf = ({ isQuick }: BenchOptions): Plan =>
  isQuick
    ? { loads: 1, rounds: 12, cases: cases.filter(one => one.isQuick), ...untracked }
    : { loads: 3, rounds: 15, cases, ...untracked }

const thousands = (value: number): string => value.toLocaleString('en')

/** One load of the program, all rounds. */
export const measureLoad = async (
  plan: Plan,
  interfaces: Interfaces,
): Promise<{ rounds: Rounds[]; program: string }> => {
  const { rounds, programs } = await measureSites([plan], plan.rounds, interfaces)
  return { rounds, program: programs[0]! }
}

const run = async (options: BenchOptions): Promise<Answer> => {
  const plan = planOf(options)
  const [other] = await addVethPair('out', 'sink')
  const interfaces = { entry: LOOPBACK, other }
  const loads: Rounds[][] = []
  let program = ''
  for (let load = 0; load < plan.loads; load++) {
    const measured = await measureLoad(plan, interfaces)
    loads.push(measured.rounds)
    program = measured.program
  }
  return {
    figures: plan.cases.map((_, i) => figureOf(loads.map(rounds => rounds[i]!))),
    setup: [
      program,
      `${plan.loads} loads of the program, ${plan.rounds} rounds each of ${thousands(PACKETS)} packets, ${thousands(PACKETS_OF_MANY_FLOWS)} where there are many flows`,
      `${services.length} services in a table for 1,024, ${BACKENDS} backends each, rings of ${RING_SIZE} slots`,
      ...disturbance(loads.flatMap(rounds => rounds.map(({ balanced }) => balanced))),
      `frames with 64 bytes of payload: IPv4 TCP ${cases[0]!.frame.length} bytes, IPv6 TCP ${cases[8]!.frame.length}; DF set`,
    ],
  }
}

export const dataPlane: Bench = {
  name: 'data-plane',
  question: 'What does the data plane cost a packet, above a program that does nothing?',
  method:
    "ns a packet above empty. BPF_PROG_TEST_RUN, thread CPU time; a trampoline restores and varies the packet, then tail-calls the shipped program, and in turn one that only returns XDP_TX; undisturbed (10th percentile) rounds of each, their difference; where headers are put ahead, less what the trampoline takes to undo it (half of a program that only moves the frame's head); median over the loads of the program [least, greatest]",
  needsKernel: true,
  run,
}
