/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where replies come back: by their source, a NAT backend; by their destination, a local address. */
#pragma once

#include "packet.h"
#include "service.h"

/* As the service table: open addressing, kept under an eighth full, and no entry further than SERVICE_PROBES. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct reply);
} replies SEC(".maps");

/* By backend id. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct reply_count);
} reply_counts SEC(".maps");

static __always_inline struct reply *lookup_reply(__u64 addr_hi, __u64 addr_lo, __u8 protocol, __be16 port)
{
	__u32 selector = service_selector(port, protocol);
	__u32 home = table_hash(addr_hi, addr_lo, selector);

	for (int probe = 0; probe < SERVICE_PROBES; probe++) {
		__u32 bucket = (home + probe) & config.reply_mask;
		struct reply *reply = bpf_map_lookup_elem(&replies, &bucket);
		__u32 found;

		if (!reply)
			break;
		found = *(volatile __u32 *)&reply->port; /* port, protocol and state together */
		if (found == selector && load_u64(reply->addr.s6_addr + 8) == addr_lo &&
		    load_u64(reply->addr.s6_addr) == addr_hi)
			return reply;
		if (!(found >> 24)) /* SERVICE_EMPTY */
			break;
	}
	return NULL;
}

/* By its source; NULL: of no NAT backend. */
static __always_inline struct reply *lookup_nat_reply(__u64 src_hi, __u64 src_lo, __u8 protocol, __be16 port)
{
	struct reply *reply = lookup_reply(src_hi, src_lo, protocol, port);

	return reply || !config.any_port ? reply : lookup_reply(src_hi, src_lo, protocol, 0);
}

/* A local address, by a packet's destination; NULL: it is none. */
static __always_inline struct reply *lookup_local(_Bool is_ipv6, __u64 dst_hi, __u64 dst_lo)
{
	if ((dst_lo & config.local_mask[is_ipv6 ? 3 : 1]) != config.local_net[is_ipv6 ? 3 : 1])
		return NULL;
	if (is_ipv6 && (dst_hi & config.local_mask[2]) != config.local_net[2])
		return NULL;
	return lookup_reply(dst_hi, dst_lo, 0, 0);
}
