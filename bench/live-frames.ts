/** How much slower than a plain XDP redirect are frames that really travel? */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Verdict } from '../src/dataplane/dataplane.js'
import { type BpfMap, type BpfProgram, loadNative } from '../src/native.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { BACKENDS, type Balancer, loadBalancer, packetsByVerdict, RING_SIZE } from './data-plane/balancer.js'
import { type LiveKind, liveKinds } from './data-plane/cases.js'
import { encodePacket, type PacketKind, testRunContext, u32Bytes } from './data-plane/packet.js'
import { services } from './data-plane/services.js'
import { addVethPair } from './namespace.js'
import { disturbance, median, undisturbed } from './statistics.js'

const OBJECT = fileURLToPath(new URL('../build/native/bpf/live_frames.bpf.o', import.meta.url))
/** The veth ring has 256 places; 64 frames at a time overrun none of them. */
export const BATCH = 64
const SETTLE_MS = 2000

/** Keys of `ways` in live_frames.bpf.c. */
const WAY_IN = 0
const WAY_OUT = 1

/** generate -> gen -> in: plain, or the balancer -> out -> sink. */
export interface Interfaces {
  readonly gen: number
  readonly in: number
  readonly out: number
  readonly sink: number
}

export interface Programs {
  readonly generate: BpfProgram
  readonly plain: BpfProgram
  readonly sink: BpfProgram
  readonly delivered: BpfMap
  close(): void
}

export const loadPrograms = async (kind: PacketKind, interfaces: Interfaces): Promise<Programs> => {
  const object = new (loadNative().BpfObject)(readFileSync(OBJECT))
  object.setInitialValue('.rodata', encodePacket(kind))
  await object.load()
  const [generate, plain, sink] = ['generate', 'plain', 'sink'].map(name => object.program(name))
  const [ways, delivered] = ['ways', 'delivered'].map(name => object.map(name))
  object.close()
  ways!.update(u32Bytes(WAY_IN), u32Bytes(interfaces.gen))
  ways!.update(u32Bytes(WAY_OUT), u32Bytes(interfaces.out))
  ways!.close()
  return {
    generate: generate!,
    plain: plain!,
    sink: sink!,
    delivered: delivered!,
    close: () => {
      for (const held of [generate, plain, sink, delivered]) held!.close()
    },
  }
}

export const deliveredSoFar = ({ delivered }: Programs): number => {
  const perCpu = new BigUint64Array(delivered.lookup(u32Bytes(0)).slice().buffer)
  return Number(perCpu.reduce((sum, count) => sum + count, 0n))
}

/** Waits until the sink has had `frames`, but not for ever. @returns how many it has had */
export const awaitDelivery = async (programs: Programs, frames: number): Promise<number> => {
  const until = performance.now() + SETTLE_MS
  while (deliveredSoFar(programs) < frames && performance.now() < until)
    await new Promise(resolve => setTimeout(resolve, 5))
  return deliveredSoFar(programs)
}

export type NamedPackets = PacketKind & { readonly name: string }

/** Sends frames through whatever is attached. @returns CPU time a frame, from generator to sink */
export const send = async (
  programs: Programs,
  kind: NamedPackets,
  gen: number,
  frames: number,
): Promise<number> => {
  const before = deliveredSoFar(programs)
  const { cpuNs } = programs.generate.testRunSync({
    data: kind.frame,
    context: testRunContext(kind.frame, gen),
    repeat: frames,
    liveFrames: true,
    batchSize: BATCH,
  })
  const delivered = (await awaitDelivery(programs, before + frames)) - before
  check(delivered === frames, `${kind.name}: ${delivered} of ${frames} frames were delivered`)
  return cpuNs / frames
}

/** ns a frame, by round. */
interface Rounds {
  readonly plain: number[]
  readonly balanced: number[]
}

interface Plan {
  readonly loads: number
  readonly rounds: number
  readonly frames: number
  readonly kinds: readonly LiveKind[]
}

const planOf = ({ isQuick }: BenchOptions): Plan =>
  isQuick
    ? { loads: 1, rounds: 8, frames: 300_000, kinds: liveKinds.quick }
    : { loads: 3, rounds: 11, frames: 500_000, kinds: liveKinds.all }

