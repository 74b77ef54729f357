/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new connection: a free entry is claimed, written, and put into the index. */
#pragma once

#include "pool_search.h"
#include "checksum.h"

/* What is to be opened. */
struct opening {
	struct tuple tuple; /* of its client's packet */
	__u32 backend;	    /* id; SNAT: 0 */
	__u32 pool;
	__u32 times; /* index of the connection_times */
	__u32 index; /* the entry that the tuple has already; NO_ID: none */
	__u32 kind;  /* enum connection_kind */
	__u32 flags; /* of the packet, as struct packet.kind */
};

/* What a translation adds to a sum: `from` and `to` are sums of what changes. */
static __always_inline __u16 sum_delta(__u64 from, __u64 to)
{
	return (__u16)~fold_checksum((to & 0xffffffff) + (to >> 32) + (__u16)fold_checksum(from));
}

/*
 * The sums' deltas, of requests. IPv4's prefix ::ffff: sums up to nothing; so they hold where the family changes too.
 * NAT by flow has them in the backend's record.
 */
static __always_inline void write_deltas(struct connection *connection, const struct opening *it, __u32 index)
{
	__u32 id = it->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);
	__u32 number = index >> PORT_BITS, ports = it->tuple.rest;
	struct local_address *local = bpf_map_lookup_elem(&local_addresses, &number);
	const struct in6_addr *dst;
	__u64 from, to;
	__be16 port;

	if (!backend || !local || it->kind == CONNECTION_NAT)
		return;
	dst = it->kind == CONNECTION_SNAT ? &connection->server : &backend->addr;
	port = it->kind != CONNECTION_SNAT && backend->port ? backend->port : (__be16)(ports >> 16);
	from = sum_words((const __u32 *)&connection->client, 4) + sum_words((const __u32 *)&connection->server, 4);
	to = sum_words((const __u32 *)&local->addr, 4) + sum_words((const __u32 *)dst, 4);
	connection->l3_delta = sum_delta(from, to);
	connection->l4_delta =
		sum_delta(from + (ports & 0xffff) + (ports >> 16), to + bpf_htons(index & 0xffff) + port);
}

static __always_inline void write_connection(struct connection *connection, const struct opening *it, __u32 index)
{
	*(__u64 *)&connection->client.s6_addr[0] = it->tuple.src_hi;
	*(__u64 *)&connection->client.s6_addr[8] = it->tuple.src_lo;
	*(__u64 *)&connection->server.s6_addr[0] = it->tuple.dst_hi;
	*(__u64 *)&connection->server.s6_addr[8] = it->tuple.dst_lo;
	*(__u32 *)&connection->client_port = it->tuple.rest;
	connection->backend = it->backend;
	connection->packets = 0;
	connection->ifindex = 0;
	write_deltas(connection, it, index);
}

/*
 * NAT by flow: puts what the backend answers into the index. 0: that is another connection's, of another VIP, and two
 * cannot be told apart; one that is over makes way.
 */
static __always_inline int insert_reply(const struct opening *it, __u32 index, __u32 now)
{
	__u32 id = it->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);
	struct tuple *reply = backend ? reply_tuple(&it->tuple, backend) : NULL;
	struct connection *other;
	__u32 there;

	if (!reply)
		return 0;
	there = find_connection(reply->src_hi, reply->src_lo, reply->dst_hi, reply->dst_lo, reply->rest);
	other = there == NO_ID ? NULL : bpf_map_lookup_elem(&connections, &there);
	if (other && is_of_tuple(other, &it->tuple))
		return 1; /* this very flow, by another CPU */
	if (other) {
		union life freed = {};

		if (!claim(there, now, 0))
			return 0;
		remove_claimed(other, there);
		change_life(other, life_of(other), freed);
		reply = reply_tuple(&it->tuple, backend); /* remove_claimed() has used its place */
		if (!reply)
			return 0;
	}
	return insert_tuple(reply, index, now);
}

