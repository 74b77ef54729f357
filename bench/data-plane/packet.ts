/** The packets that bench/flow.h writes: a frame, and how many flows it stands for. */
import { bytes, struct, u16, u32, u64, u64s } from '../../src/dataplane/codec.js'

const RESTORED_MAX = 12

/** `packet` in bench/flow.h. */
const packetLayout = struct(160, {
  restored: u64s(0, RESTORED_MAX),
  addr: u64(96),
  ports: u32(104),
  flows: u32(108),
  frameLen: u32(112),
  isIpv6: u32(116),
  addrOffset: u16(120),
  portsOffset: u16(122),
  pushed: u32(124),
  restoredOffset: bytes(128, RESTORED_MAX),
  restoredLen: bytes(140, RESTORED_MAX),
  portsShift: u16(152),
  checkOffset: u16(154),
  firstCheck: u16(156),
  addrShift: u16(158),
})

/** Offsets in the frame of what tells one flow from another. */
export interface FlowFields {
  /** Of an IPv4 address, or of an IPv6 address's last 8 bytes. */
  readonly address: number
  readonly ports: number
  readonly isIpv6: boolean
  /** Which port is varied; default: the source's. */
  readonly port?: 'source' | 'destination'
  /** Only the address's last byte is varied. */
  readonly isLastByte?: boolean
  /** Of the IPv4 header's checksum, where a kernel verifies it. */
  readonly check?: number
}

/** A word of a frame: where it is, and how many bytes. */
export type Word = readonly [offset: number, length: 4 | 8]

/** The MAC addresses: check_destination_mac() reads eight bytes. */
export const MACS: readonly Word[] = [
  [0, 8],
  [8, 4],
]
/** Headers that are put ahead end where the packet's IP header begins, and are read where it began: a word with it. */
export const HEAD: readonly Word[] = [...MACS, [12, 4]]

export interface PacketKind {
  readonly frame: Uint8Array
  /** What a balancer rewrites, in the words in which it reads it. */
  readonly rewritten: readonly Word[]
  /** Bytes that a balancer puts ahead of the frame. */
  readonly pushed: number
  /** 1 to 2^32. */
  readonly flows: number
  /** null: every frame is the same. */
  readonly flowFields: FlowFields | null
}

const padded = (values: readonly number[]): Uint8Array =>
  Uint8Array.from({ length: RESTORED_MAX }, (_, i) => values[i] ?? 0)

/** The object's '.rodata'. */
export const encodePacket = ({ frame, rewritten, pushed, flows, flowFields }: PacketKind): Uint8Array => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  const read = ([offset, length]: Word): bigint =>
    length === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true))
  const ports = flowFields ? view.getUint32(flowFields.ports, true) : 0
  const isDestination = flowFields?.port === 'destination'
  return packetLayout.encode({
    restored: Array.from({ length: RESTORED_MAX }, (_, i) => {
      const word = rewritten[i]
      return word ? read(word) : 0n
    }),
    restoredOffset: padded(rewritten.map(([offset]) => offset)),
    restoredLen: padded(rewritten.map(([, length]) => length)),
    addr: flowFields ? read([flowFields.address, flowFields.isIpv6 ? 8 : 4]) : 0n,
    // Many flows: the port is counted up from 0.
    ports: flows === 1 ? ports : (ports & (isDestination ? 0xffff : 0xffff0000)) >>> 0,
    portsShift: isDestination ? 16 : 0,
    addrShift: flowFields?.isLastByte ? 8 : 0,
    checkOffset: flowFields?.check ?? 0,
    firstCheck: flowFields?.check ? view.getUint16(flowFields.check, true) : 0,
    flows: flows % 2 ** 32,
    frameLen: frame.length,
    addrOffset: flowFields?.address ?? 0,
    portsOffset: flowFields?.ports ?? 0,
    isIpv6: flowFields?.isIpv6 ? 1 : 0,
    pushed,
  })
}

/** struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. */
export const testRunContext = (frame: Uint8Array, ifindex: number): Uint8Array =>
  new Uint8Array(Uint32Array.of(0, frame.length, 0, ifindex, 0, 0).buffer)

export const u32Bytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
