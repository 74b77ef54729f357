/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes to no service may be a reply: translated back, and on to its client. All else is the host's own traffic. */
#pragma once

#include "packet.h"
#include "replies.h"
#include "way_out.h"
#include "rewrite.h"
#include "translate_error.h"
#include "tell_connection.h"
#include "go_out.h"

/* From a backend to a client of its, for all that the packet tells. CONTINUE: it is not. */
__stage enum verdict come_back_nat(struct packet *pkt, const struct reply *reply)
{
	__u32 ports = reply->vip_port ? (pkt->ports & 0xffff0000) | reply->vip_port : pkt->ports;
	struct client_route *near = find_near_route(pkt->is_ipv6, pkt->dst_hi, pkt->dst_lo);
	struct places places = places_of(pkt);
	const struct way *way = NULL;
	enum verdict verdict = check_destination_mac(pkt) ?: parse_l4(pkt);

	if (verdict)
		return verdict;
	if (is_syn(pkt))
		return CONTINUE; /* a connection of the backend's own */
	if (is_plain_way(pkt, near)) {
		way = (const struct way *)near->dst_mac;
	} else {
		verdict = find_way(pkt, pkt->dst_hi, pkt->dst_lo, &way);
		verdict = verdict ?: refresh(pkt, places);
		if (verdict)
			return verdict;
	}
	pkt->backend_id = reply->id;
	if (pkt->kind & PACKET_IS_MESSAGE)
		verdict = translate_error(pkt, places, &reply->vip, NULL, ports, 0);
	else
		verdict = rewrite(pkt, &reply->vip, NULL, ports, reply->l4_delta, reply->l3_delta);
	return verdict ?: leave_by(pkt, way, TX_NAT_REPLY, REDIRECT_NAT_REPLY);
}

/* ::ffff:a.b.c.d on the wire is not a.b.c.d, though a table's key is the same. */
static __always_inline _Bool is_mapped_on_wire(const struct packet *pkt)
{
	if (!pkt->is_ipv6)
		return 0;
	return (!pkt->src_hi && (__u32)pkt->src_lo == (__u32)IPV4_MAPPED_PREFIX) ||
	       (!pkt->dst_hi && (__u32)pkt->dst_lo == (__u32)IPV4_MAPPED_PREFIX);
}

/* The times of a connection's states: an index of the connection_times. */
static __always_inline __u32 times_of(const struct connection *connection)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &connection->backend);

	return kind_of(connection) == CONNECTION_SNAT || !backend ? config.snat_times : backend->service;
}

/* Of requests, in their place: the connection's own; NAT by flow: its backend's. */
static __always_inline __u32 deltas_of(const struct connection *connection)
{
	struct backend *backend;

	if (kind_of(connection) != CONNECTION_NAT)
		return *(const __u32 *)&connection->l4_delta;
	backend = bpf_map_lookup_elem(&backends, &connection->backend);
	return backend ? backend->key : 0;
}

/* Bytes by which a reply gets longer: between the families. */
static __always_inline int grows_by(const struct packet *pkt, const struct connection *connection)
{
	if (is_ipv4_mapped(&connection->client) != pkt->is_ipv6)
		return 0;
	return pkt->is_ipv6 ? -HEADERS_DIFFER : HEADERS_DIFFER;
}

/* Where a connection's client is: by the routes; where they do not tell, by what its own frames have. */
__stage enum verdict find_way_to_client(struct packet *pkt, const struct connection *connection, const struct way **way)
{
	__u64 hi = load_u64(connection->client.s6_addr), lo = load_u64(connection->client.s6_addr + 8);
	struct client_route *route = find_client_route(!is_ipv4_mapped(&connection->client), hi, lo);

	if (route && route->kind != CLIENT_ROUTE_HOP && route->kind != CLIENT_ROUTE_LOCAL && connection->ifindex)
		return find_way_as_learnt(pkt, connection, grows_by(pkt, connection), way);
	return find_way_by(pkt, route, hi, lo, grows_by(pkt, connection), way);
}

/* A reply to a client of the other family. */
__stage enum verdict cross_back(struct packet *pkt, struct places places, __u32 ports, __u32 l4_delta)
{
	enum verdict verdict = refresh(pkt, places) ?: rewrite_l4(pkt, ports, l4_delta);

	if (verdict)
		return verdict;
	if (cross(pkt->ctx, places.l3, places.l4, pkt->connection, CROSS_IS_REPLY | (pkt->is_ipv6 ? CROSS_IS_IPV6 : 0)))
		return DROP_NO_HEADROOM;
	return refresh(pkt, places);
}

