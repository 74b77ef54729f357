/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An ICMP error about a translated flow: its addresses, those of the packet that it quotes, that packet's ports, and
 * each checksum on the way (RFC 5508 4). A quote may be cut anywhere behind its ports. Off the fast path.
 */
#pragma once

#include "packet.h"
#include "icmp.h"
#include "quoted.h"
#include "rewrite.h"

/* Besides the family, in the last argument of translate_message(). */
#define MESSAGE_IS_IPV6	     1
#define MESSAGE_KEEPS_SOURCE 2 /* it goes on as its sender's, not as the flow's */

/* Writes a word, and adds to `delta` what that adds to a sum. */
static __always_inline void put_word(__u32 *at, __u32 word, __u64 *delta)
{
	*delta += (__u64)word + (__u32) ~*at;
	*at = word;
}

static __always_inline void put_addr(struct in6_addr *at, __u64 hi, __u64 lo, __u64 *delta)
{
	__u32 *words = (__u32 *)at;

	put_word(&words[0], hi, delta);
	put_word(&words[1], hi >> 32, delta);
	put_word(&words[2], lo, delta);
	put_word(&words[3], lo >> 32, delta);
}

/* The ports at `l4_offset`, and the checksum behind them where the quote reaches so far. `delta`: of the addresses. */
static __always_inline void translate_quoted_l4(struct xdp_md *ctx, const struct quoted *quoted, __u32 ports,
						__u32 message_end, __u64 *delta)
{
	void *at = frame_start(ctx) + bounded(quoted->l4_offset, QUOTE_REACH), *end = frame_end(ctx);
	__u16 *check = at + (quoted->protocol == IPPROTO_TCP ? 16 : 6), before;
	__u64 inside = *delta, ports_delta = 0;

	if (quoted->l4_offset > QUOTE_REACH || at + sizeof(ports) > end)
		return;
	put_word(at, ports, &ports_delta);
	*delta += ports_delta;
	barrier_var(check); /* one pointer: what is checked of it is what is used */
	if ((void *)(check + 1) > end || quoted->l4_offset + (quoted->protocol == IPPROTO_TCP ? 18 : 8) > message_end)
		return;
	before = *check;
	if (quoted->protocol == IPPROTO_UDP && !before)
		return;
	*check = adjust_checksum(before, inside + ports_delta);
	if (quoted->protocol == IPPROTO_UDP && !*check)
		*check = 0xffff;
	*delta += (__u64)*check + (__u16)~before;
}

static __always_inline int translate_message_ipv4(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 how,
						  const struct message *to)
{
	struct iphdr *ip = frame_start(ctx) + l3_offset, *inner;
	struct icmp *icmp = frame_start(ctx) + l4_offset;
	void *end = frame_end(ctx);
	__u64 outer = TTL_DELTA, delta = 0;
	struct quoted quoted;
	__u32 message_end;
	__u16 before;

	if ((void *)(ip + 1) > end || (void *)(icmp + 1) + sizeof(*inner) > end)
		return -1;
	if (read_quoted(ctx, l4_offset + sizeof(*icmp), &quoted))
		return -1;
	message_end = l3_offset + bpf_ntohs(ip->tot_len);
	if (quoted.l4_offset + sizeof(to->ports) > message_end)
		return -1;
	put_word(&ip->daddr, to->dst_lo >> 32, &outer);
	if (!(how & MESSAGE_KEEPS_SOURCE))
		put_word(&ip->saddr, to->src_lo >> 32, &outer);
	ip->ttl--;
	ip->check = adjust_checksum(ip->check, outer);

	inner = (void *)(icmp + 1);
	put_word(&inner->saddr, to->dst_lo >> 32, &delta);
	put_word(&inner->daddr, to->src_lo >> 32, &delta);
	before = inner->check;
	inner->check = adjust_checksum(before, delta);
	outer = (__u64)inner->check + (__u16)~before;
	translate_quoted_l4(ctx, &quoted, to->ports >> 16 | to->ports << 16, message_end, &delta);
	icmp->checksum = adjust_checksum(icmp->checksum, delta + outer);
	return 0;
}

static __always_inline int translate_message_ipv6(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 how,
						  const struct message *to)
{
	struct ipv6hdr *ip = frame_start(ctx) + l3_offset, *inner;
	struct icmp *icmp = frame_start(ctx) + l4_offset;
	void *end = frame_end(ctx);
	__u64 outer = 0, delta = 0;
	struct quoted quoted;
	__u32 message_end;

	if ((void *)(ip + 1) > end || (void *)(icmp + 1) + sizeof(*inner) > end)
		return -1;
	if (read_quoted(ctx, l4_offset + sizeof(*icmp), &quoted))
		return -1;
	message_end = l3_offset + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (quoted.l4_offset + sizeof(to->ports) > message_end)
		return -1;
	put_addr(&ip->daddr, to->dst_hi, to->dst_lo, &outer);
	if (!(how & MESSAGE_KEEPS_SOURCE))
		put_addr(&ip->saddr, to->src_hi, to->src_lo, &outer);
	ip->hop_limit--;

	inner = (void *)(icmp + 1);
	put_addr(&inner->saddr, to->dst_hi, to->dst_lo, &delta);
	put_addr(&inner->daddr, to->src_hi, to->src_lo, &delta);
	translate_quoted_l4(ctx, &quoted, to->ports >> 16 | to->ports << 16, message_end, &delta);
	icmp->checksum = adjust_checksum(icmp->checksum, delta + outer);
	return 0;
}

/* A program of its own. `to`: what a packet becomes that the flow's own end sends this way. -1: the message is cut. */
__attribute__((noinline)) int translate_message(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 how,
						const struct message *to)
{
	if (!to || l4_offset > 0xff)
		return -1;
	l3_offset = bounded(l3_offset, 0x1f);
	l4_offset = bounded(l4_offset, 0xff);
	return how & MESSAGE_IS_IPV6 ? translate_message_ipv6(ctx, l3_offset, l4_offset, how, to)
				     : translate_message_ipv4(ctx, l3_offset, l4_offset, how, to);
}
