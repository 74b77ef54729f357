/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An ICMP error between the families (RFC 7915 4.2, 4.3, 5.2, 5.3): both headers and the quoted one are exchanged, the
 * type and what it tells are translated; of the quote stays what the other family allows.
 */
#pragma once

#include "cross.h"
#include "icmp_error.h"
#include "message.h"
#include "translate_message.h"

#define HEADERS_DIFFER 20 /* bytes between an IPv6 header and an IPv4 header */
#define IPV6_MTU_MIN   1280

/* A parameter problem's pointer; -1: what it points to has no counterpart. */
static __always_inline int pointer_to_ipv6(__u32 pointer)
{
	switch (pointer) {
	case 0:
	case 1:
		return pointer;
	case 2:
	case 3:
		return 4;
	case 8:
		return 7;
	case 9:
		return 6;
	default:
		return pointer >= 12 && pointer < 16 ? 8 : pointer >= 16 && pointer < 20 ? 24 : -1;
	}
}

static __always_inline int pointer_to_ipv4(__u32 pointer)
{
	switch (pointer) {
	case 0:
	case 1:
		return pointer;
	case 4:
	case 5:
		return 2;
	case 6:
		return 9;
	case 7:
		return 8;
	default:
		return pointer >= 8 && pointer < 24 ? 12 : pointer >= 24 && pointer < 40 ? 16 : -1;
	}
}

static __always_inline int unreachable_to_ipv6(struct icmp *icmp)
{
	__u32 mtu = told_mtu(icmp, 0) + HEADERS_DIFFER;
	__u8 code = icmp->code;

	icmp->type = ICMPV6_UNREACHABLE;
	icmp->rest = 0;
	switch (code) {
	case 2: /* protocol */
		icmp->type = ICMPV6_BAD_PARAMETER;
		icmp->code = 1;
		icmp->rest = bpf_htonl(6); /* the next header */
		return 0;
	case ICMP_PORT_UNREACHABLE:
		icmp->code = ICMPV6_PORT_UNREACHABLE;
		return 0;
	case ICMP_FRAGMENTATION_NEEDED:
		icmp->type = ICMPV6_TOO_BIG;
		icmp->code = 0;
		icmp->rest = bpf_htonl(mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu);
		return 0;
	case 9: /* prohibited, as the next ones */
	case 10:
	case 13:
	case 15:
		icmp->code = 1;
		return 0;
	case 14:
		return -1;
	default:
		icmp->code = 0;
		return code > 15 ? -1 : 0;
	}
}

static __always_inline int icmp_to_ipv6(struct icmp *icmp)
{
	int pointer;

	switch (icmp->type) {
	case ICMP_UNREACHABLE:
		return unreachable_to_ipv6(icmp);
	case ICMP_TIME_EXCEEDED:
		icmp->type = ICMPV6_TIME_EXCEEDED;
		icmp->rest = 0;
		return 0;
	default:
		pointer = pointer_to_ipv6(bpf_ntohl(icmp->rest) >> 24);
		if (pointer < 0 || (icmp->code != 0 && icmp->code != 2))
			return -1;
		icmp->type = ICMPV6_BAD_PARAMETER;
		icmp->code = 0;
		icmp->rest = bpf_htonl(pointer);
		return 0;
	}
}

static __always_inline int icmp_to_ipv4(struct icmp *icmp)
{
	__u32 told = told_mtu(icmp, 1);
	__u8 code = icmp->code;
	int pointer;

	switch (icmp->type) {
	case ICMPV6_UNREACHABLE:
		if (code > ICMPV6_PORT_UNREACHABLE)
			return -1;
		icmp->type = ICMP_UNREACHABLE;
		icmp->code = code == ICMPV6_PORT_UNREACHABLE ? ICMP_PORT_UNREACHABLE
			   : code == 1			     ? 10 /* prohibited */
							     : ICMP_HOST_UNREACHABLE;
		icmp->rest = 0;
		return 0;
	case ICMPV6_TOO_BIG:
		icmp->type = ICMP_UNREACHABLE;
		icmp->code = ICMP_FRAGMENTATION_NEEDED;
		icmp->rest = bpf_htonl(told > IPV4_MTU_MIN + HEADERS_DIFFER ? told - HEADERS_DIFFER : IPV4_MTU_MIN);
		return 0;
	case ICMPV6_TIME_EXCEEDED:
		icmp->type = ICMP_TIME_EXCEEDED;
		icmp->rest = 0;
		return 0;
	default:
		pointer = pointer_to_ipv4(bpf_ntohl(icmp->rest));
		if (code == 1) {
			icmp->type = ICMP_UNREACHABLE;
			icmp->code = 2; /* protocol */
			icmp->rest = 0;
			return 0;
		}
		if (pointer < 0 || code)
			return -1;
		icmp->type = ICMP_BAD_PARAMETER;
		icmp->rest = bpf_htonl((__u32)pointer << 24);
		return 0;
	}
}

static __always_inline __u64 sum_addr(__u64 hi, __u64 lo)
{
	return (hi & 0xffffffff) + (hi >> 32) + (lo & 0xffffffff) + (lo >> 32);
}

static __always_inline void put_crossing_addrs(struct crossing *it, __u64 src_hi, __u64 src_lo, __u64 dst_hi,
					       __u64 dst_lo)
{
	*(__u64 *)&it->src.s6_addr[0] = src_hi;
	*(__u64 *)&it->src.s6_addr[8] = src_lo;
	*(__u64 *)&it->dst.s6_addr[0] = dst_hi;
	*(__u64 *)&it->dst.s6_addr[8] = dst_lo;
}

