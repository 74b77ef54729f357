/** How many connections break that need not, when backends come, go and fail? */
import { mixedTcp } from './affinity/flows.js'
import { flowTable, type Policy, ringAlone, trackedSlots } from './affinity/policies.js'
import { BACKENDS, type Scenario, scenarios } from './affinity/scenarios.js'
import { type MakePolicy, type Outcome, type Scale, simulate } from './affinity/simulate.js'
import type { Answer, Bench, BenchOptions, Figure } from './bench.js'

const SEED = 1
/** An entry of the kernel's LRU hash takes 15 times the 8 bytes of one here. */
const LRU_BYTES_RATIO = 15

interface Plan {
  readonly scale: Scale
  readonly entries: number
  readonly scenarios: readonly Scenario[]
}

const planOf = ({ isQuick }: BenchOptions): Plan =>
  isQuick
    ? { scale: { ringSize: 1021, tcp: 8, udp: 2 }, entries: 2048, scenarios: scenarios.slice(2, 4) }
    : { scale: { ringSize: 4099, tcp: 40, udp: 6 }, entries: 8192, scenarios }

const policiesOf = (entries: number): readonly (readonly [name: string, make: MakePolicy])[] => {
  const lru = Math.floor(entries / LRU_BYTES_RATIO)
  return [
    ['ring alone', (ring): Policy => ringAlone(ring)],
    [`LRU of ${lru} flows (same bytes)`, (ring, backend): Policy => flowTable(ring, lru, backend)],
    [`LRU of ${entries} flows`, (ring, backend): Policy => flowTable(ring, entries, backend)],
    ['tracked slots', (ring, backend): Policy => trackedSlots(ring, entries, backend)],
  ]
}

const share = (value: number): string => value.toFixed(3)
const figureOf = (name: string, policy: string, outcome: Outcome): Figure => ({
  name: `${name}: ${policy}`,
  value: outcome.broken,
  unit: 'broken',
  note:
    `of ${outcome.flows} flows; handshakes ${outcome.torn}, UDP ${outcome.misrouted}` +
    (outcome.meanTracked > 0
      ? `; tracked ${share(outcome.meanTracked)} mean, ${share(outcome.endTracked)} at the end`
      : ''),
})

/** About one flow a slot. */
const trackedShareOf = (): Figure => {
  const scenario = { ...scenarios.find(({ name }) => name.startsWith('weights of all (50'))!, lasts: 2400 }
  const scale = { ringSize: 65537, tcp: 800, udp: 0, tcpHabit: mixedTcp }
  const { endTracked, present, broken } = simulate(scenario, scale, SEED, (ring, backend) =>
    trackedSlots(ring, 131072, backend),
  )
  return {
    name: 'tracked slots 40 minutes after a change of all weights',
    value: 100 * endTracked,
    unit: '%',
    note: `of 65537; ${present} flows were open, a tenth of them for an hour; ${broken} broken`,
    budget: { of: 'value', atMost: 2 },
  }
}

const run = async (options: BenchOptions): Promise<Answer> => {
  const { scale, entries, scenarios: chosen } = planOf(options)
  const figures: Figure[] = chosen.flatMap(scenario =>
    policiesOf(entries).map(([policy, make]) =>
      figureOf(scenario.name, policy, simulate(scenario, scale, SEED, make)),
    ),
  )
  if (!options.isQuick) figures.push(trackedShareOf())
  return {
    figures,
    setup: [
      `seed ${SEED}; ${scale.tcp} TCP and ${scale.udp} UDP new flows a second after an hour of them; ${BACKENDS} backends, a ring of ${scale.ringSize} slots`,
      `a flow cache of ${entries} entries; idle time 15 minutes, UDP 60 s; failures are seen 6 s late`,
      'broken: established TCP connections sent elsewhere though their backend lived, was believed up, and they had not been idle',
    ],
  }
}

export const affinity: Bench = {
  name: 'affinity',
  question: 'How many connections break that need not, when backends come, go and fail?',
  method:
    'simulation: the real rings and slot rules, the model of the data plane that its tests hold it against (test/model/recall.ts); beside it the ring alone and an exact LRU table of flows',
  needsKernel: false,
  run,
}
