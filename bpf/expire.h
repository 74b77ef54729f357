/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Translating, this host is a router: a packet whose TTL ends here is answered (RFC 1812 5.3.1, RFC 8200 3). */
#pragma once

#include "answer.h"
#include "icmp_error.h"

static __always_inline enum verdict expire_ipv4(const struct unanswered *it)
{
	struct icmp error = { .type = ICMP_TIME_EXCEEDED };
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct iphdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end || is_group_mac(frame + ETH_ALEN))
		return DROP_TTL_EXPIRED;
	if (!is_host_ipv4(ip->saddr) || ip->saddr == ip->daddr)
		return DROP_TTL_EXPIRED;
	if (!may_answer(ANSWER_TIME_EXCEEDED))
		return DROP_TTL_LIMITED;
	return answer_error_ipv4(it, error) ? DROP_TTL_EXPIRED : TX_TIME_EXCEEDED;
}

static __always_inline enum verdict expire_ipv6(const struct unanswered *it)
{
	struct icmp error = { .type = ICMPV6_TIME_EXCEEDED };
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct ipv6hdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end || is_group_mac(frame + ETH_ALEN))
		return DROP_TTL_EXPIRED;
	if (!is_host_ipv6(&ip->saddr) || is_same_addr(&ip->saddr, &ip->daddr))
		return DROP_TTL_EXPIRED;
	if (!may_answer(ANSWER_TIME_EXCEEDED))
		return DROP_TTL_LIMITED;
	return answer_error_ipv6(it, error) ? DROP_TTL_EXPIRED : TX_TIME_EXCEEDED;
}

/* A program of its own, off the fast path. Offsets as in struct unanswered. Returns an enum verdict. */
__attribute__((noinline)) int expire(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 l4_len, __u32 is_ipv6)
{
	struct unanswered it = {
		.ctx = ctx,
		.l3_offset = bounded(l3_offset, 0x1f),
		.l4_offset = bounded(l4_offset, 0x3fff),
		.l4_len = bounded(l4_len, 0xffff),
		.from_router = 1,
	};

	if (!has_router_address(ctx, is_ipv6))
		return DROP_TTL_EXPIRED;
	return is_ipv6 ? expire_ipv6(&it) : expire_ipv4(&it);
}

__stage enum verdict answer_expired(struct packet *pkt)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return DROP_TTL_EXPIRED; /* never an error about an error */
	/* Never 0, but the verifier takes any result of a program as possible. */
	return (enum verdict)expire(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4), pkt->l4_len,
				    pkt->is_ipv6)
		     ?: DROP_TTL_EXPIRED;
}
