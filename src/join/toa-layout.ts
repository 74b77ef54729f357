// Generated from bpf/toa.h by tools/btf-layout.ts; `npm run layout` writes it again.
import { bytes, struct, u16be, u32, u64, u8 } from '../dataplane/codec.js'

/** struct toa_client, 24 bytes. */
export const toaClientLayout = struct(24, {
  addr: bytes(0, 16),
  port: u16be(16),
  known: u8(18),
  looking: u32(20),
})

/** struct toa_config, 4 bytes. */
export const toaConfigLayout = struct(4, {
  checkSources: u32(0),
})

/** struct toa_count, 8 bytes. */
export const toaCountLayout = struct(8, {
  connections: u64(0),
})

/** struct toa_source, 20 bytes. */
export const toaSourceLayout = struct(20, {
  bits: u32(0),
  addr: bytes(4, 16),
})

/** enum toa_outcome */
export const toaOutcome = {
  TOA_FROM_SYN: 0,
  TOA_FROM_HANDSHAKE: 1,
  TOA_FROM_LATER: 2,
  TOA_ABSENT: 3,
  TOA_MALFORMED: 4,
  TOA_OTHER_SOURCE: 5,
  TOA_NO_MEMORY: 6,
} as const

export const mapNames = ['toa_clients', 'toa_counts', 'toa_sources'] as const
