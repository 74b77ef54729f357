/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet longer than the path to its backend takes: its sender is told the MTU (RFC 1191 4, RFC 8201), which is that
 * of the inner packet, so that what it sends from then on fits the tunnel.
 */
#pragma once

#include "answer.h"
#include "icmp_error.h"
#include "service.h"

/* Longer than its own interface takes: no sender made it so, and none could be told. */
static __always_inline _Bool is_aggregated(struct xdp_md *ctx, __u32 l3_offset)
{
	__u32 key = ctx->ingress_ifindex & config.interface_mask;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &key);

	return interface && length(frame_start(ctx), frame_end(ctx)) - l3_offset > interface->mtu;
}

static __always_inline enum verdict too_big_ipv4(const struct unanswered *it, __u32 mtu)
{
	struct icmp error = {
		.type = ICMP_UNREACHABLE,
		.code = ICMP_FRAGMENTATION_NEEDED,
		.rest = bpf_htonl(mtu),
	};
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct iphdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end || is_group_mac(frame + ETH_ALEN))
		return DROP_TOO_BIG;
	if (!(ip->frag_off & bpf_htons(IP_DF)) || !is_host_ipv4(ip->saddr) || ip->saddr == ip->daddr)
		return DROP_TOO_BIG;
	if (!may_answer(ANSWER_TOO_BIG))
		return DROP_TOO_BIG_LIMITED;
	return answer_error_ipv4(it, error) ? DROP_TOO_BIG : TX_TOO_BIG;
}

static __always_inline enum verdict too_big_ipv6(const struct unanswered *it, __u32 mtu)
{
	struct icmp error = { .type = ICMPV6_TOO_BIG, .rest = bpf_htonl(mtu) };
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct ipv6hdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end || is_group_mac(frame + ETH_ALEN))
		return DROP_TOO_BIG;
	if (!is_host_ipv6(&ip->saddr) || is_same_addr(&ip->saddr, &ip->daddr))
		return DROP_TOO_BIG;
	if (!may_answer(ANSWER_TOO_BIG))
		return DROP_TOO_BIG_LIMITED;
	return answer_error_ipv6(it, error) ? DROP_TOO_BIG : TX_TOO_BIG;
}

/* In too_big()'s last argument, with the MTU in bits 0-15. */
#define TOO_BIG_IS_IPV6	    (1U << 16)
#define TOO_BIG_FROM_ROUTER (1U << 17)

/* A program of its own, off the fast path. Offsets as in struct unanswered. Returns an enum verdict. */
__attribute__((noinline)) int too_big(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 l4_len,
				      __u32 how_and_mtu)
{
	struct unanswered it = {
		.ctx = ctx,
		.l3_offset = bounded(l3_offset, 0x1f),
		.l4_offset = bounded(l4_offset, 0x3fff),
		.l4_len = bounded(l4_len, 0xffff),
		.from_router = !!(how_and_mtu & TOO_BIG_FROM_ROUTER),
	};
	__u32 mtu = how_and_mtu & 0xffff;

	if (is_aggregated(ctx, it.l3_offset))
		return DROP_AGGREGATED;
	if (it.from_router && !has_router_address(ctx, !!(how_and_mtu & TOO_BIG_IS_IPV6)))
		return DROP_TOO_BIG;
	return how_and_mtu & TOO_BIG_IS_IPV6 ? too_big_ipv6(&it, mtu) : too_big_ipv4(&it, mtu);
}

/* `how`: 0 or TOO_BIG_FROM_ROUTER. */
__stage enum verdict answer_too_big(struct packet *pkt, __u32 mtu, __u32 how)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return DROP_TOO_BIG; /* never an error about an error: RFC 1122 3.2.2, RFC 4443 2.4 (e) */
	/* Never 0, but the verifier takes any result of a program as possible. */
	return (enum verdict)too_big(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4), pkt->l4_len,
				     (pkt->is_ipv6 ? TOO_BIG_IS_IPV6 : 0) | how | mtu)
		     ?: DROP_TOO_BIG;
}
