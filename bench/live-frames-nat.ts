/** How much faster are NAT and FULLNAT than nft's DNAT with connection tracking, for frames that really travel? */
import { loadNative } from '../src/native.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import { BACKENDS, type Balancer, loadBalancer, packetsByVerdict } from './data-plane/balancer.js'
import { ALL_NEW } from './data-plane/cases.js'
import { testRunContext } from './data-plane/packet.js'
import { awayFrames, awayService } from './data-plane/translated.js'
import { BATCH, holdCpu, type Interfaces, loadPrograms, type NamedPackets, send } from './live-frames.js'
import { addVethPair } from './namespace.js'
import { forgetConnections, packetsOut, prepareForwarding, stopTranslating, translate } from './nft.js'
import { disturbance, median, undisturbed } from './statistics.js'

/** So that connections are there. */
const WARM_UP = 10_000
/** Fewer than the kernel tracks at once in a namespace: none is evicted. */
const FRAMES = 200_000
/** Places for all that a round opens, in one CPU's range. */
const ADDRESSES = 12

const modes = ['nat', 'fullnat'] as const
type Mode = (typeof modes)[number]
const TITLES = { nat: ['NAT', 'DNAT'], fullnat: ['FULLNAT', 'DNAT and masquerade'] } as const
const AT_LEAST = { nat: { few: 5, many: 12 }, fullnat: { few: 4.5, many: 5 } } as const
const services = { nat: awayService('nat', 0), fullnat: awayService('fullnat', ADDRESSES) } as const

interface Kind {
  readonly mode: Mode
  readonly isNew: boolean
  readonly frames: NamedPackets
}

const kinds: readonly Kind[] = modes.flatMap(mode =>
  [false, true].map(isNew => ({
    mode,
    isNew,
    frames: {
      ...awayFrames(services[mode], isNew ? ALL_NEW : 1000),
      name: `${TITLES[mode][0]}, ${isNew ? 'all new' : '1,000 flows'}`,
    },
  })),
)

/** ns a frame, by round. */
interface Rounds {
  readonly ours: number[]
  readonly nft: number[]
}

const forget = ({ dataplane }: Balancer): void => {
  new BigUint64Array(dataplane.memory('connections')).fill(0n)
  new BigUint64Array(dataplane.memory('connection_index')).fill(0n)
}

const measureOurs = async (kind: Kind, balancer: Balancer, interfaces: Interfaces): Promise<number> => {
  const { XdpLink } = loadNative()
  const { dataplane } = balancer
  const programs = await loadPrograms(kind.frames, interfaces)
  const sink = await XdpLink.attach(programs.sink, interfaces.sink, 'native')
  try {
    if (kind.isNew) forget(balancer)
    await dataplane.attach(interfaces.in, 'native')
    if (!kind.isNew) await send(programs, kind.frames, interfaces.gen, WARM_UP)
    return await send(programs, kind.frames, interfaces.gen, FRAMES)
  } finally {
    await dataplane.detach(interfaces.in)
    await sink.close()
    programs.close()
  }
}

const measureNft = async (kind: Kind, interfaces: Interfaces): Promise<number> => {
  const programs = await loadPrograms(kind.frames, interfaces)
  const sendAll = (frames: number): number => {
    const before = packetsOut()
    const { cpuNs } = programs.generate.testRunSync({
      data: kind.frames.frame,
      context: testRunContext(kind.frames.frame, interfaces.gen),
      repeat: frames,
      liveFrames: true,
      batchSize: BATCH,
    })
    const delivered = packetsOut() - before
    check(delivered === frames, `nft, ${kind.frames.name}: ${delivered} of ${frames} frames were delivered`)
    return cpuNs / frames
  }
  try {
    translate(services[kind.mode])
    if (!kind.isNew) sendAll(WARM_UP)
    return sendAll(FRAMES)
  } finally {
    stopTranslating()
    forgetConnections()
    programs.close()
  }
}

/** Each frame of ours was translated, and none otherwise. */
const checkVerdicts = async (balancer: Balancer, rounds: number): Promise<void> => {
  const sent = rounds * (2 * FRAMES + WARM_UP)
  for (const [verdict, packets] of await packetsByVerdict(balancer)) {
    const expected = verdict === 'REDIRECT_NAT' || verdict === 'REDIRECT_FULLNAT' ? sent : 0
    check(packets === expected, `${verdict} counted ${packets} of ${expected} frames sent`)
  }
}

const figuresOf = ({ mode, isNew, frames }: Kind, { ours, nft }: Rounds): Figure[] => {
  const [mine, theirs] = [undisturbed(ours), undisturbed(nft)]
  const { few, many } = AT_LEAST[mode]
  return [
    { name: frames.name, value: mine, unit: 'ns', note: `median of all rounds ${median(ours).toFixed(1)}` },
    {
      name: `nft ${TITLES[mode][1]}, ${isNew ? 'all new' : '1,000 flows'}`,
      value: theirs,
      unit: 'ns',
      ratio: theirs / mine,
      ratioTo: frames.name,
      budget: { of: 'ratio', atLeast: isNew ? many : few },
      note: `median of all rounds ${median(nft).toFixed(1)}`,
    },
  ]
}

const run = async ({ isQuick }: BenchOptions): Promise<Answer> => {
  const rounds = isQuick ? 6 : 21
  const [gen, enter] = await addVethPair('gen', 'in')
  const [out, sink] = await addVethPair('out', 'sink')
  const interfaces = { gen, in: enter, out, sink }
  prepareForwarding()
  const balancer = await loadBalancer(Object.values(services), { entry: enter, other: out })
  const measured = kinds.map((): Rounds => ({ ours: [], nft: [] }))
  const cpu = holdCpu()
  try {
    for (let round = 0; round < rounds; round++)
      for (const [i, kind] of kinds.entries()) {
        const ours = async () => measured[i]!.ours.push(await measureOurs(kind, balancer, interfaces))
        const nft = async () => measured[i]!.nft.push(await measureNft(kind, interfaces))
        for (const one of round % 2 === 0 ? [ours, nft] : [nft, ours]) await one()
      }
    await checkVerdicts(balancer, rounds)
  } finally {
    cpu.release()
    await balancer.dataplane.close()
  }
  return {
    figures: kinds.flatMap((kind, i) => figuresOf(kind, measured[i]!)),
    setup: [
      `${rounds} rounds of ${FRAMES.toLocaleString('en')} frames, in batches of ${BATCH}: each of both, in turn; every frame delivered`,
      `UDP over IPv4, 64 bytes of payload, ${BACKENDS} backends; nft: by a map over jhash of the client, its own tables emptied after each round; all new: ours too`,
      ...disturbance(measured.flatMap(({ ours, nft }) => [ours, nft])),
    ],
  }
}

export const liveFramesNat: Bench = {
  name: 'live-frames-nat',
  question: "How much faster are NAT and FULLNAT than nft's DNAT with connection tracking?",
  method:
    'ns a frame from generator to sink, as live-frames; the far end of the first pair runs the data plane, natively, or hands the frames to the kernel, whose nft translates and forwards them into the second pair, where they are counted and dropped: by XDP after the data plane, by an nft ingress rule after nft. Thread CPU time, undisturbed (10th percentile) rounds of each, and their ratio',
  needsKernel: true,
  run,
}
