/**
 * The data plane as docs/data-plane.md describes it, step by step, for one frame. Independent of bpf/: nothing is
 * shared with it but the words.
 */
import { address, mac } from '../fixtures/addresses.js'
import { concat, readU16, sameBytes } from '../fixtures/bytes.js'
import { flowHash, slotOf } from './flow-hash.js'
import { type IpPacket, readIp, readPorts, type ServicePacket } from './packet.js'
import { reject } from './reject.js'
import type { BackendEntry, ServiceEntry, Tables } from './tables.js'
import { encapsulate } from './tunnel.js'

export interface Outcome {
  readonly verdict: string
  readonly service: ServiceEntry | null
  readonly backend: BackendEntry | null
  /** The frame afterwards: what is sent, what the host gets, and for DROP_* the frame as it came. */
  readonly packet: Uint8Array
  /** Where `packet` has an IPv4 header whose id may be any. */
  readonly freeIdAt: number | null
}

const findService = (tables: Tables, packet: ServicePacket): ServiceEntry | undefined => {
  const ofPort = (port: number): ServiceEntry | undefined =>
    tables.services.find(
      service =>
        service.port === port &&
        service.protocol === packet.protocol &&
        sameBytes(address(service.vip), packet.destination),
    )
  return ofPort(readU16(packet.ports, 2)) ?? ofPort(0)
}

const direct = (frame: Uint8Array, backend: BackendEntry): Uint8Array =>
  concat(mac(backend.nextHopMac), mac(backend.interfaceMac), frame.subarray(12))

type Sent = Pick<Outcome, 'verdict' | 'packet' | 'freeIdAt'>

const forward = (
  frame: Uint8Array,
  packet: IpPacket,
  backend: BackendEntry,
  hash: bigint,
  ifindex: number,
): Sent => {
  const way = backend.ifindex === ifindex ? 'TX' : 'REDIRECT'
  const { tunnel } = backend
  if (tunnel === null) return { verdict: `${way}_DR`, packet: direct(frame, backend), freeIdAt: null }
  if (packet.length > frame.length - packet.ipAt)
    return { verdict: 'DROP_TRUNCATED', packet: frame, freeIdAt: null }
  return {
    verdict: `${way}_${tunnel.mode.toUpperCase()}`,
    ...encapsulate(frame, packet, backend, tunnel, hash),
  }
}

/** The journey of `frame`, entering by the interface with index `ifindex`. */
export const balance = (tables: Tables, frame: Uint8Array, ifindex: number): Outcome => {
  const ends = (
    verdict: string,
    service: ServiceEntry | null = null,
    backend: BackendEntry | null = null,
    packet: Uint8Array = frame,
  ): Outcome => ({ verdict, service, backend, packet, freeIdAt: null })

  const ip = readIp(frame)
  if (typeof ip === 'string') return ends(ip)

  const packet = readPorts(frame, ip)
  if (typeof packet === 'string') return ends(packet)

  const service = findService(tables, packet)
  if (service === undefined) return ends('PASS_NOT_A_SERVICE')

  const entry = tables.interfaces.find(known => known.ifindex === ifindex)
  if (entry === undefined || !sameBytes(mac(entry.mac), frame.subarray(0, 6)))
    return ends('PASS_OTHER_HOST', service)

  const least = packet.protocol === 'tcp' ? 20 : 8
  if (packet.end - packet.transportAt < least) return ends('DROP_TRUNCATED', service)

  const hash = flowHash(tables, service, packet)
  const slot = slotOf(hash, service.ringSize)
  const id = service.slots[slot] ?? 0
  const backend = tables.backends.find(known => known.id === id)
  if (backend === undefined) {
    const answer = service.noBackend === 'reject' ? reject(frame, packet) : null
    return answer === null
      ? ends('DROP_NO_BACKEND', service)
      : ends(answer.verdict, service, null, answer.packet)
  }
  if (!backend.isResolved) return ends('DROP_NO_NEXT_HOP', service, backend)
  return { service, backend, ...forward(frame, packet, backend, hash, ifindex) }
}
