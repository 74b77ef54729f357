/** One scenario under one policy: who breaks although his backend lives. */
import { buildRing, type Claim, type FullRing, refillRing } from '../../src/ring.js'
import { type Random, seededRandom } from '../../test/fixtures/random.js'
import { createQueue, type Habit, someTcp, someUdp } from './flows.js'
import { type Backend, IDLE_MS, type Policy, UDP_IDLE_MS } from './policies.js'
import { BACKENDS, type Scenario } from './scenarios.js'

export interface Scale {
  readonly ringSize: number
  /** New flows a second. */
  readonly tcp: number
  readonly udp: number
  /** Default: someTcp. */
  readonly tcpHabit?: (random: Random) => Habit
}

export interface Outcome {
  /** Open when it begins. */
  readonly present: number
  readonly flows: number
  readonly packets: number
  /** Established TCP connections; handshakes; UDP flows. */
  readonly broken: number
  readonly torn: number
  readonly misrouted: number
  readonly meanTracked: number
  readonly endTracked: number
}

export type MakePolicy = (ring: Int32Array, backend: (id: number) => Backend) => Policy

interface Site {
  readonly claim: Claim & { weight: number }
  isUp: boolean
  isDraining: boolean
  /** Odd while its process lives; another number in each life. */
  life: number
}

interface Flow extends Habit {
  readonly index: number
  readonly endsAt: number
  /** Id and life of the backend that it is with. */
  backend: number
  life: number
  seen: number
  isAnswered: boolean
}

const WARM_UP_MS = 3_600_000
const SYN_LOSS = 0.01

