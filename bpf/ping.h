/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An echo request to a VIP: answered here (RFC 792, RFC 4443 4.2), dropped, or left to the host. */
#pragma once

#include "answer.h"
#include "reply.h"
#include "message.h"

static __always_inline enum verdict pong_ipv4(struct xdp_md *ctx, __u32 l3_offset)
{
	void *frame = frame_start(ctx), *end = frame_end(ctx);
	struct iphdr *ip = frame + l3_offset;
	struct icmp *icmp = (void *)(ip + 1);
	__be32 client;

	if (frame + L3_OFFSET_MAX > end || (void *)(icmp + 1) > end || ip->ihl != 5)
		return PASS_PING; /* with options: the host knows them */
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv4(ip->saddr) || ip->saddr == ip->daddr)
		return DROP_PING;
	if (!may_answer(ANSWER_PING))
		return DROP_PING_LIMITED;

	swap_macs(frame);
	client = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = client;
	ip->ttl = REPLY_HOP_LIMIT;
	ip->check = 0;
	ip->check = fold_checksum(sum_words((__u32 *)ip, 5));
	icmp->type = ICMP_ECHO_REPLY;
	icmp->checksum = replace_in_checksum(icmp->checksum, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY, 0);
	return TX_PING;
}

static __always_inline enum verdict pong_ipv6(struct xdp_md *ctx, __u32 l3_offset)
{
	void *frame = frame_start(ctx), *end = frame_end(ctx);
	struct ipv6hdr *ip = frame + l3_offset;
	struct icmp *icmp = (void *)(ip + 1);
	struct in6_addr client;

	if (frame + L3_OFFSET_MAX > end || (void *)(icmp + 1) > end || ip->nexthdr != IPPROTO_ICMPV6)
		return PASS_PING; /* behind extension headers */
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv6(&ip->saddr) || is_same_addr(&ip->saddr, &ip->daddr))
		return DROP_PING;
	if (!may_answer(ANSWER_PING))
		return DROP_PING_LIMITED;

	swap_macs(frame);
	client = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = client;
	ip->hop_limit = REPLY_HOP_LIMIT;
	icmp->type = ICMPV6_ECHO_REPLY;
	icmp->checksum = replace_in_checksum(icmp->checksum, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY, 0);
	return TX_PING;
}

/* A program of its own, off the fast path. Returns an enum verdict. */
__attribute__((noinline)) int pong(struct xdp_md *ctx, __u32 l3_offset, __u32 is_ipv6)
{
	l3_offset = bounded(l3_offset, 0x1f);
	return is_ipv6 ? pong_ipv6(ctx, l3_offset) : pong_ipv4(ctx, l3_offset);
}

__stage enum verdict answer_ping(struct packet *pkt)
{
	if (!is_message_of(pkt, MESSAGE_ECHO))
		return CONTINUE;
	if (pkt->l4_len > length(pkt->l4, pkt->end))
		return DROP_TRUNCATED;
	if (pkt->service->flags & SERVICE_PING_DROP)
		return DROP_PING;
	if (!(pkt->service->flags & SERVICE_PING_ANSWER))
		return PASS_PING;
	/* Never 0, but the verifier takes any result of a program as possible. */
	return (enum verdict)pong(pkt->ctx, length(pkt->frame, pkt->l3), pkt->is_ipv6) ?: DROP_PING;
}
