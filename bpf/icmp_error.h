/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An ICMP error to the sender of a packet, from its destination or from the router that this host is to it, quoting as
 * much of it as is allowed.
 */
#pragma once

#include "reply.h"
#include "icmp.h"
#include "service.h"

#define ICMP_ERROR_MAX	 576  /* the whole packet: RFC 1812 4.3.2.3 */
#define ICMPV6_ERROR_MAX 1280 /* the minimum MTU: RFC 4443 2.4 (c) */

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

static __always_inline struct interface *router_of(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex & config.interface_mask;

	return bpf_map_lookup_elem(&interfaces, &key);
}

/* Whether the interface has an address of its own, which a router's errors come from: else there are none. */
static __always_inline _Bool has_router_address(struct xdp_md *ctx, _Bool is_ipv6)
{
	struct interface *router = router_of(ctx);

	return router && (is_ipv6 ? !!load_u64(router->addr6.s6_addr) : !!router->addr4);
}

static __always_inline __be32 error_source_ipv4(struct xdp_md *ctx, _Bool from_router, __be32 otherwise)
{
	struct interface *router = from_router ? router_of(ctx) : NULL;

	return router ? router->addr4 : otherwise;
}

static __always_inline struct in6_addr error_source_ipv6(struct xdp_md *ctx, _Bool from_router,
							 struct in6_addr otherwise)
{
	struct interface *router = from_router ? router_of(ctx) : NULL;

	return router ? router->addr6 : otherwise;
}

/* `l3_offset` bytes ahead there is room for both headers, and behind them `quote` bytes of an IPv4 packet. */
static __always_inline int write_error_ipv4(struct xdp_md *ctx, __u32 l3_offset, __u32 quote, struct icmp error,
					    _Bool from_router)
{
	__u64 sum = sum_frame(ctx, l3_offset + sizeof(struct iphdr) + sizeof(error), quote);
	struct iphdr *ip = frame_start(ctx) + l3_offset, *quoted;
	struct icmp *icmp = (void *)(ip + 1);

	quoted = (void *)(icmp + 1);
	if ((void *)(quoted + 1) > frame_end(ctx))
		return -1;
	write_ipv4(ip, sizeof(*icmp) + quote, IPPROTO_ICMP, error_source_ipv4(ctx, from_router, quoted->daddr),
		   quoted->saddr);
	error.checksum = 0;
	*icmp = error;
	icmp->checksum = fold_checksum(sum + sum_words((__u32 *)icmp, 2));
	return 0;
}

static __always_inline int write_error_ipv6(struct xdp_md *ctx, __u32 l3_offset, __u32 quote, struct icmp error,
					    _Bool from_router)
{
	__u64 sum = sum_frame(ctx, l3_offset + sizeof(struct ipv6hdr) + sizeof(error), quote);
	struct ipv6hdr *ip = frame_start(ctx) + l3_offset, *quoted;
	struct icmp *icmp = (void *)(ip + 1);

	quoted = (void *)(icmp + 1);
	if ((void *)(quoted + 1) > frame_end(ctx))
		return -1;
	write_ipv6(ip, sizeof(*icmp) + quote, IPPROTO_ICMPV6, error_source_ipv6(ctx, from_router, quoted->daddr),
		   quoted->saddr);
	error.checksum = 0;
	*icmp = error;
	sum += sum_pseudo_ipv6(ip, sizeof(*icmp) + quote);
	icmp->checksum = fold_checksum(sum + sum_words((__u32 *)icmp, 2));
	return 0;
}

/* The frame becomes the error; -1: it could not, and is to be dropped. */
static __always_inline int answer_error_ipv4(const struct unanswered *it, struct icmp error)
{
	__u32 room = sizeof(struct iphdr) + sizeof(error), quote = quote_bytes(it, ICMP_ERROR_MAX - room);

	return push_headers(it, room, quote) ?: write_error_ipv4(it->ctx, it->l3_offset, quote, error, it->from_router);
}

static __always_inline int answer_error_ipv6(const struct unanswered *it, struct icmp error)
{
	__u32 room = sizeof(struct ipv6hdr) + sizeof(error), quote = quote_bytes(it, ICMPV6_ERROR_MAX - room);

	return push_headers(it, room, quote) ?: write_error_ipv6(it->ctx, it->l3_offset, quote, error, it->from_router);
}