const measureKind = async (
  kind: LiveKind,
  { dataplane }: Balancer,
  interfaces: Interfaces,
  { rounds, frames }: Plan,
): Promise<Rounds> => {
  const { XdpLink } = loadNative()
  const programs = await loadPrograms(kind, interfaces)
  const sink = await XdpLink.attach(programs.sink, interfaces.sink, 'native')
  const measured: Rounds = { plain: [], balanced: [] }
  const plain = async () => {
    const link = await XdpLink.attach(programs.plain, interfaces.in, 'native')
    measured.plain.push(await send(programs, kind, interfaces.gen, frames))
    await link.close()
  }
  const balanced = async () => {
    await dataplane.attach(interfaces.in, 'native')
    measured.balanced.push(await send(programs, kind, interfaces.gen, frames))
    await dataplane.detach(interfaces.in)
  }
  try {
    for (let round = 0; round < rounds; round++)
      for (const one of round % 2 === 0 ? [plain, balanced] : [balanced, plain]) await one()
  } finally {
    await sink.close()
    programs.close()
  }
  return measured
}

/** One load of the data plane: every kind, and each frame in its verdict. */
const measureLoad = async (plan: Plan, interfaces: Interfaces): Promise<Rounds[]> => {
  const ways = { entry: interfaces.in, other: interfaces.out }
  const balancer = await loadBalancer(services, ways)
  try {
    const measured: Rounds[] = []
    for (const kind of plan.kinds) measured.push(await measureKind(kind, balancer, interfaces, plan))
    const sent = new Map<Verdict, number>()
    for (const { verdict } of plan.kinds)
      sent.set(verdict, (sent.get(verdict) ?? 0) + plan.rounds * plan.frames)
    for (const [verdict, packets] of await packetsByVerdict(balancer)) {
      const expected = sent.get(verdict) ?? 0
      check(packets === expected, `${verdict} counted ${packets} of ${expected} frames sent`)
    }
    return measured
  } finally {
    await balancer.dataplane.close()
  }
}

const figureOf = (kind: LiveKind, loads: readonly Rounds[]): Figure => {
  const plain = median(loads.map(load => undisturbed(load.plain)))
  const balanced = loads.map(load => undisturbed(load.balanced))
  const all = median(loads.map(load => median(load.balanced) / median(load.plain)))
  return {
    name: kind.name,
    value: median(balanced),
    unit: 'ns',
    range: [Math.min(...balanced), Math.max(...balanced)],
    ratio: median(loads.map(load => undisturbed(load.balanced) / undisturbed(load.plain))),
    ratioTo: `plain redirect, ${plain.toFixed(1)} ns`,
    budget: { of: 'ratio', atMost: kind.budget },
    note: `median of all rounds ${all.toFixed(2)} x`,
  }
}

/**
 * Keeps the thread that sends on one CPU until `release`. A veth pair's frames are received on the CPU that sent them:
 * moved away, the sender would overrun the receiver that it left behind.
 */
export const holdCpu = (): { readonly release: () => void } => {
  const allowed = readFileSync('/proc/self/status', 'utf8').match(/^Cpus_allowed_list:\t(\S+)$/m)![1]!
  const pin = (cpus: string) => execFileSync('taskset', ['-cp', cpus, String(process.pid)], { stdio: 'pipe' })
  pin(allowed.split(/[,-]/)[0]!)
  return { release: () => pin(allowed) }
}

const run = async (options: BenchOptions): Promise<Answer> => {
  const plan = planOf(options)
  const [gen, enter] = await addVethPair('gen', 'in')
  const [out, sink] = await addVethPair('out', 'sink')
  const loads: Rounds[][] = []
  const cpu = holdCpu()
  try {
    for (let load = 0; load < plan.loads; load++)
      loads.push(await measureLoad(plan, { gen, in: enter, out, sink }))
  } finally {
    cpu.release()
  }
  const frames = (plan.loads * plan.rounds * plan.frames).toLocaleString('en')
  return {
    figures: plan.kinds.map((kind, i) =>
      figureOf(
        kind,
        loads.map(load => load[i]!),
      ),
    ),
    setup: [
      `${plan.loads} loads of the program, ${plan.rounds} rounds each, in batches of ${BATCH}`,
      ...disturbance(loads.flatMap(kinds => kinds.flatMap(({ plain, balanced }) => [plain, balanced]))),
      `each kind: ${frames} of ${frames} frames delivered by either program`,
      `${services.length} services, ${BACKENDS} backends each, rings of ${RING_SIZE} slots; frames as in data-plane`,
    ],
  }
}

export const liveFrames: Bench = {
  name: 'live-frames',
  question: 'How much slower than a plain XDP redirect are frames that really travel?',
  method:
    'ns a frame from generator to sink. BPF_PROG_TEST_RUN with live frames, redirected into a veth pair; on its far end, native, the data plane or a program that parses, exchanges the MAC addresses and redirects, in turn; by devmap into a second pair, dropped and counted there. Thread CPU time, which holds all of it; undisturbed (10th percentile) rounds of each; median over the loads of the program',
  needsKernel: true,
  run,
}