/* The quoted header at `at`: its fields, and the bytes of L4 that its packet had. */
static __always_inline int read_quoted_crossing(struct xdp_md *ctx, __u32 offset, __u32 l4_offset, _Bool is_ipv6,
						struct crossing *it)
{
	void *at = frame_start(ctx) + bounded(offset, 0x1ff), *end = frame_end(ctx);
	struct ipv6hdr *ip6 = at;
	struct iphdr *ip = at;

	if (is_ipv6) {
		if ((void *)(ip6 + 1) > end)
			return -1;
		it->tos = bpf_ntohs(*(__be16 *)ip6) >> 4;
		it->ttl = ip6->hop_limit;
		it->payload_len = bpf_ntohs(ip6->payload_len) + sizeof(*ip6) - (l4_offset - offset);
		return 0;
	}
	if ((void *)(ip + 1) > end)
		return -1;
	it->tos = ip->tos;
	it->ttl = ip->ttl;
	it->payload_len = bpf_ntohs(ip->tot_len) - (l4_offset - offset);
	return 0;
}

/*
 * A program of its own. `to` as of translate_message(); `is_ipv6`: as it came. -1: it is cut, or cannot be said in the
 * other family: nothing but the frame that is dropped has changed.
 */
__attribute__((noinline)) int cross_message(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 is_ipv6,
					    const struct message *to)
{
	__u32 header = is_ipv6 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr), quote, head, kept, icmp_at;
	struct crossing *it = this_crossing();
	struct icmp *at, icmp;
	struct quoted *quoted;
	void *frame, *end;
	__u64 delta, sum;
	__u8 outer_ttl;

	if (!to || !it || l4_offset > 0xff)
		return -1;
	quoted = &it->quoted;
	l3_offset = bounded(l3_offset, 0x1f);
	l4_offset = bounded(l4_offset, 0xff);
	quote = l4_offset + sizeof(icmp);
	at = frame_start(ctx) + l4_offset;
	if ((void *)(at + 1) > frame_end(ctx))
		return -1;
	icmp = *at;
	it->l3_offset = l3_offset;
	if (read_crossing(ctx, l4_offset - l3_offset, !!is_ipv6, it))
		return -1;
	outer_ttl = it->ttl - 1;
	kept = bounded(it->payload_len, 0xffff);
	if (kept < sizeof(icmp))
		return -1;
	kept = quoted_len(kept, &icmp, !!is_ipv6); /* bytes of quote */
	if (read_quoted(ctx, quote, quoted) || quoted->l4_offset > QUOTE_REACH)
		return -1;
	if (is_ipv6 ? icmp_to_ipv4(&icmp) : icmp_to_ipv6(&icmp))
		return -1;
	if (quote + kept < quoted->l4_offset + sizeof(to->ports))
		return -1;
	delta = sum_addr(to->src_hi, to->src_lo) + sum_addr(to->dst_hi, to->dst_lo) +
		fold_checksum(sum_addr(quoted->src_hi, quoted->src_lo) + sum_addr(quoted->dst_hi, quoted->dst_lo));
	translate_quoted_l4(ctx, quoted, to->ports >> 16 | to->ports << 16, quote + kept, &delta);
	if (read_quoted_crossing(ctx, quote, quoted->l4_offset, !!is_ipv6, it))
		return -1;
	it->protocol = quoted->protocol;
	put_crossing_addrs(it, to->dst_hi, to->dst_lo, to->src_hi, to->src_lo);

	/* What is kept of the packet that the quoted header had. */
	kept = quote + kept - quoted->l4_offset;
	head = 2 * header + sizeof(icmp);
	if (kept > (is_ipv6 ? ICMP_ERROR_MAX : ICMPV6_ERROR_MAX) - head)
		kept = (is_ipv6 ? ICMP_ERROR_MAX : ICMPV6_ERROR_MAX) - head;
	if (move_start(ctx, it, quoted->l4_offset - l3_offset, head))
		return -1;
	if (length(frame_start(ctx), frame_end(ctx)) < l3_offset + head + kept ||
	    resize_frame(ctx, l3_offset + head + kept))
		return -1;
	frame = frame_start(ctx);
	end = frame_end(ctx);
	icmp_at = l3_offset + header;
	if (write_ethertype(frame, end, l3_offset, is_ipv6 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return -1;
	if (is_ipv6 ? write_crossed_ipv4(frame + icmp_at + sizeof(icmp), end, it)
		    : write_crossed_ipv6(frame + icmp_at + sizeof(icmp), end, it))
		return -1;
	it->tos = 0;
	it->ttl = outer_ttl;
	it->payload_len = sizeof(icmp) + header + kept;
	it->protocol = is_ipv6 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	put_crossing_addrs(it, to->src_hi, to->src_lo, to->dst_hi, to->dst_lo);
	if (is_ipv6 ? write_crossed_ipv4(frame + l3_offset, end, it) : write_crossed_ipv6(frame + l3_offset, end, it))
		return -1;
	at = frame + icmp_at;
	if ((void *)(at + 1) > end)
		return -1;
	icmp.checksum = 0;
	*at = icmp;
	sum = sum_frame(ctx, icmp_at, it->payload_len);
	if (!is_ipv6)
		sum += sum_addr(to->src_hi, to->src_lo) + sum_addr(to->dst_hi, to->dst_lo) +
		       bpf_htonl(it->payload_len) + bpf_htonl(IPPROTO_ICMPV6);
	at = frame_start(ctx) + icmp_at;
	if ((void *)(at + 1) > frame_end(ctx))
		return -1;
	at->checksum = fold_checksum(sum);
	return 0;
}
