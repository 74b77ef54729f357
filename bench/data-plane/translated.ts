/** NAT and FULLNAT: services, the packets of either direction, and what becomes of them. */
import { frame, ipv4, ipv6, type Payload } from '../../test/fixtures/frames.js'
import { type Transport, tcp, tcpFlags, udp } from '../../test/fixtures/transport.js'
import { BACKEND_PORT, backendAddress, OUR_MAC, type ServiceToLoad } from './balancer.js'
import type { Case } from './cases.js'
import { MACS, type PacketKind, type Word } from './packet.js'

type Family = 4 | 6

const CLIENTS = { 4: '198.18.0.0', 6: '2001:db8:c::' } as const
const PORT = 80
const PAYLOAD = new Uint8Array(64)

/** `count` addresses, as write_packet() in bench/flow.h varies them: 65,536 flows of each. */
export const localAddresses = (family: Family, pool: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) =>
    family === 4 ? `10.${200 + pool}.0.${i}` : `2001:db8:${200 + pool}::${i.toString(16)}`,
  )

type Mode = 'nat' | 'fullnat'

const service = (
  name: string,
  vip: string,
  mode: Mode,
  rest: Partial<Pick<ServiceToLoad, 'localAddresses' | 'toa' | 'backends' | 'way'>> = {},
): ServiceToLoad => ({ name, vip, port: PORT, protocol: 'tcp', way: 'entry', forward: { mode }, ...rest })

export const MANY = 1048576
const ADDRESSES_OF_MANY = MANY / 65536

/** Of FULLNAT, those whose replies are sent have one backend: so these are known. */
export const translated = {
  nat4: service('nat4', '192.0.2.60', 'nat'),
  nat6: service('nat6', '2001:db8::60', 'nat'),
  request4: service('request4', '192.0.2.61', 'fullnat', {
    localAddresses: localAddresses(4, 0, ADDRESSES_OF_MANY),
  }),
  request6: service('request6', '2001:db8::61', 'fullnat', { localAddresses: localAddresses(6, 0, 1) }),
  reply4: service('reply4', '192.0.2.62', 'fullnat', {
    backends: 1,
    localAddresses: localAddresses(4, 1, ADDRESSES_OF_MANY),
  }),
  reply6: service('reply6', '2001:db8::62', 'fullnat', {
    backends: 1,
    localAddresses: localAddresses(6, 1, 1),
  }),
  /** On `cpus` CPUs, a million connections fit in one's own range. */
  fresh: (cpus: number, toa: boolean): ServiceToLoad =>
    service(toa ? 'told' : 'fresh', toa ? '192.0.2.64' : '192.0.2.63', 'fullnat', {
      localAddresses: localAddresses(4, toa ? 3 : 2, Math.min(120, ADDRESSES_OF_MANY * cpus + 4)),
      toa,
    }),
} as const

const inEthernet = (payload: Payload): Uint8Array =>
  frame({ to: OUR_MAC, from: '02:00:00:00:00:01' }, payload)

const packet = (family: Family, from: string, to: string, transport: Transport): Uint8Array =>
  inEthernet(family === 4 ? ipv4({ from, to, dontFragment: true }, transport) : ipv6({ from, to }, transport))

const familyOf = ({ vip }: ServiceToLoad): Family => (vip.includes(':') ? 6 : 4)

/** Where the headers' fields are, and in which words the data plane rewrites them. */
const OFFSETS = {
  4: { source: 26, destination: 30, ports: 34 },
  6: { source: 22, destination: 38, ports: 54 },
} as const

/** TTL and header checksum; the TCP checksum. */
const TOUCHED = {
  4: [
    [22, 4],
    [50, 4],
  ],
  6: [
    [18, 4],
    [70, 4],
  ],
} satisfies Record<Family, Word[]>

const addressWords = (family: Family, at: number): Word[] =>
  family === 4
    ? [[at, 4]]
    : [
        [at, 8],
        [at + 8, 8],
      ]

const fieldsOf = (family: Family, end: 'source' | 'destination') => ({
  address: OFFSETS[family][end] + (family === 4 ? 0 : 8),
  ports: OFFSETS[family].ports,
  isIpv6: family === 6,
  port: end,
})

