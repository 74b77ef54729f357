/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No backend alive, UDP: port unreachable (RFC 792; RFC 4443 3.1), quoting as much of the packet as is allowed. */
#pragma once

#include "reply.h"

#define ICMP_REPLY_MAX	 576  /* the whole packet: RFC 1812 4.3.2.3 */
#define ICMPV6_REPLY_MAX 1280 /* the minimum MTU: RFC 4443 2.4 (c) */

/* An error's header, ICMP or ICMPv6; not from linux/icmp.h, which draws in the C library. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u32 unused;
};

/* Ethernet header and tags, `len` bytes. */
static __always_inline void copy_l2(void *to, const void *from, __u32 len)
{
	for (__u32 i = 0; i < L3_OFFSET_MAX; i += 2)
		if (i < len)
			*(__u16 *)(to + i) = *(__u16 *)(from + i);
}

/* How many bytes of the packet to quote: as its IP header has it, as the frame holds, and at most `max`. */
static __always_inline __u32 quote_bytes(const struct unanswered *it, __u32 max)
{
	__u32 in_frame = length(frame_start(it->ctx), frame_end(it->ctx)) - it->l3_offset;
	__u32 bytes = it->l4_offset - it->l3_offset + it->l4_len;

	if (bytes > in_frame)
		bytes = in_frame;
	return bytes < max ? bytes : max;
}

/* Cuts the frame behind `quote` bytes of packet, and makes room for `room` bytes ahead of them. */
static __always_inline int push_headers(const struct unanswered *it, __u32 room, __u32 quote)
{
	void *frame;

	if (resize_frame(it->ctx, it->l3_offset + quote) || bpf_xdp_adjust_head(it->ctx, -(int)room))
		return -1;
	frame = frame_start(it->ctx);
	if (frame + room + L3_OFFSET_MAX > frame_end(it->ctx))
		return -1;
	copy_l2(frame, frame + room, it->l3_offset);
	swap_macs(frame);
	return 0;
}

static __always_inline enum verdict unreachable_ipv4(const struct unanswered *it)
{
	__u32 room = sizeof(struct iphdr) + sizeof(struct icmp_error), quote = quote_bytes(it, ICMP_REPLY_MAX - room);
	struct icmp_error *icmp;
	struct iphdr *ip, *quoted;
	__u64 sum;

	if (push_headers(it, room, quote))
		return DROP_NO_BACKEND;
	sum = sum_frame(it->ctx, it->l3_offset + room, quote);
	ip = frame_start(it->ctx) + it->l3_offset;
	icmp = (void *)(ip + 1);
	quoted = (void *)(icmp + 1);
	if ((void *)(quoted + 1) > frame_end(it->ctx))
		return DROP_NO_BACKEND;
	write_ipv4(ip, sizeof(*icmp) + quote, IPPROTO_ICMP, quoted->daddr, quoted->saddr);
	*icmp = (struct icmp_error){ .type = 3, .code = 3 };
	icmp->checksum = fold_checksum(sum + sum_words((__u32 *)icmp, 2));
	return TX_REJECT_UNREACHABLE;
}

static __always_inline enum verdict unreachable_ipv6(const struct unanswered *it)
{
	__u32 room = sizeof(struct ipv6hdr) + sizeof(struct icmp_error),
	      quote = quote_bytes(it, ICMPV6_REPLY_MAX - room);
	struct icmp_error *icmp;
	struct ipv6hdr *ip, *quoted;
	__u64 sum;

	if (push_headers(it, room, quote))
		return DROP_NO_BACKEND;
	sum = sum_frame(it->ctx, it->l3_offset + room, quote);
	ip = frame_start(it->ctx) + it->l3_offset;
	icmp = (void *)(ip + 1);
	quoted = (void *)(icmp + 1);
	if ((void *)(quoted + 1) > frame_end(it->ctx))
		return DROP_NO_BACKEND;
	write_ipv6(ip, sizeof(*icmp) + quote, IPPROTO_ICMPV6, quoted->daddr, quoted->saddr);
	*icmp = (struct icmp_error){ .type = 1, .code = 4 };
	sum += sum_pseudo_ipv6(ip, sizeof(*icmp) + quote);
	icmp->checksum = fold_checksum(sum + sum_words((__u32 *)icmp, 2));
	return TX_REJECT_UNREACHABLE;
}
