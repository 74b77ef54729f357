/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose own connections are translated: prefixes of source addresses. */
#pragma once

#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct prefix);
} snat_prefixes SEC(".maps");

static __always_inline _Bool is_in(const struct prefix *prefix, __u64 hi, __u64 lo)
{
	_Bool is_ipv4 = !hi && (__u32)lo == (__u32)IPV4_MAPPED_PREFIX;

	/* ::/0 holds no IPv4 address, though it would match one's mapped form. */
	if (is_ipv4 != (is_ipv4_mapped(&prefix->net) && load_u64(prefix->mask.s6_addr) == ~0ULL))
		return 0;
	return (lo & load_u64(prefix->mask.s6_addr + 8)) == load_u64(prefix->net.s6_addr + 8) &&
	       (hi & load_u64(prefix->mask.s6_addr)) == load_u64(prefix->net.s6_addr);
}

/* A program of its own. Whether a packet goes from the translated sources to elsewhere. */
__attribute__((noinline)) int goes_out(__u64 src_hi, __u64 src_lo, __u64 dst_hi, __u64 dst_lo)
{
	_Bool is_from = 0;

	for (__u32 i = 0; i < 16 && i < config.snat_prefixes; i++) {
		__u32 key = i;
		struct prefix *prefix = bpf_map_lookup_elem(&snat_prefixes, &key);

		if (!prefix)
			return 0;
		if (is_in(prefix, dst_hi, dst_lo))
			return 0;
		is_from |= is_in(prefix, src_hi, src_lo);
	}
	return is_from;
}
