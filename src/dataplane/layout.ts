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

/** struct client_route, 64 bytes. */
export const clientRouteLayout = struct(64, {
  net: bytes(0, 16),
  mask: bytes(16, 16),
  dstMac: bytes(32, 6),
  srcMac: bytes(38, 6),
  ifindex: u32(44),
  kind: u8(48),
  outPort: u8(49),
  mtu: u16(50),
})

/** struct config, 144 bytes. */
export const configLayout = struct(144, {
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
  nat: u8(64),
  connections: u8(65),
  snatPrefixes: u8(66),
  snatPool: u8(67),
  connectionBits: u8(68),
  replyMask: u32(72),
  snatTimes: u32(76),
  localNet: u64s(80, 4),
  localMask: u64s(112, 4),
})

/** struct connection, 64 bytes. */
export const connectionLayout = struct(64, {
  client: bytes(0, 16),
  server: bytes(16, 16),
  clientPort: u16be(32),
  serverPort: u16be(34),
  backend: u32(36),
  expires: u32(40),
  clientSeen: u8(44),
  serverSeen: u8(45),
  protocol: u8(46),
  kind: u8(47),
  l4Delta: u16(48),
  l3Delta: u16(50),
  hopMac: bytes(52, 6),
  packets: u16(58),
  ifindex: u32(60),
})

