// Generated from bpf/shared.h by tools/btf-layout.ts; `npm run layout` writes it again.
import { bytes, struct, u16be, u32, u64, u64s, u8 } from './codec.js'

/** struct backend, 64 bytes. */
export const backendLayout = struct(64, {
  dstMac: bytes(0, 6),
  srcMac: bytes(6, 6),
  ifindex: u32(12),
  outPort: u32(16),
  mode: u8(20),
  flags: u8(21),
  service: u32(24),
})

/** struct backend_count, 40 bytes. */
export const backendCountLayout = struct(40, {
  txPackets: u64(0),
  txBytes: u64(8),
  redirectPackets: u64(16),
  redirectBytes: u64(24),
  syns: u64(32),
})

/** struct config, 56 bytes. */
export const configLayout = struct(56, {
  hashKeys: u64s(0, 4),
  serviceSeed: u32(32),
  serviceMask: u32(36),
  interfaceMask: u32(40),
  rejectsPerSecond: u32(44),
  anyPort: u8(48),
  trace: u8(49),
})

/** struct interface, 16 bytes. */
export const interfaceLayout = struct(16, {
  mac: bytes(0, 6),
  ifindex: u32(8),
})

/** struct service, 64 bytes. */
export const serviceLayout = struct(64, {
  addr: bytes(0, 16),
  port: u16be(16),
  protocol: u8(18),
  state: u8(19),
  flags: u8(20),
  ringBase: u32(24),
  ringSize: u32(28),
  hashSeed: u64(32),
  hashMask: u64(40),
  id: u32(48),
})

/** struct trace, 24 bytes. */
export const traceLayout = struct(24, {
  verdict: u32(0),
  service: u32(4),
  backend: u32(8),
  slot: u32(12),
  hash: u64(16),
})

/** struct traffic, 16 bytes. */
export const trafficLayout = struct(16, {
  packets: u64(0),
  bytes: u64(8),
})

/** enum backend_flags */
export const backendFlags = {
  BACKEND_RESOLVED: 1,
} as const

/** enum forward_mode */
export const forwardMode = {
  FORWARD_NONE: 0,
  FORWARD_DR: 1,
} as const

/** enum service_flags */
export const serviceFlags = {
  SERVICE_REJECT: 1,
} as const

/** enum service_state */
export const serviceState = {
  SERVICE_EMPTY: 0,
  SERVICE_USED: 1,
  SERVICE_GONE: 2,
} as const

/** enum slot_layout */
export const slotLayout = {
  SLOT_CURRENT_BITS: 20,
  SLOT_STATE_SHIFT: 20,
  SLOT_HOME_SHIFT: 32,
} as const

/** enum verdict */
export const verdict = {
  CONTINUE: 0,
  PASS_NOT_IP: 1,
  PASS_NOT_A_SERVICE: 2,
  PASS_OTHER_HOST: 3,
  PASS_FRAGMENT: 4,
  PASS_TRUNCATED: 5,
  PASS_EXTENSION_HEADERS: 6,
  DROP_TRUNCATED: 16,
  DROP_NO_BACKEND: 17,
  DROP_NO_NEXT_HOP: 18,
  DROP_REJECT_LIMITED: 19,
  TX_DR: 32,
  TX_REJECT_RST: 33,
  TX_REJECT_UNREACHABLE: 34,
  REDIRECT_DR: 48,
} as const

export const mapNames = ['backend_counts', 'backends', 'interfaces', 'out_ports', 'reject_budget', 'service_counts', 'services', 'slots', 'trace', 'verdicts'] as const
