/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow's hash -> its slot of the service's ring -> a backend. */
#pragma once

#include "packet.h"

#define BACKEND_ID_MASK ((1U << SLOT_CURRENT_BITS) - 1)

/* All rings, one after the other: enum slot_layout. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4194304);
	__type(key, __u32);
	__type(value, __u64);
} slots SEC(".maps");

/* By backend id; id 0 is nobody. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

/*
 * Keyed multiply-mix. The keys are secret and odd, so that nobody outside can choose flows that share a slot;
 * the service's identity is in its seed. Wire bytes are taken as they lie in memory.
 */
static __always_inline __u64 flow_hash(const struct packet *pkt)
{
	__u64 mask = pkt->service->hash_mask, ports = (__u64)pkt->ports << 32, word;

	if (pkt->is_ipv6) {
		__u64 source = pkt->src_hi * config.hash_keys[2] + pkt->src_lo * config.hash_keys[3];

		source ^= source >> 32;
		word = (ports & mask & ~0ULL << 32) ^ (mask & 1 ? source : 0);
	} else {
		word = (ports | pkt->src_lo >> 32) & mask;
	}
	word = (word ^ pkt->service->hash_seed) * config.hash_keys[0];
	word ^= word >> 32;
	word *= config.hash_keys[1];
	return word ^ word >> 29;
}

/* CONTINUE with pkt.backend_id 0: the slot is nobody's. */
__stage enum verdict find_slot(struct packet *pkt)
{
	/* Base and size change together: one load. */
	__u64 ring = *(volatile __u64 *)&pkt->service->ring_base, *slot;
	__u32 size = ring >> 32;

	if (config.connections && pkt->backend_id)
		return CONTINUE; /* its connection has told */
	pkt->hash = flow_hash(pkt);
	pkt->slot = (pkt->hash >> 32) * size >> 32;
	pkt->slot_index = (__u32)ring + pkt->slot;
	slot = bpf_map_lookup_elem(&slots, &pkt->slot_index);
	if (slot && size) {
		pkt->slot_word = *(volatile __u64 *)slot;
		pkt->backend_id = pkt->slot_word & BACKEND_ID_MASK;
	}
	return CONTINUE;
}