/** All of the headers: an option that is put into them moves them. */
const HEADERS: readonly Word[] = [
  ...MACS,
  [12, 4],
  [16, 4],
  [18, 4],
  [22, 4],
  [30, 4],
  [38, 8],
  [46, 4],
  [50, 4],
]

interface Wish {
  readonly title: string
  readonly flows: number
  readonly flowsText?: string
  readonly budget: number | null
}

const flowsTexts: Readonly<Record<number, string>> = { 1: '1 flow', [MANY]: '1,048,576 flows' }

const caseOf = (
  { title, flows, budget, flowsText = flowsTexts[flows] ?? `${flows} flows` }: Wish,
  rest: Omit<Case, 'name' | 'flows' | 'budget' | 'isQuick'>,
): Case => ({ name: `${title}, ${flowsText}`, flows, budget, isQuick: true, ...rest })

const verdicts = { nat: 'TX_NAT', fullnat: 'TX_FULLNAT' } as const
const replyVerdicts = { nat: 'TX_NAT_REPLY', fullnat: 'TX_FULLNAT_REPLY' } as const

const modeOf = ({ forward }: ServiceToLoad): Mode => (forward?.mode === 'nat' ? 'nat' : 'fullnat')

/** From clients, each flow of another. */
export const request = (to: ServiceToLoad, wish: Wish, flags: number = tcpFlags.ACK): Case => {
  const family = familyOf(to)
  const { source, destination } = OFFSETS[family]
  const isTold = to.toa === true
  return caseOf(wish, {
    frame: packet(family, CLIENTS[family], to.vip, tcp({ from: 40000, to: PORT, flags }, PAYLOAD)),
    flowFields: fieldsOf(family, 'source'),
    rewritten: isTold
      ? HEADERS
      : [
          ...MACS,
          ...TOUCHED[family],
          ...addressWords(family, destination),
          ...(family === 6 && modeOf(to) === 'fullnat' ? ([[source, 8]] satisfies Word[]) : []),
        ],
    pushed: isTold ? 8 : 0,
    service: to,
    verdict: verdicts[modeOf(to)],
  })
}

/** From a service's first backend: NAT, each flow to another client; FULLNAT, to another local address and port. */
export const reply = (of: ServiceToLoad, wish: Wish, flags: number = tcpFlags.ACK): Case => {
  const family = familyOf(of)
  const { source, destination } = OFFSETS[family]
  const to = modeOf(of) === 'nat' ? CLIENTS[family] : of.localAddresses![0]!
  const transport = tcp({ from: BACKEND_PORT, to: 40000, flags }, PAYLOAD)
  return caseOf(wish, {
    frame: packet(family, backendAddress(family, 0), to, transport),
    flowFields: { ...fieldsOf(family, 'destination'), isLastByte: modeOf(of) === 'fullnat' },
    rewritten: [
      ...MACS,
      ...TOUCHED[family],
      ...addressWords(family, source),
      ...(family === 6 && modeOf(of) === 'fullnat' ? ([[destination, 8]] satisfies Word[]) : []),
    ],
    pushed: 0,
    service: null,
    verdict: replyVerdicts[modeOf(of)],
  })
}

const DNS = 53

/** UDP over IPv4, for another interface than they come in by: a service that NAT, or FULLNAT, forwards. */
export const awayService = (mode: Mode, addresses: number): ServiceToLoad => ({
  ...service(`${mode}Away`, mode === 'nat' ? '192.0.2.70' : '192.0.2.71', mode, { way: 'other' }),
  port: DNS,
  protocol: 'udp',
  ...(mode === 'fullnat' ? { localAddresses: localAddresses(4, 4, addresses) } : {}),
})

/** To such a service: with the IPv4 header's checksum right, for kernels look at it. */
export const awayFrames = (to: ServiceToLoad, flows: number): PacketKind => ({
  frame: packet(4, CLIENTS[4], to.vip, udp({ from: 40000, to: DNS }, PAYLOAD)),
  flows,
  flowFields: { ...fieldsOf(4, 'source'), check: 24 },
  // TTL and header checksum; the length and the UDP checksum.
  rewritten: [...MACS, [22, 4], [30, 4], [38, 4]],
  pushed: 0,
})
