/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FULLNAT, a request: to the backend it comes from a local address, and from the port that is its connection's entry.
 */
#pragma once

#include "packet.h"
#include "rewrite.h"
#include "translate_error.h"
#include "expire.h"
#include "refuse.h"
#include "recall_connection.h"
#include "toa_option.h"
#include "tell_connection.h"

/* The way back to the client, for want of a better one: where this frame came from. */
static __always_inline void learn_hop(const struct packet *pkt, struct connection *connection)
{
	const __u16 *mac = pkt->frame + ETH_ALEN;
	__u16 *learnt = (__u16 *)connection->hop_mac;

	if (learnt[0] != mac[0] || learnt[1] != mac[1] || learnt[2] != mac[2]) {
		learnt[0] = mac[0];
		learnt[1] = mac[1];
		learnt[2] = mac[2];
	}
	if (connection->ifindex != pkt->ctx->ingress_ifindex)
		connection->ifindex = pkt->ctx->ingress_ifindex;
}

/* The ports of a request as its backend gets it. */
static __always_inline __u32 translated_ports(const struct packet *pkt, __be16 port)
{
	return bpf_htons(pkt->connection & 0xffff) | (port ? (__u32)port << 16 : pkt->ports & 0xffff0000);
}

/* A connection of FULLNAT for a packet that has none, or whose tuple begins another. */
__stage enum verdict open_fullnat(struct packet *pkt)
{
	_Bool is_ipv6 = !is_ipv4_mapped(&pkt->backend->addr);

	if (pkt->kind & PACKET_IS_MESSAGE || (pkt->protocol == IPPROTO_TCP && !is_syn(pkt)))
		return refuse(pkt, TX_NO_CONNECTION, DROP_NO_CONNECTION);
	if (!open_for(pkt, pkt->service->pool + is_ipv6, pkt->service->id, CONNECTION_FULLNAT))
		return refuse(pkt, TX_EXHAUSTED, DROP_EXHAUSTED);
	return CONTINUE;
}

/* Only the balancer says who the client is. The pointers are anew. */
__stage enum verdict blank_client_toa(struct packet *pkt, struct places places)
{
	enum verdict verdict = refresh(pkt, places);

	if (verdict || pkt->protocol != IPPROTO_TCP || !may_hold_toa(pkt))
		return verdict;
	blank_toa(pkt->ctx, places.l4);
	return refresh(pkt, places);
}

/* The first packets of a connection tell the backend its client. The pointers are anew. */
__stage enum verdict tell_client_address(struct packet *pkt, struct places places, struct connection *connection)
{
	if (pkt->protocol != IPPROTO_TCP || connection->packets >= TOA_PACKETS)
		return CONTINUE;
	connection->packets++;
	if (!(pkt->service->flags & SERVICE_TOA))
		return CONTINUE;
	insert_toa(pkt->ctx, places.l3, places.l4, pkt->connection,
		   (__u32)pkt->is_ipv6 << 31 | *(volatile __u16 *)&pkt->backend->mtu);
	return refresh(pkt, places);
}

/* A request, as its backend gets it. */
__stage enum verdict send_from(struct packet *pkt, struct places places, struct connection *connection,
			       const struct local_address *local, __u32 ports)
{
	enum verdict verdict;

	_Bool is_crossing = is_ipv4_mapped(&pkt->backend->addr) == pkt->is_ipv6;

	learn_hop(pkt, connection);
	verdict = is_crossing ? rewrite_l4(pkt, ports, connection->l4_delta)
			      : rewrite(pkt, &local->addr, &pkt->backend->addr, ports, connection->l4_delta,
					connection->l3_delta);
	verdict = verdict ?: tell_client_address(pkt, places, connection);
	if (verdict || !is_crossing)
		return verdict;
	if (cross(pkt->ctx, places.l3, places.l4, pkt->connection, pkt->is_ipv6 ? CROSS_IS_IPV6 : 0))
		return DROP_NO_HEADROOM;
	return refresh(pkt, places);
}

__stage enum verdict forward_fullnat(struct packet *pkt)
{
	struct local_address *local;
	struct connection *connection;
	enum verdict verdict;
	__u32 number, ports;
	struct places places = places_of(pkt);

	if (refresh(pkt, places))
		return DROP_TRUNCATED;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	verdict = pkt->connection == NO_ID || pkt->kind & PACKET_REOPENS
			? open_fullnat(pkt)
			: tell_connection(pkt, places, HEAR_IS_CLIENTS, pkt->service->id);
	if (verdict)
		return verdict;
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	number = pkt->connection >> PORT_BITS;
	local = bpf_map_lookup_elem(&local_addresses, &number);
	if (!connection || !local)
		return DROP_NO_CONNECTION;
	ports = translated_ports(pkt, pkt->backend->port);
	if (pkt->kind & PACKET_IS_MESSAGE)
		verdict = translate_error(pkt, places, &local->addr, &pkt->backend->addr, ports, 0);
	else
		verdict = blank_client_toa(pkt, places) ?: send_from(pkt, places, connection, local, ports);
	if (verdict)
		return verdict;
	rewrite_dr(pkt);
	return leave(pkt, TX_FULLNAT, REDIRECT_FULLNAT);
}
