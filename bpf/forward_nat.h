/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* NAT, a request: the VIP and its port become the backend's; the client stays (RFC 3022). */
#pragma once

#include "packet.h"
#include "rewrite.h"
#include "translate_message.h"
#include "expire.h"
#include "tell_connection.h"

/* An error about what the backend has sent to a client. */
__stage enum verdict forward_message_nat(struct packet *pkt)
{
	const struct backend *backend = pkt->backend;
	struct message *to = this_message();

	if (!to)
		return DROP_TRUNCATED;
	to->dst_hi = load_u64(backend->addr.s6_addr);
	to->dst_lo = load_u64(backend->addr.s6_addr + 8);
	if (backend->port)
		to->ports = (to->ports & 0xffff) | (__u32)backend->port << 16;
	if (translate_message(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4),
			      (pkt->is_ipv6 ? MESSAGE_IS_IPV6 : 0) | MESSAGE_KEEPS_SOURCE, to))
		return DROP_TRUNCATED;
	return CONTINUE;
}

/* NAT by flow: the connection tells its replies the VIP. A message has none of its own. */
__stage enum verdict note_flow(struct packet *pkt)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return CONTINUE;
	if (pkt->connection != NO_ID && !(pkt->kind & PACKET_REOPENS))
		return tell_connection(pkt, HEAR_IS_CLIENTS, pkt->service->id);
	return open_for(pkt, 0, pkt->service->id, CONNECTION_NAT) ? CONTINUE
								  : refuse(pkt, TX_EXHAUSTED, DROP_EXHAUSTED);
}

__stage enum verdict forward_nat(struct packet *pkt)
{
	const struct backend *backend = pkt->backend;
	const __u16 *deltas = (const __u16 *)&backend->key;
	struct places places = places_of(pkt);
	__u32 ports = pkt->ports;

	if (refresh(pkt, places))
		return DROP_TRUNCATED;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (config.connections && backend->flags & BACKEND_BY_FLOW) {
		enum verdict verdict = note_flow(pkt);

		if (verdict)
			return verdict;
	}
	if (refresh(pkt, places))
		return DROP_TRUNCATED;
	rewrite_dr(pkt);
	if (pkt->kind & PACKET_IS_MESSAGE)
		return forward_message_nat(pkt) ?: leave(pkt, TX_NAT, REDIRECT_NAT);
	if (backend->port)
		ports = (ports & 0xffff) | (__u32)backend->port << 16;
	if (rewrite(pkt, NULL, &backend->addr, ports, deltas[0], deltas[1]))
		return DROP_TRUNCATED;
	return leave(pkt, TX_NAT, REDIRECT_NAT);
}
