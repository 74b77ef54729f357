/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* FULLNAT, and NAT by flow: the connection that a request belongs to, and so its backend, whatever the ring says. */
#pragma once

#include "connection_open.h"
#include "refuse.h"

/* Per CPU: too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct opening));
} openings SEC(".maps");

enum recollection {
	RECALLED = 0,
	RECALLED_REOPENS, /* a new connection of the same tuple */
	RECALLED_NOTHING, /* its backend is gone, and the packet opens none */
};

/* Whether a packet may be a connection's first. `kind` as of struct packet. */
static __always_inline _Bool is_opening(__u8 protocol, __u32 kind)
{
	if (kind & PACKET_IS_MESSAGE)
		return 0;
	return protocol != IPPROTO_TCP || (kind & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A packet of a connection that is known: whether it belongs to it, or begins another of the same tuple. */
static __always_inline enum recollection recollect(const struct connection *connection, __u32 kind)
{
	_Bool is_dead;
	union life life = life_of(connection);
	enum connection_state state = state_of_life(life);
	__u32 now = connection_clock(), id = connection->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	is_dead = !backend || backend->flags & (BACKEND_DEAD | BACKEND_GONE);
	if (!is_opening(connection->protocol, kind))
		return is_dead ? RECALLED_NOTHING : RECALLED;
	if (is_dead || is_over(life, now) || life.kind & CONNECTION_DROPPED || kind_of(connection) == CONNECTION_SNAT)
		return RECALLED_REOPENS;
	if (life.protocol == IPPROTO_TCP && state >= STATE_FIN_WAIT)
		return RECALLED_REOPENS;
	return RECALLED;
}

/* CONTINUE with pkt.backend_id 0: the ring decides. */
__stage enum verdict recall_connection(struct packet *pkt)
{
	struct connection *connection;

	if (!config.connections)
		return CONTINUE;
	pkt->connection = NO_ID;
	if (!(pkt->service->flags & SERVICE_CONNECTIONS))
		return CONTINUE;
	pkt->connection = find_connection(pkt->src_hi, pkt->src_lo, pkt->dst_hi, pkt->dst_lo, tuple_rest(pkt));
	connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	if (!connection || (kind_of(connection) == CONNECTION_SNAT && !is_opening(pkt->protocol, pkt->kind))) {
		pkt->connection = NO_ID;
		return CONTINUE;
	}
	switch (recollect(connection, pkt->kind)) {
	case RECALLED:
		pkt->backend_id = connection->backend;
		return CONTINUE;
	case RECALLED_REOPENS:
		pkt->kind |= PACKET_REOPENS;
		return CONTINUE;
	default:
		return refuse(pkt, TX_NO_CONNECTION, DROP_NO_CONNECTION);
	}
}

/* The packet's connection is opened: pkt.connection. `pool` and `kind` as of struct opening; 0: exhausted. */
static __always_inline _Bool open_for(struct packet *pkt, __u32 pool, __u32 times, __u32 kind)
{
	struct opening *opening;
	__u32 key = 0;

	opening = bpf_map_lookup_elem(&openings, &key);
	if (!opening)
		return 0;
	opening->tuple.src_hi = pkt->src_hi;
	opening->tuple.src_lo = pkt->src_lo;
	opening->tuple.dst_hi = pkt->dst_hi;
	opening->tuple.dst_lo = pkt->dst_lo;
	opening->tuple.rest = tuple_rest(pkt);
	opening->backend = pkt->backend_id;
	opening->pool = pool;
	opening->times = times;
	opening->index = pkt->connection;
	opening->kind = kind;
	opening->flags = pkt->kind;
	pkt->connection = open_connection(opening);
	return pkt->connection != NO_ID;
}
