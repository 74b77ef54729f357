/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet that an ICMP error quotes: its addresses, its protocol, its ports. */
#pragma once

#include "packet.h"

/* How far into the frame quoted headers are looked for. */
#define QUOTE_REACH 0x3ff

/* A quoted IP header. Offsets in bytes from the frame's start. */
struct quoted {
	__u64 src_hi;
	__u64 src_lo;
	__u64 dst_hi;
	__u64 dst_lo;
	__u32 l4_offset;
	__u32 protocol;
	_Bool is_ipv6;
};

static __always_inline int read_quoted_ipv4(void *at, void *end, struct quoted *quoted)
{
	struct iphdr *ip = at;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(0x1fff))
		return -1;
	quoted->is_ipv6 = 0;
	quoted->protocol = ip->protocol;
	quoted->l4_offset += ip->ihl * 4;
	quoted->src_hi = quoted->dst_hi = 0;
	quoted->src_lo = IPV4_MAPPED_PREFIX | (__u64)ip->saddr << 32;
	quoted->dst_lo = IPV4_MAPPED_PREFIX | (__u64)ip->daddr << 32;
	return 0;
}

static __always_inline int read_quoted_ipv6(void *at, void *end, struct quoted *quoted)
{
	struct ipv6hdr *ip = at;
	void *next = ip + 1;

	if (next > end || ip->version != 6)
		return -1;
	quoted->is_ipv6 = 1;
	quoted->protocol = ip->nexthdr;
	quoted->src_hi = load_u64(ip->saddr.s6_addr);
	quoted->src_lo = load_u64(ip->saddr.s6_addr + 8);
	quoted->dst_hi = load_u64(ip->daddr.s6_addr);
	quoted->dst_lo = load_u64(ip->daddr.s6_addr + 8);
	quoted->l4_offset += sizeof(*ip);
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		struct extension_header *header = next;
		__u32 len;

		if (quoted->protocol != IPPROTO_HOPOPTS && quoted->protocol != IPPROTO_ROUTING &&
		    quoted->protocol != IPPROTO_DSTOPTS)
			break;
		if (next + 8 > end)
			return -1;
		len = (header->length + 1) * 8;
		quoted->protocol = header->next_header;
		quoted->l4_offset += len;
		next += len;
	}
	return 0;
}

/* The IP header at `offset`, by its version; -1: there is none, or not the first fragment's. */
static __always_inline int read_quoted(struct xdp_md *ctx, __u32 offset, struct quoted *quoted)
{
	void *at = frame_start(ctx) + bounded(offset, QUOTE_REACH), *end = frame_end(ctx);

	quoted->l4_offset = offset;
	if (offset > QUOTE_REACH || at + 1 > end)
		return -1;
	return *(__u8 *)at >> 4 == 6 ? read_quoted_ipv6(at, end, quoted) : read_quoted_ipv4(at, end, quoted);
}

static __always_inline int read_quoted_ports(struct xdp_md *ctx, const struct quoted *quoted, __u32 *ports)
{
	__u32 *at = frame_start(ctx) + bounded(quoted->l4_offset, QUOTE_REACH);

	if (quoted->l4_offset > QUOTE_REACH)
		return -1;
	if ((quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP) || (void *)(at + 1) > frame_end(ctx))
		return -1;
	*ports = *at;
	return 0;
}
