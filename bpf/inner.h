/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that is to be tunnelled: what its outer headers take from it. */
#pragma once

#include "packet.h"
#include "checksum.h"

/*
 * What of the packet goes into the outer headers: read before its frame is moved, and anew from the frame, so that the
 * verifier need not follow each way that led here.
 */
struct inner {
	__u32 len;	 /* bytes, by its IP header */
	__u32 l3_offset; /* bytes of Ethernet header and VLAN tags */
	__u32 vlan[2];	 /* the tags' eight bytes as they lie in the frame: ethertype, tag */
	__u16 sum;	 /* of its bytes, where the outer UDP checksum wants them */
	__u8 tos;	 /* DSCP and ECN */
	__u8 protocol;	 /* as the header ahead of it names it: IPPROTO_IPIP, IPPROTO_IPV6 */
	_Bool is_df;	 /* IPv6 is never fragmented on its way */
};

static __always_inline enum verdict read_inner(struct packet *pkt, struct inner *inner, __u32 l3_offset, _Bool is_ipv6)
{
	void *frame = frame_start(pkt->ctx), *end = frame_end(pkt->ctx), *l3;

	inner->l3_offset = l3_offset;
	l3 = frame + l3_offset;
	if (l3 + sizeof(struct iphdr) > end)
		return DROP_TRUNCATED;
	if (is_ipv6) {
		struct ipv6hdr *ip6 = l3;

		inner->protocol = IPPROTO_IPV6;
		inner->tos = bpf_ntohs(*(__be16 *)l3) >> 4;
		inner->is_df = 1;
		inner->len = bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
	} else {
		struct iphdr *ip = l3;

		inner->protocol = IPPROTO_IPIP;
		inner->tos = ip->tos;
		inner->is_df = !!(ip->frag_off & bpf_htons(IP_DF));
		inner->len = bpf_ntohs(ip->tot_len);
	}
	if (inner->l3_offset > ETH_HLEN) {
		barrier_var(frame); /* checked by itself: the verifier does not follow from l3 to it */
		if (frame + L3_OFFSET_MAX > end)
			return DROP_TRUNCATED;
		inner->vlan[0] = *(__u32 *)(frame + 2 * ETH_ALEN);
		inner->vlan[1] = *(__u32 *)(frame + 2 * ETH_ALEN + sizeof(struct vlan_tag));
	}
	return inner->len > length(l3, end) ? DROP_TRUNCATED : CONTINUE;
}

static __always_inline _Bool is_udp_without_checksum(void *l4, void *end)
{
	struct udphdr *udp = l4;

	return (void *)(udp + 1) <= end && !udp->check;
}

/*
 * The sum of an inner packet of `len` bytes. Where it can be told without reading the payload, it is: an L4 checksum
 * makes the segment's sum the complement of its pseudo header's, and an IPv4 header's own makes that sum zero (as
 * lightweight checksum offload does it). Inlined: the call would cost 8 ns.
 */
static __always_inline __u32 sum_inner(struct xdp_md *ctx, __u32 l3_offset, __u32 len)
{
	void *l3 = frame_start(ctx) + l3_offset, *end = frame_end(ctx);
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip = l3;

	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version == 4 && ip->ihl == 5) {
		__u64 pseudo = (__u64)bpf_htonl(len - sizeof(*ip)) + bpf_htonl(ip->protocol);

		if (ip->protocol == IPPROTO_TCP ||
		    (ip->protocol == IPPROTO_UDP && !is_udp_without_checksum(ip + 1, end)))
			return fold_checksum(pseudo + ip->saddr + ip->daddr);
	} else if (ip->version == 6 && (void *)(ip6 + 1) <= end) {
		__u64 pseudo = (__u64)bpf_htonl(len - sizeof(*ip6)) + bpf_htonl(ip6->nexthdr);

		/* The addresses are in both, and cancel out. */
		if (ip6->nexthdr == IPPROTO_TCP ||
		    (ip6->nexthdr == IPPROTO_UDP && !is_udp_without_checksum(ip6 + 1, end)))
			return (__u16)~fold_checksum(sum_words((__u32 *)ip6, 2) + fold_checksum(pseudo));
	}
	/* No checksum to go by, or headers that none covers. */
	return (__u16)~fold_checksum(sum_frame(ctx, bounded(l3_offset, 0x1f), len));
}