/** struct connection_times, 32 bytes. */
export const connectionTimesLayout = struct(32, {
  synSent: u16(0),
  synReceived: u16(2),
  established: u16(4),
  finWait: u16(6),
  closeWait: u16(8),
  lastAck: u16(10),
  timeWait: u16(12),
  close: u16(14),
  udp: u16(16),
  udpOnce: u16(18),
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

/** struct interface, 40 bytes. */
export const interfaceLayout = struct(40, {
  mac: bytes(0, 6),
  ifindex: u32(8),
  mtu: u32(12),
  addr4: u32be(16),
  addr6: bytes(24, 16),
})

/** struct local_address, 16 bytes. */
export const localAddressLayout = struct(16, {
  addr: bytes(0, 16),
})

/** struct path_mtu, 16 bytes. */
export const pathMtuLayout = struct(16, {
  mtu: u32(0),
  heard: u64(8),
})

/** struct pool, 32 bytes. */
export const poolLayout = struct(32, {
  first: u32(0),
  count: u32(4),
  firstPort: u32(8),
  ports: u32(12),
  ranges: u32(16),
})

/** struct pool_count, 24 bytes. */
export const poolCountLayout = struct(24, {
  opened: u64(0),
  reopened: u64(8),
  refused: u64(16),
})

/** struct pool_cursor, 16 bytes. */
export const poolCursorLayout = struct(16, {
  next: u32(0),
  anywhere: u32(4),
  exhausted: u32(8),
  failures: u32(12),
})

/** struct prefix, 32 bytes. */
export const prefixLayout = struct(32, {
  net: bytes(0, 16),
  mask: bytes(16, 16),
})

/** struct pressure_line, 64 bytes. */
export const pressureLineLayout = struct(64, {
  marked: bytes(0, 64),
})

/** struct reply, 56 bytes. */
export const replyLayout = struct(56, {
  addr: bytes(0, 16),
  port: u16be(16),
  protocol: u8(18),
  state: u8(19),
  byFlow: u8(20),
  vipPort: u16be(22),
  vip: bytes(24, 16),
  id: u32(40),
  l4Delta: u16(44),
  l3Delta: u16(46),
})

/** struct reply_count, 32 bytes. */
export const replyCountLayout = struct(32, {
  txPackets: u64(0),
  txBytes: u64(8),
  redirectPackets: u64(16),
  redirectBytes: u64(24),
})

/** struct service, 64 bytes. */
export const serviceLayout = struct(64, {
  addr: bytes(0, 16),
  port: u16be(16),
  protocol: u8(18),
  state: u8(19),
  flags: u8(20),
  pool: u8(21),
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

/** struct wanted_neighbour, 16 bytes. */
export const wantedNeighbourLayout = struct(16, {
  ifindex: u32(0),
  asked: u64(8),
})

/** enum backend_flags */
export const backendFlags = {
  BACKEND_RESOLVED: 1,
  BACKEND_DEAD: 2,
  BACKEND_NO_NEW: 4,
  BACKEND_GONE: 8,
  BACKEND_KEYED: 16,
  BACKEND_BARE: 32,
  BACKEND_BY_FLOW: 64,
} as const

/** enum client_route_kind */
export const clientRouteKind = {
  CLIENT_ROUTE_NONE: 0,
  CLIENT_ROUTE_HOP: 1,
  CLIENT_ROUTE_KERNEL: 2,
  CLIENT_ROUTE_LOCAL: 3,
} as const

/** enum client_routes */
export const clientRoutes = {
  CLIENT_ROUTES: 32,
} as const

/** enum connection_kind */
export const connectionKind = {
  CONNECTION_FREE: 0,
  CONNECTION_CLAIMED: 1,
  CONNECTION_FULLNAT: 2,
  CONNECTION_SNAT: 3,
  CONNECTION_NAT: 4,
  CONNECTION_KIND_MASK: 7,
  CONNECTION_DROPPED: 16,
  CONNECTION_CLIENT_TOLD: 32,
  CONNECTION_SERVER_TOLD: 64,
} as const

/** enum connection_seen */
export const connectionSeen = {
  SEEN_SYN: 1,
  SEEN_ACK: 2,
  SEEN_FIN: 4,
  SEEN_FIN_FIRST: 8,
  SEEN_RST: 16,
} as const

/** enum connection_state */
export const connectionState = {
  STATE_SYN_SENT: 0,
  STATE_SYN_RECEIVED: 1,
  STATE_ESTABLISHED: 2,
  STATE_FIN_WAIT: 3,
  STATE_CLOSE_WAIT: 4,
  STATE_LAST_ACK: 5,
  STATE_TIME_WAIT: 6,
  STATE_CLOSE: 7,
  STATE_UDP: 8,
  STATE_UDP_ONCE: 9,
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
  FORWARD_NAT: 5,
  FORWARD_FULLNAT: 6,
} as const

/** enum index_layout */
export const indexLayout = {
  INDEX_BITS: 28,
  INDEX_TAG_SHIFT: 28,
  INDEX_USED_SHIFT: 63,
} as const

/** enum service_flags */
export const serviceFlags = {
  SERVICE_REJECT: 1,
  SERVICE_SYN_OPENS: 2,
  SERVICE_CLAMP_MSS: 4,
  SERVICE_PING_ANSWER: 8,
  SERVICE_PING_DROP: 16,
  SERVICE_CONNECTIONS: 32,
  SERVICE_TOA: 64,
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
  DROP_TRUNCATED: 32,
  DROP_NO_BACKEND: 33,
  DROP_NO_NEXT_HOP: 34,
  DROP_REJECT_LIMITED: 35,
  DROP_TOO_BIG: 36,
  DROP_TOO_BIG_LIMITED: 37,
  DROP_AGGREGATED: 38,
  DROP_NO_HEADROOM: 39,
  DROP_PING: 40,
  DROP_PING_LIMITED: 41,
  DROP_NO_CONNECTION: 42,
  DROP_EXHAUSTED: 43,
  DROP_TTL_EXPIRED: 44,
  DROP_TTL_LIMITED: 45,
  DROP_UNTRANSLATABLE: 46,
  TX_DR: 64,
  TX_REJECT_RST: 65,
  TX_REJECT_UNREACHABLE: 66,
  TX_TOO_BIG: 67,
  TX_PING: 68,
  TX_TUNNEL_ERROR: 69,
  TX_IPIP: 70,
  TX_GRE: 71,
  TX_GUE: 72,
  TX_NAT: 73,
  TX_FULLNAT: 74,
  TX_NAT_REPLY: 75,
  TX_FULLNAT_REPLY: 76,
  TX_SNAT: 77,
  TX_SNAT_REPLY: 78,
  TX_TIME_EXCEEDED: 79,
  TX_EXHAUSTED: 80,
  TX_NO_CONNECTION: 81,
  REDIRECT_DR: 96,
  REDIRECT_IPIP: 97,
  REDIRECT_GRE: 98,
  REDIRECT_GUE: 99,
  REDIRECT_NAT: 100,
  REDIRECT_FULLNAT: 101,
  REDIRECT_NAT_REPLY: 102,
  REDIRECT_FULLNAT_REPLY: 103,
  REDIRECT_SNAT: 104,
  REDIRECT_SNAT_REPLY: 105,
} as const

/** enum verdict_layout */
export const verdictLayout = {
  VERDICT_ACTION_SHIFT: 5,
} as const

export const mapNames = ['answer_budgets', 'backend_counts', 'backends', 'client_routes', 'connection_index', 'connection_times', 'connections', 'flow_cache', 'flow_counts', 'interfaces', 'local_addresses', 'nat_sources', 'out_ports', 'path_mtus', 'pool_counts', 'pool_cursors', 'pools', 'pressure', 'replies', 'reply_counts', 'service_counts', 'services', 'slots', 'snat_prefixes', 'test_clock', 'trace', 'verdicts', 'wanted_neighbours'] as const
