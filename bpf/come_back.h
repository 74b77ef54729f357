/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes to no service may be a reply: translated back, and on to its client. All else is the host's own traffic. */
#pragma once

#include "packet.h"
#include "replies.h"
#include "way_out.h"
#include "rewrite.h"
#include "translate_message.h"
#include "tell_connection.h"
#include "go_out.h"

/* An error about what a client has sent to a backend. */
__stage enum verdict come_back_message_nat(struct packet *pkt, const struct reply *reply)
{
	struct message *to = this_message();

	if (!to)
		return DROP_TRUNCATED;
	to->src_hi = load_u64(reply->vip.s6_addr);
	to->src_lo = load_u64(reply->vip.s6_addr + 8);
	if (reply->vip_port)
		to->ports = (to->ports & 0xffff0000) | reply->vip_port;
	return translate_message(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4),
				 pkt->is_ipv6 ? MESSAGE_IS_IPV6 : 0, to)
		     ? DROP_TRUNCATED
		     : CONTINUE;
}

/* From a backend to a client of its, for all that the packet tells. */
__stage enum verdict come_back_nat(struct packet *pkt, const struct reply *reply)
{
	__u32 ports = pkt->ports, ifindex = 0;
	struct places places = places_of(pkt);
	enum verdict verdict;

	verdict = refresh(pkt, places) ?: check_destination_mac(pkt) ?: parse_l4(pkt);
	if (verdict)
		return verdict;
	if (is_syn(pkt))
		return PASS_NOT_A_SERVICE; /* a connection of the backend's own */
	verdict = set_out(pkt, pkt->dst_hi, pkt->dst_lo, &ifindex);
	if (verdict)
		return verdict;
	pkt->backend_id = reply->id;
	if (pkt->kind & PACKET_IS_MESSAGE)
		return come_back_message_nat(pkt, reply) ?: leave_by(pkt, ifindex, TX_NAT_REPLY, REDIRECT_NAT_REPLY);
	if (reply->vip_port)
		ports = (ports & 0xffff0000) | reply->vip_port;
	if (refresh(pkt, places) || rewrite(pkt, &reply->vip, NULL, ports, reply->l4_delta, reply->l3_delta))
		return DROP_TRUNCATED;
	return leave_by(pkt, ifindex, TX_NAT_REPLY, REDIRECT_NAT_REPLY);
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

/* An error about what a connection's client has sent: to the client, from whom it has addressed; SNAT: as it came. */
__stage enum verdict come_back_message(struct packet *pkt, const struct connection *connection, __u32 ports)
{
	struct message *to = this_message();
	__u32 how = kind_of(connection) == CONNECTION_SNAT ? MESSAGE_KEEPS_SOURCE : 0;

	if (!to)
		return DROP_TRUNCATED;
	to->src_hi = load_u64(connection->server.s6_addr);
	to->src_lo = load_u64(connection->server.s6_addr + 8);
	to->dst_hi = load_u64(connection->client.s6_addr);
	to->dst_lo = load_u64(connection->client.s6_addr + 8);
	to->ports = ports;
	return translate_message(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4),
				 how | (pkt->is_ipv6 ? MESSAGE_IS_IPV6 : 0), to)
		     ? DROP_TRUNCATED
		     : CONTINUE;
}

/* Where a connection's client is: by the routes; where they do not tell, by what its own frames have. */
__stage enum verdict set_out_to_client(struct packet *pkt, const struct connection *connection, __u32 *ifindex)
{
	__u64 hi = load_u64(connection->client.s6_addr), lo = load_u64(connection->client.s6_addr + 8);
	struct client_route *route = find_client_route(!is_ipv4_mapped(&connection->client), hi, lo);

	if (route && route->kind != CLIENT_ROUTE_HOP && connection->ifindex)
		return set_out_as_learnt(pkt, connection, ifindex);
	return set_out_by(pkt, route, hi, lo, ifindex);
}

/* A packet of a connection, from the end that its client has addressed. */
__stage enum verdict come_back_to(struct packet *pkt, struct connection *connection)
{
	__u32 ports = *(const __u32 *)&connection->client_port, kind = kind_of(connection), ifindex = 0, deltas;
	enum verdict verdict, tx, redirect;
	struct places places = places_of(pkt);

	verdict = refresh(pkt, places) ?: check_destination_mac(pkt) ?: parse_l4(pkt);
	if (verdict)
		return verdict;
	if (is_syn(pkt))
		return PASS_NOT_A_SERVICE; /* never a reply */
	verdict = set_out_to_client(pkt, connection, &ifindex) ?: tell_connection(pkt, 0, times_of(connection));
	if (verdict)
		return verdict;
	pkt->backend_id = connection->backend;
	tx = kind == CONNECTION_SNAT ? TX_SNAT_REPLY : kind == CONNECTION_NAT ? TX_NAT_REPLY : TX_FULLNAT_REPLY;
	redirect = tx + (REDIRECT_NAT_REPLY - TX_NAT_REPLY);
	ports = ports >> 16 | ports << 16;
	if (pkt->kind & PACKET_IS_MESSAGE)
		return come_back_message(pkt, connection, ports) ?: leave_by(pkt, ifindex, tx, redirect);
	deltas = ~deltas_of(connection); /* the other way round: the negative of each */
	if (refresh(pkt, places) ||
	    rewrite(pkt, &connection->server, &connection->client, ports, ((__u16 *)&deltas)[0], ((__u16 *)&deltas)[1]))
		return DROP_TRUNCATED;
	return leave_by(pkt, ifindex, tx, redirect);
}

/* NAT by flow: which VIP it is that this backend answers for, if it is an answer at all. */
__stage enum verdict come_back_by_flow(struct packet *pkt)
{
	struct connection *connection;

	pkt->connection =
		find_connection(pkt->src_hi, pkt->src_lo, pkt->dst_hi, pkt->dst_lo, TUPLE_IS_REPLY | tuple_rest(pkt));
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	if (!connection)
		return PASS_NOT_A_SERVICE;
	return come_back_to(pkt, connection);
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

	if (pkt->service || !(config.nat || config.connections))
		return CONTINUE;
	if (is_mapped_on_wire(pkt))
		return PASS_NOT_A_SERVICE;
	if (config.connections) {
		reply = lookup_local(pkt->is_ipv6, pkt->dst_hi, pkt->dst_lo);
		if (reply)
			return come_back_local(pkt, reply->id);
	}
	if (config.nat) {
		reply = lookup_nat_reply(pkt->src_hi, pkt->src_lo, pkt->protocol, pkt->ports);
		if (reply)
			return config.connections && reply->by_flow ? come_back_by_flow(pkt)
								    : come_back_nat(pkt, reply);
	}
	if (config.snat_prefixes)
		return go_out(pkt);
	return PASS_NOT_A_SERVICE;
}
