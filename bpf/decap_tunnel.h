/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What lies between the outer and the inner IP header. Checksums over the whole packet (GRE's, UDP's) are not looked
 * at: they cost a walk over it, and what they protect the inner packet's own checksums protect again at this host.
 */
#pragma once

#include "decap_outer.h"

#define GRE_CHECKSUM 0x8000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000

/* RFC 2784, RFC 2890. */
struct gre_header {
	__be16 flags; /* and version */
	__be16 protocol;
};

/* draft-ietf-intarea-gue 3.2; variant 1 has none: the first bits of the UDP payload are those of an IP header. */
struct gue_header {
	__u8 first; /* two bits of variant, one that says "control", five of the length of the fields, in words */
	__u8 protocol;
	__be16 flags;
};

/* Steps over `len` bytes of the outer packet. */
__stage enum decap_verdict skip(struct tunnelled *pkt, __u32 len)
{
	if (pkt->left < len)
		return PASS_BAD_LENGTH;
	pkt->left -= len;
	pkt->next += len;
	return DECAP_CONTINUE;
}

/* An inner packet by its IP protocol number. */
__stage enum decap_verdict expect_inner(struct tunnelled *pkt, __u8 protocol)
{
	if (protocol != IPPROTO_IPIP && protocol != IPPROTO_IPV6)
		return PASS_BAD_HEADER;
	pkt->inner_type = protocol == IPPROTO_IPIP ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return DECAP_CONTINUE;
}

__stage enum decap_verdict parse_gre(struct tunnelled *pkt)
{
	struct gre_header *gre = pkt->next;
	__u32 len = sizeof(*gre);
	__u16 flags;

	if ((void *)(gre + 1) > pkt->end)
		return PASS_BAD_LENGTH;
	flags = bpf_ntohs(gre->flags);
	if (flags & ~(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE)) /* routing, reserved bits, a version but 0 */
		return PASS_BAD_HEADER;
	if (gre->protocol != bpf_htons(ETH_P_IP) && gre->protocol != bpf_htons(ETH_P_IPV6))
		return PASS_BAD_HEADER;
	pkt->inner_type = gre->protocol;
	if (flags & GRE_CHECKSUM)
		len += 4;
	if (flags & GRE_KEY)
		len += 4;
	if (flags & GRE_SEQUENCE)
		len += 4;
	return skip(pkt, len);
}

__stage enum decap_verdict parse_gue(struct tunnelled *pkt)
{
	struct udphdr *udp = pkt->next;
	struct gue_header *gue = (void *)(udp + 1);
	__u32 udp_len;
	__u8 variant;

	if ((void *)(gue + 1) > pkt->end)
		return PASS_BAD_LENGTH;
	udp_len = bpf_ntohs(udp->len);
	if (udp_len < sizeof(*udp) || udp_len > pkt->left)
		return PASS_BAD_LENGTH;
	pkt->left = udp_len;
	variant = gue->first >> 6;
	if (variant == 1)
		return skip(pkt, sizeof(*udp))
			     ?: expect_inner(pkt, gue->first >> 4 == 4	 ? IPPROTO_IPIP
						  : gue->first >> 4 == 6 ? IPPROTO_IPV6
									 : IPPROTO_NONE);
	if (gue->first & 0xe0) /* another variant, or a control message */
		return PASS_BAD_HEADER;
	return expect_inner(pkt, gue->protocol) ?: skip(pkt, sizeof(*udp) + sizeof(*gue) + (gue->first & 0x1f) * 4);
}

__stage enum decap_verdict parse_tunnel(struct tunnelled *pkt, enum decap_verdict *as)
{
	switch (pkt->protocol) {
	case IPPROTO_GRE:
		*as = DECAP_GRE;
		return config.modes & DECAP_MODE_GRE ? parse_gre(pkt) : PASS_OTHER_MODE;
	case IPPROTO_UDP:
		*as = DECAP_GUE;
		return config.modes & DECAP_MODE_GUE ? parse_gue(pkt) : PASS_OTHER_MODE;
	default:
		*as = DECAP_IPIP;
		return config.modes & DECAP_MODE_IPIP ? expect_inner(pkt, pkt->protocol) : PASS_OTHER_MODE;
	}
}
