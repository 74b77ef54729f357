/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An ICMP error about a translated flow: within its family, or into the other. */
#pragma once

#include "translate_message.h"
#include "cross_message.h"

/* `src`, `dst`: what the addresses of its flow become, NULL: they stay; `ports`, likewise. The pointers are anew. */
__stage enum verdict translate_error(struct packet *pkt, struct places places, const struct in6_addr *src,
				     const struct in6_addr *dst, __u32 ports, __u32 how)
{
	struct message *to = this_message();

	if (!to)
		return DROP_TRUNCATED;
	if (src) {
		to->src_hi = load_u64(src->s6_addr);
		to->src_lo = load_u64(src->s6_addr + 8);
	}
	if (dst) {
		to->dst_hi = load_u64(dst->s6_addr);
		to->dst_lo = load_u64(dst->s6_addr + 8);
	}
	to->ports = ports;
	if (config.connections && src && is_ipv4_mapped(src) == pkt->is_ipv6)
		return cross_message(pkt->ctx, places.l3, places.l4, pkt->is_ipv6, to) ? DROP_UNTRANSLATABLE
										       : refresh(pkt, places);
	if (translate_message(pkt->ctx, places.l3, places.l4, how | (pkt->is_ipv6 ? MESSAGE_IS_IPV6 : 0), to))
		return DROP_TRUNCATED;
	return refresh(pkt, places);
}
