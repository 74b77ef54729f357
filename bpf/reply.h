/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Building blocks of packets that the balancer itself sends: fresh IP headers, pseudo headers, the frame's new shape.
 */
#pragma once

#include "packet.h"
#include "checksum.h"

#define REPLY_HOP_LIMIT 64

/* A packet that may be answered: offsets in bytes from the frame's start, `l4_len` by the IP header. */
struct unanswered {
	struct xdp_md *ctx;
	__u32 l3_offset;
	__u32 l4_offset;
	__u32 l4_len;
	__u32 protocol;
	_Bool from_router; /* an error is this host's own, as a router's; else its destination's */
};

static __always_inline _Bool is_group_mac(const __u8 *mac)
{
	return mac[0] & 1;
}

/* Ethernet header and tags, `len` bytes. */
static __always_inline void copy_l2(void *to, const void *from, __u32 len)
{
	for (__u32 i = 0; i < L3_OFFSET_MAX; i += 2)
		if (i < len)
			*(__u16 *)(to + i) = *(__u16 *)(from + i);
}

static __always_inline void swap_macs(void *frame)
{
	__u16 *mac = frame;

	for (int i = 0; i < 3; i++) {
		__u16 destination = mac[i];

		mac[i] = mac[i + 3];
		mac[i + 3] = destination;
	}
}

static __always_inline void write_ipv4(struct iphdr *ip, __u32 payload_len, __u8 protocol, __be32 src, __be32 dst)
{
	*(__u8 *)ip = 0x45;
	ip->tos = 0;
	ip->tot_len = bpf_htons(sizeof(*ip) + payload_len);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = REPLY_HOP_LIMIT;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = src;
	ip->daddr = dst;
	ip->check = fold_checksum(sum_words((__u32 *)ip, 5));
}

static __always_inline void write_ipv6(struct ipv6hdr *ip, __u32 payload_len, __u8 protocol, struct in6_addr src,
				       struct in6_addr dst)
{
	*(__be32 *)ip = bpf_htonl(6U << 28);
	ip->payload_len = bpf_htons(payload_len);
	ip->nexthdr = protocol;
	ip->hop_limit = REPLY_HOP_LIMIT;
	ip->saddr = src;
	ip->daddr = dst;
}

/* The part of a TCP, UDP or ICMPv6 checksum that comes from the IP header. */
static __always_inline __u64 sum_pseudo_ipv4(const struct iphdr *ip, __u32 len)
{
	return (__u64)ip->saddr + ip->daddr + bpf_htonl((__u32)ip->protocol << 16 | len);
}

static __always_inline __u64 sum_pseudo_ipv6(const struct ipv6hdr *ip, __u32 len)
{
	return sum_words((__u32 *)&ip->saddr, 8) + bpf_htonl(len) + bpf_htonl(ip->nexthdr);
}

/* Makes the frame `bytes` long. All pointers into it are void afterwards. */
static __always_inline int resize_frame(struct xdp_md *ctx, __u32 bytes)
{
	return bpf_xdp_adjust_tail(ctx, (int)bytes - (int)length(frame_start(ctx), frame_end(ctx)));
}
