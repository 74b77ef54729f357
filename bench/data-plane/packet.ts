/** The packets that bench/flow.h writes: a frame, and how many flows it stands for. */
import { struct, u16, u32, u64 } from '../../src/dataplane/codec.js'

/** `packet` in bench/flow.h. */
const packetLayout = struct(40, {
  macs: u64(0),
  addr: u64(8),
  macsRest: u32(16),
  ports: u32(20),
  flows: u32(24),
  frameLen: u32(28),
  addrOffset: u16(32),
  portsOffset: u16(34),
  isIpv6: u32(36),
})

/** Offsets in the frame of what tells one flow from another. */
export interface FlowFields {
  /** Of an IPv4 address, or of an IPv6 address's last 8 bytes. */
  readonly address: number
  readonly ports: number
  readonly isIpv6: boolean
}

export interface PacketKind {
  readonly frame: Uint8Array
  /** 1 to 2^32. */
  readonly flows: number
  /** null: every frame is the same. */
  readonly flowFields: FlowFields | null
}

/** The object's '.rodata'. */
export const encodePacket = ({ frame, flows, flowFields }: PacketKind): Uint8Array => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  const ports = flowFields ? view.getUint32(flowFields.ports, true) : 0
  const addr = !flowFields
    ? 0n
    : flowFields.isIpv6
      ? view.getBigUint64(flowFields.address, true)
      : BigInt(view.getUint32(flowFields.address, true))
  return packetLayout.encode({
    macs: view.getBigUint64(0, true),
    macsRest: view.getUint32(8, true),
    addr,
    // Many flows: the source port is counted up from 0.
    ports: flows === 1 ? ports : (ports & 0xffff0000) >>> 0,
    flows: flows % 2 ** 32,
    frameLen: frame.length,
    addrOffset: flowFields?.address ?? 0,
    portsOffset: flowFields?.ports ?? 0,
    isIpv6: flowFields?.isIpv6 ? 1 : 0,
  })
}

/** struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. */
export const testRunContext = (frame: Uint8Array, ifindex: number): Uint8Array =>
  new Uint8Array(Uint32Array.of(0, frame.length, 0, ifindex, 0, 0).buffer)

export const u32Bytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
