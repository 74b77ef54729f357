/** NAT: a request to its backend, and what comes back from there to the client. */
import { address, mac } from '../fixtures/addresses.js'
import { concat, readU16, sameBytes } from '../fixtures/bytes.js'
import { isFromGroup, isFromHost, type Received, routerError } from './answer.js'
import { findClientRoute } from './client-route.js'
import type { QuotedFlow } from './message.js'
import type { IpPacket, ServicePacket } from './packet.js'
import { type Ends, oneHopOn, ttlOf, withOtherEnds } from './rewrite.js'
import type {
  BackendEntry,
  ClientRoute,
  InterfaceEntry,
  ServiceEntry,
  Tables,
  Translation,
} from './tables.js'
import { tooBig } from './too-big.js'
import { translateError } from './translate-error.js'

export interface Ending {
  readonly verdict: string
  readonly packet: Uint8Array
}

/** A packet that would have no TTL left: its sender is told by the router that this host is to it. */
export const expired = (
  frame: Uint8Array,
  packet: Received,
  isMessage: boolean,
  entry: InterfaceEntry | undefined,
): Ending => {
  const isAnswered = !isMessage && !isFromGroup(frame) && isFromHost(packet)
  const answer = isAnswered
    ? routerError(frame, packet, { type: packet.version === 4 ? 11 : 3, code: 0 }, entry)
    : null
  return answer === null
    ? { verdict: 'DROP_TTL_EXPIRED', packet: frame }
    : { verdict: 'TX_TIME_EXCEEDED', packet: answer }
}

const withMacs = (
  frame: Uint8Array,
  { nextHopMac, interfaceMac }: Pick<BackendEntry, 'nextHopMac' | 'interfaceMac'>,
): Uint8Array => concat(mac(nextHopMac), mac(interfaceMac), frame.subarray(12))

/** What of a request's destination changes. */
const toBackend = ({ to, port }: Translation): Ends => ({
  destination: address(to),
  ...(port === 0 ? {} : { destinationPort: port }),
})

/** The request, as it leaves. `clamped`: with what else has been changed of it. */
export const forwardNat = (
  clamped: Uint8Array,
  packet: ServicePacket,
  backend: BackendEntry & { readonly translation: Translation },
  way: string,
): Ending => {
  const translated = withOtherEnds(clamped, packet, toBackend(backend.translation))
  return { verdict: `${way}_NAT`, packet: withMacs(oneHopOn(translated, packet), backend) }
}

/** Whether the error itself quotes so much, and not only its frame. */
const hasPorts = ({ transportAt, end }: QuotedFlow): boolean => transportAt + 4 <= end

/** An error about what the backend has sent to its client. */
export const forwardErrorNat = (
  frame: Uint8Array,
  packet: IpPacket,
  quoted: QuotedFlow,
  backend: BackendEntry & { readonly translation: Translation },
  way: string,
): Ending => {
  if (!hasPorts(quoted)) return { verdict: 'DROP_TRUNCATED', packet: frame }
  const { to, port } = backend.translation
  const translated = translateError(frame, packet, quoted, {
    outer: { destination: address(to) },
    quoted: { source: address(to), ...(port === 0 ? {} : { sourcePort: port }) },
  })
  return { verdict: `${way}_NAT`, packet: withMacs(oneHopOn(translated, packet), backend) }
}

/** Whose reply it is, by address and port: the backend, and the service that its clients know. */
export interface ReplyOf {
  readonly backend: BackendEntry
  readonly service: ServiceEntry
}

/** The NAT backend at an address and port, or at every port of it. */
export const findBackend = (
  tables: Tables,
  protocol: 'tcp' | 'udp',
  host: Uint8Array,
  port: number,
): ReplyOf | undefined => {
  const serviceOf = (backend: BackendEntry): ServiceEntry | undefined =>
    tables.services.find(({ id }) => id === backend.service)
  const own = (backend: BackendEntry): number =>
    backend.translation!.port === 0 ? (serviceOf(backend)?.port ?? 0) : backend.translation!.port
  const candidates = tables.backends.filter(
    backend =>
      backend.translation?.mode === 'nat' &&
      serviceOf(backend)?.protocol === protocol &&
      sameBytes(address(backend.translation.to), host),
  )
  const backend = candidates.find(one => own(one) === port) ?? candidates.find(one => own(one) === 0)
  return backend && { backend, service: serviceOf(backend)! }
}