export const simulate = (scenario: Scenario, scale: Scale, seed: number, make: MakePolicy): Outcome => {
  const random: Random = seededRandom(seed)
  const sites: Site[] = []
  const newSite = (): void => {
    const identity = `10.0.${sites.length >> 8}.${sites.length & 255}:80`
    sites.push({ claim: { identity, weight: 100 }, isUp: true, isDraining: false, life: 1 })
  }
  for (let i = 0; i < BACKENDS; i++) newSite()
  let full: { readonly signature: string; readonly ring: FullRing } | null = null
  const ids = (): Int32Array => {
    const claims = sites.map(({ claim }) => ({ ...claim }))
    const signature = claims.map(({ weight }) => weight).join()
    if (full?.signature !== signature) full = { signature, ring: buildRing(claims, scale.ringSize) }
    const { ring } = full
    return refillRing(ring, (_, index) => !sites[index]!.isUp || sites[index]!.isDraining).map(
      owner => owner + 1,
    )
  }
  const backend = (id: number): Backend => {
    const site = sites[id - 1]
    return { isDead: !site?.isUp, takesNew: Boolean(site?.isUp && !site.isDraining) }
  }
  const policy = make(ids(), backend)
  const queue = createQueue<Flow>()
  const sums = { flows: 0, packets: 0, broken: 0, torn: 0, misrouted: 0 }
  let made = 1
  let isDirty = false

  const gap = ({ gapMs: [from, to] }: Flow): number => from + (random.u32() / 2 ** 32) * (to - from)
  const flowOf = (habit: Habit, at: number): Flow => ({
    ...habit,
    index: made++,
    endsAt: at + habit.lengthMs,
    backend: 0,
    life: 0,
    seen: at,
    isAnswered: true,
  })
  const send = (flow: Flow, kind: 'syn' | 'data' | 'fin', at: number): number => {
    sums.packets++
    return policy.send({ flow: flow.index, isUdp: flow.isUdp, kind }, at)
  }
  const settle = (flow: Flow, id: number): void => {
    flow.backend = id
    flow.life = sites[id - 1]?.life ?? 0
  }
  const open = (habit: Habit, at: number): void => {
    const flow = flowOf(habit, at)
    sums.flows++
    settle(flow, send(flow, habit.isUdp ? 'data' : 'syn', at))
    if (flow.life % 2 === 0) return
    flow.isAnswered = habit.isUdp || !random.chance(SYN_LOSS)
    queue.push(at + (flow.isAnswered ? random.between(10, 300) : 1000), flow)
  }
  const isLiving = ({ backend: id, life }: Flow): boolean => sites[id - 1]!.life === life && life % 2 === 1

  const turn = (flow: Flow, at: number): void => {
    if (!flow.isAnswered) {
      // Its SYN once more; whichever of the two is answered first.
      const [first, life] = [flow.backend, flow.life]
      settle(flow, send(flow, 'syn', at))
      flow.isAnswered = true
      if (random.chance(0.5) && sites[first - 1]!.life === life) Object.assign(flow, { backend: first, life })
      const to = send(flow, 'data', at + 20)
      if (to !== flow.backend && isLiving(flow) && sites[flow.backend - 1]!.isUp) {
        sums.torn++
        return
      }
      flow.seen = at + 20
      queue.push(at + 20 + gap(flow), flow)
      return
    }
    const isLast = at >= flow.endsAt
    const to = send(flow, isLast && !flow.isUdp ? 'fin' : 'data', at)
    const site = sites[flow.backend - 1]!
    if (to !== flow.backend || site.life !== flow.life) {
      const isOurs = isLiving(flow) && site.isUp && at - flow.seen <= (flow.isUdp ? UDP_IDLE_MS : IDLE_MS)
      if (isOurs) flow.isUdp ? sums.misrouted++ : sums.broken++
      if (!flow.isUdp) return
      settle(flow, to)
    }
    flow.seen = at
    if (!isLast) queue.push(Math.min(at + gap(flow), Math.max(at + 1, flow.endsAt)), flow)
  }

  // What is there already: nothing was tracked, so each is where the ring has it. Tables have seen the latest last.
  const present: Flow[] = []
  for (let at = -WARM_UP_MS; at < 0; at += 1000)
    for (const [rate, some] of [
      [scale.tcp, scale.tcpHabit ?? someTcp],
      [scale.udp, someUdp],
    ] as const)
      for (let i = 0; i < rate; i++) {
        const flow = flowOf(some(random), at)
        if (flow.endsAt < 0) continue
        const next = gap(flow)
        flow.seen = -random.below(Math.ceil(Math.min(next, -at)))
        present.push(flow)
        queue.push(flow.seen + next, flow)
      }
  for (const flow of present.sort((one, other) => one.seen - other.seen))
    settle(flow, send(flow, 'data', flow.seen))

  const world = {
    random,
    weight: (index: number, weight: number) => {
      sites[index]!.claim.weight = weight
      isDirty = true
    },
    add: () => {
      newSite()
      isDirty = true
    },
    drain: (index: number, isDraining: boolean) => {
      sites[index]!.isDraining = isDraining
      isDirty = true
    },
    kill: (index: number) => {
      if (sites[index]!.life % 2 === 1) sites[index]!.life++
    },
    begin: (index: number) => {
      if (sites[index]!.life % 2 === 0) sites[index]!.life++
    },
    believe: (index: number, isUp: boolean) => {
      isDirty ||= sites[index]!.isUp !== isUp
      sites[index]!.isUp = isUp
    },
  }
  let tracked = 0
  for (let second = 0; second < scenario.lasts; second++) {
    const now = second * 1000
    scenario.at(second, world)
    if (isDirty) policy.setOwners(ids(), now)
    isDirty = false
    policy.tick(now)
    if (second % 10 === 0) policy.sweep(now)
    if (second % 60 === 0) tracked += policy.trackedShare()
    for (const [rate, some] of [
      [scale.tcp, scale.tcpHabit ?? someTcp],
      [scale.udp, someUdp],
    ] as const)
      for (let i = 0; i < rate; i++) open(some(random), now + random.below(1000))
    const flood = scale.tcp * (scenario.flood?.(second) ?? 0)
    for (let i = 0; i < flood; i++) policy.send({ flow: 2 ** 31 + made++, isUdp: false, kind: 'syn' }, now)
    for (let next = queue.pop(now + 999); next; next = queue.pop(now + 999)) turn(next.what, next.at)
  }
  return {
    ...sums,
    present: present.length,
    meanTracked: tracked / Math.ceil(scenario.lasts / 60),
    endTracked: policy.trackedShare(),
  }
}
