/**
 * The data plane as docs/data-plane.md describes it, step by step, for one frame. Independent of bpf/: nothing is
 * shared with it but the words.
 */
import { address, mac } from '../fixtures/addresses.js'
import { concat, readU16, sameBytes } from '../fixtures/bytes.js'
import { flowHash, slotOf } from './flow-hash.js'
import {
  type Flow,
  type FlowError,
  type Message,
  type PathMtu,
  readMessage,
  type TunnelError,
} from './message.js'
import { clampMss } from './mss.js'
import {
  comeBackErrorNat,
  comeBackNat,
  expired,
  findBackend,
  forwardErrorNat,
  forwardNat,
  type Ending as Translated,
} from './nat.js'
import { type IpPacket, readIp, readPorts, type ServicePacket } from './packet.js'
import { answerPing } from './ping.js'
import { reject } from './reject.js'
import { ttlOf } from './rewrite.js'
import type { BackendEntry, InterfaceEntry, ServiceEntry, Tables, Translation } from './tables.js'
import { tooBig } from './too-big.js'
import { encapsulate } from './tunnel.js'
import { tellClient } from './tunnel-error.js'

export interface Outcome {
  readonly verdict: string
  readonly service: ServiceEntry | null
  readonly backend: BackendEntry | null
  /** The frame afterwards: what is sent, what the host gets, and for DROP_* the frame as it came. */
  readonly packet: Uint8Array
  /** Where `packet` has an IPv4 header whose id may be any. */
  readonly freeIdAt: number | null
  /** What is noted of a path. */
  readonly pathMtu: PathMtu | null
}

type Ending = Pick<Outcome, 'verdict' | 'packet'> & Partial<Outcome>

const ends = (frame: Uint8Array, verdict: string, more: Partial<Outcome> = {}): Outcome => ({
  verdict,
  service: null,
  backend: null,
  packet: frame,
  freeIdAt: null,
  pathMtu: null,
  ...more,
})

const findService = (tables: Tables, flow: Flow): ServiceEntry | undefined => {
  const ofPort = (port: number): ServiceEntry | undefined =>
    tables.services.find(
      service =>
        service.port === port &&
        service.protocol === flow.protocol &&
        sameBytes(address(service.vip), flow.destination),
    )
  return ofPort(readU16(flow.ports, 2)) ?? ofPort(0)
}

/** The entry interface, if the frame is for it. */
const entryOf = (tables: Tables, frame: Uint8Array, ifindex: number): InterfaceEntry | undefined =>
  tables.interfaces.find(
    known => known.ifindex === ifindex && sameBytes(mac(known.mac), frame.subarray(0, 6)),
  )

const isForThisHost = (tables: Tables, frame: Uint8Array, ifindex: number): boolean =>
  entryOf(tables, frame, ifindex) !== undefined

const isNat = (backend: BackendEntry): backend is BackendEntry & { readonly translation: Translation } =>
  backend.translation?.mode === 'nat'

const wayOut = ({ ifindex: out }: BackendEntry, ifindex: number): 'TX' | 'REDIRECT' =>
  out === ifindex ? 'TX' : 'REDIRECT'

const backendOf = (tables: Tables, service: ServiceEntry, hash: bigint): BackendEntry | undefined => {
  const id = service.slots[slotOf(hash, service.ringSize)] ?? 0
  return tables.backends.find(known => known.id === id)
}

const direct = (frame: Uint8Array, backend: BackendEntry): Uint8Array =>
  concat(mac(backend.nextHopMac), mac(backend.interfaceMac), frame.subarray(12))

/** Steps from the backend on. */
const forward = (
  frame: Uint8Array,
  packet: IpPacket,
  backend: BackendEntry,
  hash: bigint,
  ifindex: number,
): Ending => {
  const way = wayOut(backend, ifindex)
  const { tunnel } = backend
  if (tunnel === null) return { verdict: `${way}_DR`, packet: direct(frame, backend) }
  if (packet.length > frame.length - packet.ipAt) return { verdict: 'DROP_TRUNCATED', packet: frame }
  return {
    verdict: `${way}_${tunnel.mode.toUpperCase()}`,
    ...encapsulate(frame, packet, backend, tunnel, hash),
  }
}

const isTooLong = (frame: Uint8Array, packet: IpPacket, backend: BackendEntry): boolean =>
  frame.length - packet.ipAt > backend.mtu

