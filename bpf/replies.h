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

/* What all NAT backends' addresses have in common: of IPv4, then of IPv6. Nothing else is looked up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct prefix);
} nat_sources SEC(".maps");

static __always_inline _Bool is_nat_source(__u64 src_hi, __u64 src_lo)
{
	__u32 key = src_hi || (__u32)src_lo != (__u32)IPV4_MAPPED_PREFIX;
	struct prefix *common = bpf_map_lookup_elem(&nat_sources, &key);

	/* So that a mask of 0 lets everything through: while it changes. */
	return common && !((src_lo ^ load_u64(common->net.s6_addr + 8)) & load_u64(common->mask.s6_addr + 8)) &&
	       !((src_hi ^ load_u64(common->net.s6_addr)) & load_u64(common->mask.s6_addr));
}

/* By its source; NULL: of no NAT backend. */
static __always_inline struct reply *lookup_nat_reply(__u64 src_hi, __u64 src_lo, __u8 protocol, __be16 port)
{
	struct reply *reply = is_nat_source(src_hi, src_lo) ? lookup_reply(src_hi, src_lo, protocol, port) : NULL;

	if (reply || !config.any_port || !is_nat_source(src_hi, src_lo))
		return reply;
	return lookup_reply(src_hi, src_lo, protocol, 0);
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
