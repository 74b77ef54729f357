/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A router's error about a tunnel's packet, turned around to the client whose packet it held (RFC 2003 4, RFC 2473 8):
 * its size becomes the client's business, all else says that the host cannot be reached.
 */
#pragma once

#include "answer.h"
#include "icmp_error.h"
#include "message.h"

/* Ethernet header and tags, `len` bytes, to where they may reach into themselves: from their end on. */
static __always_inline void move_l2(void *to, const void *from, __u32 len)
{
	for (int i = L3_OFFSET_MAX - 2; i >= 0; i -= 2)
		if (i < (int)len)
			*(__u16 *)(to + i) = *(__u16 *)(from + i);
}

/* Whether the packet at `quote` is of a host that may be sent an error. */
static __always_inline _Bool is_clients(struct xdp_md *ctx, __u32 quote, _Bool is_ipv6)
{
	void *at = frame_start(ctx) + bounded(quote, QUOTE_REACH), *end = frame_end(ctx);
	struct ipv6hdr *ip6 = at;
	struct iphdr *ip = at;

	if (is_ipv6)
		return (void *)(ip6 + 1) <= end && is_host_ipv6(&ip6->saddr) && !is_same_addr(&ip6->saddr, &ip6->daddr);
	return (void *)(ip + 1) <= end && is_host_ipv4(ip->saddr) && ip->saddr != ip->daddr;
}

/* A program of its own. The client's packet lies at `quote`, `quote_len` bytes of it. Returns an enum verdict. */
__attribute__((noinline)) int tell(struct xdp_md *ctx, __u32 l3_offset, __u32 quote, __u32 quote_len,
				   __u32 is_ipv6_and_mtu)
{
	__u32 is_ipv6 = is_ipv6_and_mtu >> 16, mtu = is_ipv6_and_mtu & 0xffff;
	__u32 room = (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct icmp);
	__u32 most = (is_ipv6 ? ICMPV6_ERROR_MAX : ICMP_ERROR_MAX) - room;
	void *frame = frame_start(ctx), *to;
	struct icmp error = {};
	__be16 ethertype;
	__u32 cut;

	l3_offset = bounded(l3_offset, 0x1f);
	quote = bounded(quote, QUOTE_REACH);
	if (quote_len > most)
		quote_len = most;
	if (quote < l3_offset + room || frame + L3_OFFSET_MAX > frame_end(ctx))
		return PASS_TUNNEL_ERROR;
	if (!is_clients(ctx, quote, is_ipv6) || !may_answer(ANSWER_TUNNEL_ERROR))
		return PASS_TUNNEL_ERROR;
	if (is_ipv6) {
		error.type = mtu ? ICMPV6_TOO_BIG : ICMPV6_UNREACHABLE;
		error.code = mtu ? 0 : ICMPV6_ADDRESS_UNREACHABLE;
	} else {
		error.type = ICMP_UNREACHABLE;
		error.code = mtu ? ICMP_FRAGMENTATION_NEEDED : ICMP_HOST_UNREACHABLE;
	}
	error.rest = bpf_htonl(mtu);

	if (l3_offset < ETH_HLEN)
		return PASS_TUNNEL_ERROR;
	cut = bounded(quote - l3_offset - room, QUOTE_REACH);
	to = frame + cut;
	barrier_var(to); /* one pointer: what is checked of it is what is used */
	if (to + L3_OFFSET_MAX > frame_end(ctx))
		return PASS_TUNNEL_ERROR;
	move_l2(to, frame, l3_offset);
	swap_macs(to);
	ethertype = is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	/* One offset for each number of tags: the verifier follows constants best. */
	for (__u32 tags = 0; tags <= VLAN_TAGS_MAX; tags++)
		if (l3_offset == ETH_HLEN + tags * sizeof(struct vlan_tag))
			*(__be16 *)(to + 2 * ETH_ALEN + tags * sizeof(struct vlan_tag)) = ethertype;
	if (bpf_xdp_adjust_head(ctx, cut) || resize_frame(ctx, l3_offset + room + quote_len))
		return DROP_NO_HEADROOM;
	if (is_ipv6 ? write_error_ipv6(ctx, l3_offset, quote_len, error, 0)
		    : write_error_ipv4(ctx, l3_offset, quote_len, error, 0))
		return DROP_NO_HEADROOM;
	return TX_TUNNEL_ERROR;
}

/* Only if this flow's packets do go there, and nothing but a tunnel: else somebody has made it up. */
__stage enum verdict tell_client(struct packet *pkt)
{
	const struct message *message = this_message();
	const struct backend *backend = pkt->backend;

	if (!message || backend->mode == FORWARD_DR || backend->mode >= FORWARD_NAT ||
	    load_u64(backend->addr.s6_addr) != message->end_hi ||
	    load_u64(backend->addr.s6_addr + 8) != message->end_lo)
		return PASS_TUNNEL_ERROR;
	return (enum verdict)tell(pkt->ctx, length(pkt->frame, pkt->l3), message->quote, message->quote_len,
				  message->is_ipv6 << 16 | message->mtu)
		     ?: PASS_TUNNEL_ERROR;
}
