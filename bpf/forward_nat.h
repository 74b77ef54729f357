/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* NAT, a request: the VIP and its port become the backend's; the client stays (RFC 3022). */
#pragma once

#include "packet.h"
#include "rewrite.h"
#include "translate_error.h"
#include "expire.h"
#include "tell_connection.h"

/* NAT by flow: the connection tells its replies the VIP. A message has none of its own. */
__stage enum verdict note_flow(struct packet *pkt, struct places places)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return CONTINUE;
	if (pkt->connection != NO_ID && !(pkt->kind & PACKET_REOPENS))
		return tell_connection(pkt, places, HEAR_IS_CLIENTS, pkt->service->id);
	return open_for(pkt, 0, pkt->service->id, CONNECTION_NAT) ? CONTINUE
								  : refuse(pkt, TX_EXHAUSTED, DROP_EXHAUSTED);
}

__stage enum verdict forward_nat(struct packet *pkt)
{
	const struct backend *backend = pkt->backend;
	const __u16 *deltas = (const __u16 *)&backend->key;
	struct places places = places_of(pkt);
	__u32 ports = backend->port ? (pkt->ports & 0xffff) | (__u32)backend->port << 16 : pkt->ports;
	enum verdict verdict;

	if (refresh(pkt, places))
		return DROP_TRUNCATED;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (config.connections && pkt->service->flags & SERVICE_CONNECTIONS && backend->flags & BACKEND_BY_FLOW) {
		verdict = note_flow(pkt, places);
		if (verdict)
			return verdict;
	}
	if (pkt->kind & PACKET_IS_MESSAGE)
		verdict = translate_error(pkt, places, NULL, &backend->addr, ports, MESSAGE_KEEPS_SOURCE);
	else
		verdict = refresh(pkt, places) ?: rewrite(pkt, NULL, &backend->addr, ports, deltas[0], deltas[1]);
	if (verdict)
		return verdict;
	rewrite_dr(pkt);
	return leave(pkt, TX_NAT, REDIRECT_NAT);
}