const SYN_AND_ACK = 0x12
const SYN = 0x02

/** Towards the client, or why not: by its route, if its length and TTL allow it. */
const setOut = (
  tables: Tables,
  frame: Uint8Array,
  packet: IpPacket,
  isMessage: boolean,
  entry: InterfaceEntry,
): Ending | ClientRoute => {
  const route = findClientRoute(tables, packet.destination)
  if (route === undefined || route.kind === 'none') return { verdict: 'DROP_NO_NEXT_HOP', packet: frame }
  if (route.kind === 'local') return { verdict: 'PASS_NOT_A_SERVICE', packet: frame }
  if (ttlOf(frame, packet) <= 1) return expired(frame, packet, isMessage, entry)
  if (frame.length - packet.ipAt > route.mtu)
    return isMessage
      ? { verdict: 'DROP_TOO_BIG', packet: frame }
      : tooBig(frame, packet, route.mtu, entry.mtu, entry)
  return route
}

const leaves = (route: ClientRoute, entry: InterfaceEntry, mode: string): string =>
  `${route.ifindex === entry.ifindex ? 'TX' : 'REDIRECT'}_${mode}`

/** A backend's packet; null: of no backend. */
export const comeBackNat = (
  tables: Tables,
  frame: Uint8Array,
  packet: ServicePacket,
  entry: InterfaceEntry | undefined,
): (Ending & Partial<ReplyOf>) | null => {
  const found = findBackend(tables, packet.protocol, packet.source, readU16(packet.ports, 0))
  if (found === undefined) return null
  if (entry === undefined) return { verdict: 'PASS_OTHER_HOST', packet: frame }
  const least = packet.protocol === 'tcp' ? 20 : 8
  if (packet.end - packet.transportAt < least) return { verdict: 'DROP_TRUNCATED', packet: frame }
  const isSyn = packet.protocol === 'tcp' && (frame[packet.transportAt + 13]! & SYN_AND_ACK) === SYN
  if (isSyn) return { verdict: 'PASS_NOT_A_SERVICE', packet: frame }
  const route = setOut(tables, frame, packet, false, entry)
  if ('verdict' in route) return route
  const { vip, port } = found.service
  const translated = withOtherEnds(frame, packet, {
    source: address(vip),
    ...(port === 0 ? {} : { sourcePort: port }),
  })
  return {
    verdict: leaves(route, entry, 'NAT_REPLY'),
    packet: withMacs(oneHopOn(translated, packet), route),
    backend: found.backend,
  }
}

/** An error about a request that has left for its backend. */
export const comeBackErrorNat = (
  tables: Tables,
  frame: Uint8Array,
  packet: IpPacket,
  quoted: QuotedFlow,
  entry: InterfaceEntry | undefined,
): Ending & Partial<ReplyOf> => {
  const { flow } = quoted
  const found = findBackend(tables, flow.protocol, flow.destination, readU16(flow.ports, 2))!
  if (entry === undefined) return { verdict: 'PASS_OTHER_HOST', packet: frame }
  const route = setOut(tables, frame, packet, true, entry)
  if ('verdict' in route) return route
  if (!hasPorts(quoted)) return { verdict: 'DROP_TRUNCATED', packet: frame, backend: found.backend }
  const { vip, port } = found.service
  const translated = translateError(frame, packet, quoted, {
    outer: { source: address(vip) },
    quoted: { destination: address(vip), ...(port === 0 ? {} : { destinationPort: port }) },
  })
  return {
    verdict: leaves(route, entry, 'NAT_REPLY'),
    packet: withMacs(oneHopOn(translated, packet), route),
    backend: found.backend,
  }
}
