// Generated from bpf/decap.h by tools/btf-layout.ts; `npm run layout` writes it again.
import { bytes, struct, u32, u64 } from '../dataplane/codec.js'

/** struct decap_config, 24 bytes. */
export const decapConfigLayout = struct(24, {
  modes: u32(0),
  checkSources: u32(4),
  guePorts: bytes(8, 16),
})

/** struct decap_count, 16 bytes. */
export const decapCountLayout = struct(16, {
  packets: u64(0),
  bytes: u64(8),
})

/** struct decap_source, 20 bytes. */
export const decapSourceLayout = struct(20, {
  bits: u32(0),
  addr: bytes(4, 16),
})

/** enum decap_address */
export const decapAddress = {
  DECAP_ADDRESS_OWN: 1,
  DECAP_ADDRESS_VIP: 2,
} as const

/** enum decap_mode */
export const decapMode = {
  DECAP_MODE_IPIP: 1,
  DECAP_MODE_GRE: 2,
  DECAP_MODE_GUE: 4,
} as const

/** enum decap_verdict */
export const decapVerdict = {
  DECAP_CONTINUE: 0,
  PASS_NO_TUNNEL: 1,
  PASS_OTHER_ADDRESS: 2,
  PASS_OTHER_MODE: 3,
  PASS_OTHER_SOURCE: 4,
  PASS_NOT_A_VIP: 5,
  PASS_OUTER_FRAGMENT: 6,
  PASS_BAD_HEADER: 7,
  PASS_BAD_LENGTH: 8,
  DROP_CONGESTION: 16,
  DECAP_IPIP: 32,
  DECAP_GRE: 33,
  DECAP_GUE: 34,
} as const

export const mapNames = ['addresses', 'counts', 'sources'] as const
