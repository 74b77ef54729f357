/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inner packet: whether it is one of a VIP's, its mark of congestion, and the frame without the outer headers. */
#pragma once

#include "decap_outer.h"

#define ECN_MASK    3
#define ECN_NOT_ECT 0
#define ECN_ECT_1   1
#define ECN_CE	    3

/* RFC 6040 4.2, figure 4: what the inner header is to say. */
__stage enum decap_verdict merge_ecn(struct tunnelled *pkt, __u8 inner)
{
	pkt->inner_ecn = inner;
	if (inner == ECN_NOT_ECT)
		return pkt->ecn == ECN_CE ? DROP_CONGESTION : DECAP_CONTINUE;
	if (inner != ECN_CE && (pkt->ecn == ECN_CE || pkt->ecn == ECN_ECT_1))
		pkt->inner_ecn = pkt->ecn;
	return DECAP_CONTINUE;
}

/* A datagram holds one packet and nothing else: one that holds more was merged of several, all but the first of which
 * would be lost. */
static __always_inline _Bool is_wrong_length(const struct tunnelled *pkt, __u32 len)
{
	return pkt->protocol == IPPROTO_UDP ? len != pkt->left : len > pkt->left;
}

/* Its checksum and all behind its header are for the kernel to judge, as of any other packet. */
__stage enum decap_verdict check_inner_ipv4(struct tunnelled *pkt)
{
	struct iphdr *ip = pkt->next;
	struct in6_addr to;
	__u32 total_len;

	if ((void *)(ip + 1) > pkt->end)
		return PASS_BAD_LENGTH;
	if (ip->version != 4 || ip->ihl < 5)
		return PASS_BAD_HEADER;
	total_len = bpf_ntohs(ip->tot_len);
	if (total_len < ip->ihl * 4 || is_wrong_length(pkt, total_len))
		return PASS_BAD_LENGTH;
	to = mapped(ip->daddr);
	if (!is_known(&to, DECAP_ADDRESS_VIP))
		return PASS_NOT_A_VIP;
	return merge_ecn(pkt, ip->tos & ECN_MASK);
}

__stage enum decap_verdict check_inner_ipv6(struct tunnelled *pkt)
{
	struct ipv6hdr *ip = pkt->next;
	struct in6_addr to;

	if ((void *)(ip + 1) > pkt->end)
		return PASS_BAD_LENGTH;
	if (ip->version != 6)
		return PASS_BAD_HEADER;
	if (is_wrong_length(pkt, sizeof(*ip) + bpf_ntohs(ip->payload_len)))
		return PASS_BAD_LENGTH;
	to = ip->daddr;
	if (is_mapped(&to) || !is_known(&to, DECAP_ADDRESS_VIP))
		return PASS_NOT_A_VIP;
	return merge_ecn(pkt, ip->flow_lbl[0] >> 4 & ECN_MASK);
}

__stage enum decap_verdict check_inner(struct tunnelled *pkt)
{
	return pkt->inner_type == bpf_htons(ETH_P_IP) ? check_inner_ipv4(pkt) : check_inner_ipv6(pkt);
}

/* RFC 1624, equation 3, for the header's first 16-bit word. */
static __always_inline void write_ecn_ipv4(struct iphdr *ip, __u8 ecn)
{
	__u16 *first = (void *)ip, before = *first;
	__u32 sum;

	ip->tos = (ip->tos & ~ECN_MASK) | ecn;
	sum = (__u16)~ip->check + (__u16)~before + *first;
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline void write_ecn_ipv6(struct ipv6hdr *ip, __u8 ecn)
{
	ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(ECN_MASK << 4)) | ecn << 4;
}

/* Cuts the outer headers out: Ethernet header and tags, which stay, move up to the inner packet. */
__stage enum decap_verdict strip(struct tunnelled *pkt)
{
	__u32 cut = length(pkt->frame, pkt->next) - pkt->l2_len;
	__u16 l2[L2_MAX / 2], *from = pkt->frame, *to;
	void *ip;

	if ((void *)(from + L2_MAX / 2) > pkt->end)
		return PASS_BAD_LENGTH;
	for (int i = 0; i < L2_MAX / 2; i++)
		l2[i] = from[i];
	if (bpf_xdp_adjust_head(pkt->ctx, cut))
		return PASS_BAD_LENGTH;

	pkt->frame = to = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	if ((void *)(to + L2_MAX / 2) > pkt->end)
		return PASS_BAD_LENGTH; /* never: the inner header has been there */
	for (int i = 0; i < L2_MAX / 2; i++) {
		if (2 * (i + 1) < (int)pkt->l2_len)
			to[i] = l2[i];
		else if (2 * (i + 1) == (int)pkt->l2_len)
			to[i] = pkt->inner_type;
	}

	ip = pkt->frame + bounded(pkt->l2_len, 31);
	if (pkt->inner_type == bpf_htons(ETH_P_IP)) {
		if (ip + sizeof(struct iphdr) <= pkt->end)
			write_ecn_ipv4(ip, pkt->inner_ecn);
	} else if (ip + sizeof(struct ipv6hdr) <= pkt->end) {
		write_ecn_ipv6(ip, pkt->inner_ecn);
	}
	return DECAP_CONTINUE;
}
