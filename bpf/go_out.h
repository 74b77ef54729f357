/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SNAT: the backends' own connections, which leave from a local address and port. */
#pragma once

#include "packet.h"
#include "snat.h"
#include "way_out.h"
#include "rewrite.h"
#include "translate_error.h"
#include "tell_connection.h"

/* Whether a connection's tuple begins another: as of a service's request, but that no backend is asked for. */
static __always_inline _Bool is_reopened(const struct connection *connection)
{
	union life life = life_of(connection);

	return kind_of(connection) != CONNECTION_SNAT || is_over(life, connection_clock()) ||
	       life.kind & CONNECTION_DROPPED ||
	       (life.protocol == IPPROTO_TCP && state_of_life(life) >= STATE_FIN_WAIT);
}

__stage enum verdict open_snat(struct packet *pkt)
{
	return open_for(pkt, config.snat_pool + pkt->is_ipv6, config.snat_times, CONNECTION_SNAT)
		     ? CONTINUE
		     : refuse_to_sender(pkt, TX_EXHAUSTED, DROP_EXHAUSTED);
}

/* What is no connection's and opens none goes on untouched: it may answer somebody who has come to this host itself. */
__stage enum verdict go_out(struct packet *pkt)
{
	struct connection *connection;
	struct local_address *local;
	__u32 number, ports;
	struct places places;
	const struct way *way = NULL;
	enum verdict verdict;

	if (!goes_out(pkt->src_hi, pkt->src_lo, pkt->dst_hi, pkt->dst_lo))
		return PASS_NOT_A_SERVICE;
	places = places_of(pkt);
	verdict = refresh(pkt, places) ?: check_destination_mac(pkt) ?: parse_l4(pkt);
	if (verdict)
		return verdict;
	pkt->connection = find_connection(pkt->src_hi, pkt->src_lo, pkt->dst_hi, pkt->dst_lo, tuple_rest(pkt));
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	if (!is_opening(pkt->protocol, pkt->kind) && (!connection || kind_of(connection) != CONNECTION_SNAT))
		return PASS_NOT_A_SERVICE;
	verdict = find_way(pkt, pkt->dst_hi, pkt->dst_lo, &way);
	if (verdict)
		return verdict;
	if (!connection)
		pkt->connection = NO_ID;
	verdict = !connection || (is_opening(pkt->protocol, pkt->kind) && is_reopened(connection))
			? open_snat(pkt)
			: tell_connection(pkt, places, HEAR_IS_CLIENTS, config.snat_times);
	if (verdict)
		return verdict;
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	number = pkt->connection >> PORT_BITS;
	local = bpf_map_lookup_elem(&local_addresses, &number);
	if (!connection || !local)
		return DROP_NO_CONNECTION;
	ports = bpf_htons(pkt->connection & 0xffff) | (pkt->ports & 0xffff0000);
	if (pkt->kind & PACKET_IS_MESSAGE)
		verdict = translate_error(pkt, places, &local->addr, NULL, ports, 0);
	else
		verdict = refresh(pkt, places)
				?: rewrite(pkt, &local->addr, NULL, ports, connection->l4_delta, connection->l3_delta);
	return verdict ?: leave_by(pkt, way, TX_SNAT, REDIRECT_SNAT);
}
