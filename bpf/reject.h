/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No backend alive: the client is told, where the service wants it: a reset, or port unreachable. */
#pragma once

#include "answer.h"
#include "reset.h"
#include "icmp_error.h"

static __always_inline enum verdict unreachable_ipv4(const struct unanswered *it)
{
	struct icmp error = { .type = ICMP_UNREACHABLE, .code = ICMP_PORT_UNREACHABLE };

	return answer_error_ipv4(it, error) ? DROP_NO_BACKEND : TX_REJECT_UNREACHABLE;
}

static __always_inline enum verdict unreachable_ipv6(const struct unanswered *it)
{
	struct icmp error = { .type = ICMPV6_UNREACHABLE, .code = ICMPV6_PORT_UNREACHABLE };

	return answer_error_ipv6(it, error) ? DROP_NO_BACKEND : TX_REJECT_UNREACHABLE;
}

static __always_inline enum verdict reject_ipv4(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct iphdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end)
		return DROP_NO_BACKEND;
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv4(ip->saddr) || ip->saddr == ip->daddr)
		return DROP_NO_BACKEND;
	if (it->protocol == IPPROTO_TCP)
		return reset_ipv4(it);
	return may_answer(ANSWER_REJECT) ? unreachable_ipv4(it) : DROP_REJECT_LIMITED;
}

static __always_inline enum verdict reject_ipv6(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct ipv6hdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end)
		return DROP_NO_BACKEND;
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv6(&ip->saddr) || is_same_addr(&ip->saddr, &ip->daddr))
		return DROP_NO_BACKEND;
	if (it->protocol == IPPROTO_TCP)
		return reset_ipv6(it);
	return may_answer(ANSWER_REJECT) ? unreachable_ipv6(it) : DROP_REJECT_LIMITED;
}

/* A program of its own, off the fast path. Offsets as in struct unanswered. Returns an enum verdict. */
__attribute__((noinline)) int reject(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 l4_len,
				     __u32 is_ipv6_and_protocol)
{
	struct unanswered it = {
		.ctx = ctx,
		.l3_offset = bounded(l3_offset, 0x1f),
		.l4_offset = bounded(l4_offset, 0x3fff),
		.l4_len = bounded(l4_len, 0xffff),
		.protocol = is_ipv6_and_protocol & 0xff,
	};
	__u32 in_frame = length(frame_start(ctx), frame_end(ctx)) - it.l4_offset;

	if (it.l4_len > in_frame)
		it.l4_len = in_frame;

	return is_ipv6_and_protocol >> 8 ? reject_ipv6(&it) : reject_ipv4(&it);
}

__stage enum verdict answer_without_backend(struct packet *pkt)
{
	if (pkt->backend_id)
		return CONTINUE;
	if (pkt->kind & PACKET_IS_MESSAGE || !(pkt->service->flags & SERVICE_REJECT))
		return DROP_NO_BACKEND;
	/* Never 0, but the verifier takes any result of a program as possible. */
	return (enum verdict)reject(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4), pkt->l4_len,
				    (__u32)pkt->is_ipv6 << 8 | pkt->protocol)
		     ?: DROP_NO_BACKEND;
}