/* A packet of a connection, from the end that its client has addressed. */
__stage enum verdict come_back_to(struct packet *pkt, struct connection *connection)
{
	__u32 ports = *(const __u32 *)&connection->client_port, kind = kind_of(connection), deltas;
	enum verdict verdict, tx, redirect;
	const struct way *way = NULL;
	struct places places = places_of(pkt);

	verdict = refresh(pkt, places) ?: check_destination_mac(pkt) ?: parse_l4(pkt);
	if (verdict)
		return verdict;
	if (is_syn(pkt))
		return PASS_NOT_A_SERVICE; /* never a reply */
	verdict = find_way_to_client(pkt, connection, &way) ?: tell_connection(pkt, places, 0, times_of(connection));
	if (verdict)
		return verdict;
	pkt->backend_id = connection->backend;
	tx = kind == CONNECTION_SNAT ? TX_SNAT_REPLY : kind == CONNECTION_NAT ? TX_NAT_REPLY : TX_FULLNAT_REPLY;
	redirect = tx + (REDIRECT_NAT_REPLY - TX_NAT_REPLY);
	ports = ports >> 16 | ports << 16;
	deltas = ~deltas_of(connection); /* the other way round: the negative of each */
	if (pkt->kind & PACKET_IS_MESSAGE)
		verdict = translate_error(pkt, places, &connection->server, &connection->client, ports,
					  kind == CONNECTION_SNAT ? MESSAGE_KEEPS_SOURCE : 0);
	else if (is_ipv4_mapped(&connection->client) == pkt->is_ipv6)
		verdict = cross_back(pkt, places, ports, ((__u16 *)&deltas)[0]);
	else
		verdict = refresh(pkt, places)
				?: rewrite(pkt, &connection->server, &connection->client, ports, ((__u16 *)&deltas)[0],
					   ((__u16 *)&deltas)[1]);
	return verdict ?: leave_by(pkt, way, tx, redirect);
}

/* NAT by flow: which VIP it is that this backend answers for. CONTINUE: it is no answer. */
__stage enum verdict come_back_by_flow(struct packet *pkt)
{
	struct connection *connection;

	pkt->connection =
		find_connection(pkt->src_hi, pkt->src_lo, pkt->dst_hi, pkt->dst_lo, TUPLE_IS_REPLY | tuple_rest(pkt));
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	return connection ? come_back_to(pkt, connection) : CONTINUE;
}

/* To a local address: the port is the connection's entry, and what comes there is its backend's, or none of ours. */
__stage enum verdict come_back_local(struct packet *pkt, __u32 number)
{
	struct connection *connection;
	_Bool is_theirs;

	pkt->connection = number << PORT_BITS | bpf_ntohs(pkt->ports >> 16);
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	if (!connection || connection->protocol != pkt->protocol)
		return PASS_NOT_A_SERVICE;
	if (kind_of(connection) == CONNECTION_SNAT)
		is_theirs = connection->server_port == (__be16)pkt->ports &&
			    is_at(&connection->server, pkt->src_hi, pkt->src_lo);
	else
		is_theirs = kind_of(connection) == CONNECTION_FULLNAT &&
			    is_backends(connection, pkt->src_hi, pkt->src_lo, pkt->ports);
	return is_theirs ? come_back_to(pkt, connection) : PASS_NOT_A_SERVICE;
}

__stage enum verdict come_back(struct packet *pkt)
{
	struct reply *reply;

	if (!config.nat && !config.connections)
		return CONTINUE;
	/* To the verifier, each way here as any other. */
	pkt->l4 = pkt->frame + bounded(length(pkt->frame, pkt->l4), 0x3fff);
	if (pkt->service)
		return CONTINUE;
	if (is_mapped_on_wire(pkt) || is_message_of(pkt, MESSAGE_TUNNEL_ERROR))
		return PASS_NOT_A_SERVICE;
	if (config.connections) {
		reply = lookup_local(pkt->is_ipv6, pkt->dst_hi, pkt->dst_lo);
		if (reply)
			return come_back_local(pkt, reply->id);
	}
	if (config.nat) {
		reply = lookup_nat_reply(pkt->src_hi, pkt->src_lo, pkt->protocol, pkt->ports);
		if (reply) {
			enum verdict verdict = config.connections && reply->by_flow ? come_back_by_flow(pkt)
										    : come_back_nat(pkt, reply);

			if (verdict)
				return verdict;
		}
	}
	if (config.snat_prefixes)
		return go_out(pkt);
	return PASS_NOT_A_SERVICE;
}