const balancePacket = (
  tables: Tables,
  frame: Uint8Array,
  packet: ServicePacket,
  ifindex: number,
): Outcome => {
  const service = findService(tables, packet)
  const entry = entryOf(tables, frame, ifindex)
  if (service === undefined) {
    const reply = comeBackNat(tables, frame, packet, entry)
    return ends(frame, 'PASS_NOT_A_SERVICE', reply ?? {})
  }
  if (entry === undefined) return ends(frame, 'PASS_OTHER_HOST', { service })
  const least = packet.protocol === 'tcp' ? 20 : 8
  if (packet.end - packet.transportAt < least) return ends(frame, 'DROP_TRUNCATED', { service })

  const hash = flowHash(tables, service, packet)
  const backend = backendOf(tables, service, hash)
  if (backend === undefined) {
    const answer = service.noBackend === 'reject' ? reject(frame, packet) : null
    return answer === null
      ? ends(frame, 'DROP_NO_BACKEND', { service })
      : ends(frame, answer.verdict, { service, packet: answer.packet })
  }
  if (!backend.isResolved) return ends(frame, 'DROP_NO_NEXT_HOP', { service, backend })
  if (isNat(backend) && ttlOf(frame, packet) <= 1)
    return ends(frame, '', { service, backend, ...expired(frame, packet, false, entry) })
  if (isTooLong(frame, packet, backend)) {
    return ends(frame, '', { service, backend, ...tooBig(frame, packet, backend.mtu, entry.mtu) })
  }
  const clamped = service.clampsMss ? clampMss(frame, packet, backend.mtu) : frame
  if (isNat(backend)) {
    const translated = forwardNat(clamped, packet, backend, wayOut(backend, ifindex))
    return ends(frame, '', { service, backend, ...translated })
  }
  return ends(frame, '', { service, backend, ...forward(clamped, packet, backend, hash, ifindex) })
}

const balanceEcho = (tables: Tables, frame: Uint8Array, packet: IpPacket, ifindex: number): Outcome => {
  const entry = tables.vips.find(({ vip }) => sameBytes(address(vip), packet.destination))
  if (entry === undefined) return ends(frame, 'PASS_NOT_A_SERVICE')
  if (!isForThisHost(tables, frame, ifindex)) return ends(frame, 'PASS_OTHER_HOST')
  return ends(frame, '', answerPing(frame, packet, entry.ping))
}

/** An error about a flow: to the flow's backend, or back to its client. */
const balanceError = (
  tables: Tables,
  frame: Uint8Array,
  packet: IpPacket,
  message: TunnelError | FlowError,
  ifindex: number,
): Outcome => {
  if (message.kind === 'inside') {
    const entry = entryOf(tables, frame, ifindex)
    const translated: Translated = comeBackErrorNat(tables, frame, packet, message.quoted, entry)
    return ends(frame, '', translated)
  }
  const service = findService(tables, message.flow)
  if (service === undefined) return ends(frame, 'PASS_NOT_A_SERVICE')
  if (!isForThisHost(tables, frame, ifindex)) return ends(frame, 'PASS_OTHER_HOST', { service })
  const hash = flowHash(tables, service, message.flow)
  const backend = backendOf(tables, service, hash)
  if (backend === undefined) return ends(frame, 'DROP_NO_BACKEND', { service })
  if (!backend.isResolved) return ends(frame, 'DROP_NO_NEXT_HOP', { service, backend })
  if (message.kind === 'tunnel')
    return ends(frame, '', { service, backend, ...tellClient(frame, packet, message, backend) })
  if (isNat(backend) && ttlOf(frame, packet) <= 1)
    return ends(frame, 'DROP_TTL_EXPIRED', { service, backend })
  if (isTooLong(frame, packet, backend)) return ends(frame, 'DROP_TOO_BIG', { service, backend })
  if (isNat(backend)) {
    const translated = forwardErrorNat(frame, packet, message.quoted, backend, wayOut(backend, ifindex))
    return ends(frame, '', { service, backend, ...translated })
  }
  return ends(frame, '', { service, backend, ...forward(frame, packet, backend, hash, ifindex) })
}

const balanceMessage = (
  tables: Tables,
  frame: Uint8Array,
  packet: IpPacket,
  message: Message | string,
  ifindex: number,
): Outcome => {
  if (typeof message === 'string') return ends(frame, message)
  if (message.kind === 'echo') return balanceEcho(tables, frame, packet, ifindex)
  return balanceError(tables, frame, packet, message, ifindex)
}

/** The journey of `frame`, entering by the interface with index `ifindex`. */
export const balance = (tables: Tables, frame: Uint8Array, ifindex: number): Outcome => {
  const ip = readIp(frame)
  if (typeof ip === 'string') return ends(frame, ip)
  if (ip.carries === (ip.version === 4 ? 1 : 58)) {
    const { message, pathMtu } = readMessage(
      frame,
      ip,
      flow => findService(tables, flow) !== undefined,
      flow => findBackend(tables, flow.protocol, flow.destination, readU16(flow.ports, 2)) !== undefined,
    )
    return { ...balanceMessage(tables, frame, ip, message, ifindex), pathMtu }
  }
  const packet = readPorts(frame, ip)
  return typeof packet === 'string' ? ends(frame, packet) : balancePacket(tables, frame, packet, ifindex)
}