static __always_inline void release(struct connection *connection, const struct opening *it, __u32 index)
{
	union life life = life_of(connection), freed = {};

	remove_tuple(&it->tuple, index);
	change_life(connection, life, freed);
}

static __always_inline int put_into_index(const struct opening *it, __u32 index, __u32 now, _Bool is_reopened)
{
	if (!is_reopened && !insert_tuple(&it->tuple, index, now))
		return 0;
	return it->kind != CONNECTION_NAT || insert_reply(it, index, now);
}

/* Whether a tuple's former entry serves its new connection: it is of the same pool, and nothing but the tuple finds it.
 */
static __always_inline _Bool is_reusable(const struct opening *it, __u32 index)
{
	__u32 key = it->pool; /* on the stack: before Linux 6.2 a key lay nowhere else */
	struct pool *pool = bpf_map_lookup_elem(&pools, &key);
	struct connection *former = bpf_map_lookup_elem(&connections, &index);

	return pool && former && kind_of(former) == it->kind && (index >> PORT_BITS) - pool->first < pool->count;
}

/* A program of its own: frees an entry, in whatever state its connection is. */
__attribute__((noinline)) int forget(__u32 index)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	__u32 now = connection_clock();
	union life freed = {};

	if (!connection || !claim(index, now, 1))
		return 0;
	remove_claimed(connection, index);
	shorten_busy(index, now - 1);
	return change_life(connection, life_of(connection), freed);
}

/* A program of its own: whether the tuple's former entry becomes the connection's; if not, it is free. */
__attribute__((noinline)) int reuse(const struct opening *it, __u32 index)
{
	if (!it)
		return 0;
	if (is_reusable(it, index))
		return 1;
	forget(index);
	return 0;
}

/* A program of its own: the entry at `index` becomes the connection. 0: the index is full, or its replies are
 * another's. */
__attribute__((noinline)) int write_entry_at(const struct opening *it, __u32 index, __u32 is_reopened)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	__u32 now = connection_clock();
	union life life, claimed;

	if (!it || !connection)
		return 0;
	claimed = life_of(connection);
	if (!is_reopened)
		remove_claimed(connection, index);
	else if (it->kind == CONNECTION_NAT)
		remove_former_reply(connection, index, &it->tuple);
	write_connection(connection, it, index);
	if (!put_into_index(it, index, now, !!is_reopened)) {
		release(connection, it, index);
		return 0;
	}
	life = claimed;
	life.protocol = it->tuple.rest >> 32;
	life.server_seen = 0;
	life.client_seen = hear_end(0, 0, life.protocol, it->flags);
	if (!(life.client_seen & SEEN_SYN)) /* under way already: NAT by flow */
		life.server_seen = SEEN_SYN;
	life.kind = it->kind;
	life.expires = now + lifetime(life, it->times);
	return change_life(connection, claimed, life);
}

static __always_inline void count_opening(__u32 pool, __u32 index, _Bool is_reopened)
{
	struct pool_count *count = bpf_map_lookup_elem(&pool_counts, &pool);

	if (!count)
		return;
	if (index == NO_ID)
		count->refused++;
	else if (is_reopened)
		count->reopened++;
	else
		count->opened++;
}

/* Returns the connection's index; NO_ID: exhausted. */
static __always_inline __u32 open_connection(const struct opening *it)
{
	__u32 index = it->index;
	_Bool is_reopened, is_freed = 0;

	if (index != NO_ID && !reuse(it, index)) {
		index = NO_ID;
		is_freed = 1;
	}
	is_reopened = index != NO_ID;
	if (is_reopened) {
		if (!claim(index, connection_clock(), 1))
			index = NO_ID;
	} else {
		index = take_entry(it->pool, is_freed);
	}
	if (index != NO_ID && !write_entry_at(it, index, is_reopened))
		index = NO_ID;
	count_opening(it->pool, index, is_reopened);
	return index;
}
