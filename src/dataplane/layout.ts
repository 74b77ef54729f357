// Generated from bpf/shared.h by tools/btf-layout.ts; `npm run layout` writes it again.
import { bytes, struct, u16, u16be, u32, u32be, u64, u64s, u8 } from './codec.js'

/** struct backend, 64 bytes. */
export const backendLayout = struct(64, {
  dstMac: bytes(0, 6),
  srcMac: bytes(6, 6),
  ifindex: u32(12),
  mode: u8(16),
  flags: u8(17),
  mtu: u16(18),
  outPort: u8(20),
  spread: u8(21),
  idle: u16(22),
  service: u16(24),
  port: u16be(26),
  key: u32be(28),
  addr: bytes(32, 16),
  source: bytes(48, 16),
})

/** struct backend_count, 40 bytes. */
export const backendCountLayout = struct(40, {
  txPackets: u64(0),
  txBytes: u64(8),
  redirectPackets: u64(16),
  redirectBytes: u64(24),
  syns: u64(32),
})

/** struct config, 64 bytes. */
export const configLayout = struct(64, {
  hashKeys: u64s(0, 4),
  clockScale: u64(32),
  serviceSeed: u32(40),
  serviceMask: u32(44),
  interfaceMask: u32(48),
  answersPerSecond: u32(52),
  anyPort: u8(56),
  trace: u8(57),
  tracking: u8(58),
  testClock: u8(59),
  cacheBits: u16(60),
  cacheGrown: u16(62),
})

/** struct flow_bucket, 64 bytes. */
export const flowBucketLayout = struct(64, {
  entries: u64s(0, 8),
})

/** struct flow_count, 32 bytes. */
export const flowCountLayout = struct(32, {
  inserted: u64(0),
  deferred: u64(8),
  refused: u64(16),
  unremembered: u64(24),
})

/** struct interface, 16 bytes. */
export const interfaceLayout = struct(16, {
  mac: bytes(0, 6),
  ifindex: u32(8),
  mtu: u32(12),
})

/** struct path_mtu, 16 bytes. */
export const pathMtuLayout = struct(16, {
  mtu: u32(0),
  heard: u64(8),
})

/** struct pressure_line, 64 bytes. */
export const pressureLineLayout = struct(64, {
  marked: bytes(0, 64),
})

/** struct service, 64 bytes. */
export const serviceLayout = struct(64, {
  addr: bytes(0, 16),
  port: u16be(16),
  protocol: u8(18),
  state: u8(19),
  flags: u8(20),
  idle: u16(22),
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
  BACKEND_DEAD: 2,
  BACKEND_NO_NEW: 4,
  BACKEND_GONE: 8,
  BACKEND_KEYED: 16,
  BACKEND_BARE: 32,
} as const

/** enum flow_class */
export const flowClass = {
  FLOW_HALF_OPEN: 1,
  FLOW_OPEN: 2,
  FLOW_CLOSED: 3,
} as const

/** enum flow_layout */
export const flowLayout = {
  FLOW_SEEN_SHIFT: 20,
  FLOW_CLASS_SHIFT: 34,
  FLOW_FINGERPRINT_SHIFT: 36,
  FLOW_SEEN_BITS: 14,
  FLOW_FINGERPRINT_BITS: 28,
  FLOW_SECONDS_PER_UNIT: 4,
  FLOWS_PER_BUCKET: 8,
} as const

/** enum forward_mode */
export const forwardMode = {
  FORWARD_NONE: 0,
  FORWARD_DR: 1,
  FORWARD_IPIP: 2,
  FORWARD_GRE: 3,
  FORWARD_GUE: 4,
} as const

/** enum service_flags */
export const serviceFlags = {
  SERVICE_REJECT: 1,
  SERVICE_SYN_OPENS: 2,
  SERVICE_CLAMP_MSS: 4,
  SERVICE_PING_ANSWER: 8,
  SERVICE_PING_DROP: 16,
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

/** enum slot_state */
export const slotState = {
  SLOT_UNTRACKED: 0,
  SLOT_GRACE: 1,
  SLOT_LEARNING: 2,
  SLOT_KEEPING: 3,
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
  PASS_PING: 7,
  PASS_TUNNEL_ERROR: 8,
  DROP_TRUNCATED: 16,
  DROP_NO_BACKEND: 17,
  DROP_NO_NEXT_HOP: 18,
  DROP_REJECT_LIMITED: 19,
  DROP_TOO_BIG: 20,
  DROP_TOO_BIG_LIMITED: 21,
  DROP_AGGREGATED: 22,
  DROP_NO_HEADROOM: 23,
  DROP_PING: 24,
  DROP_PING_LIMITED: 25,
  TX_DR: 32,
  TX_REJECT_RST: 33,
  TX_REJECT_UNREACHABLE: 34,
  TX_TOO_BIG: 35,
  TX_PING: 36,
  TX_TUNNEL_ERROR: 37,
  TX_IPIP: 38,
  TX_GRE: 39,
  TX_GUE: 40,
  REDIRECT_DR: 48,
  REDIRECT_IPIP: 49,
  REDIRECT_GRE: 50,
  REDIRECT_GUE: 51,
} as const

export const mapNames = ['answer_budgets', 'backend_counts', 'backends', 'flow_cache', 'flow_counts', 'interfaces', 'out_ports', 'path_mtus', 'pressure', 'service_counts', 'services', 'slots', 'test_clock', 'trace', 'verdicts'] as const
