/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A new connection: a free entry, and with it a local port, is claimed, written, and put into the index. An entry is
 * claimed by compare-and-swap, so each has one owner whatever CPU looks where; each CPU has a range of ports of its own
 * to begin with, so that they seldom meet.
 */
#pragma once

#include "connection.h"
#include "connection_life.h"
#include "checksum.h"

/* Pool 0 is NAT's by flow; then pairs, of IPv4 and of IPv6. */
#define POOLS 128

/* What one packet looks at before the pool counts as exhausted: entries of its CPU's range, and groups anywhere. */
#define OWN_TRIES	64
#define GROUP_TRIES	1024
#define GROUPS_SEARCHED 128 /* of those: entry by entry */

#define NEARLY_FULL 6 /* words of a bucket */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct pool);
} pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct pool_cursor);
} pool_cursors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, POOLS);
	__type(key, __u32);
	__type(value, struct pool_count);
} pool_counts SEC(".maps");

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

/* Takes a word out of the index: that of `tuple` for the connection at `index`. */
static __always_inline void remove_word(__u32 bucket, __u64 word)
{
	struct flow_bucket *words = bpf_map_lookup_elem(&connection_index, &bucket);

	if (!words)
		return;
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++)
		if (*(volatile __u64 *)&words->entries[i] == word)
			__sync_val_compare_and_swap(&words->entries[i], word, 0);
}

/* Whether a word is nobody's: its connection is over, or has gone without taking the word along. */
static __always_inline _Bool is_dead_word(__u64 word, __u32 now)
{
	__u32 index = word & INDEX_MASK;
	struct connection *connection;
	union life life;

	if (!word)
		return 1;
	connection = bpf_map_lookup_elem(&connections, &index);
	if (!connection)
		return 1;
	life = life_of(connection);
	return !life.kind || (life.kind != CONNECTION_CLAIMED && is_over(life, now));
}

/* `now`: words of connections that are over count as places; 0: they do not. */
static __always_inline _Bool insert_word(__u32 bucket, __u64 word, __u32 now)
{
	struct flow_bucket *words = bpf_map_lookup_elem(&connection_index, &bucket);

	if (!words)
		return 0;
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++) {
		__u64 there = *(volatile __u64 *)&words->entries[i];

		if (there && !(now && is_dead_word(there, now)))
			continue;
		if (__sync_val_compare_and_swap(&words->entries[i], there, word) == there)
			return 1;
	}
	return 0;
}

static __always_inline __u32 words_in(__u32 bucket)
{
	struct flow_bucket *words = bpf_map_lookup_elem(&connection_index, &bucket);
	__u32 used = 0;

	if (!words)
		return FLOWS_PER_BUCKET;
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++)
		used += !!*(volatile __u64 *)&words->entries[i];
	return used;
}

/* A program of its own. */
__attribute__((noinline)) int remove_tuple(const struct tuple *tuple, __u32 index)
{
	__u64 hash, word;

	if (!tuple)
		return 0;
	hash = tuple_hash(tuple);
	word = index_tag(hash) | index;
	remove_word(first_bucket(hash), word);
	remove_word(second_bucket(hash), word);
	return 0;
}

/*
 * A program of its own. 0: there is no place in the index. The first bucket, in which a packet finds its word soonest,
 * until it is nearly full; then the emptier of the two: so no word is refused while half of all places are free.
 */
__attribute__((noinline)) int insert_tuple(const struct tuple *tuple, __u32 index, __u32 now)
{
	__u32 first, second, used, bucket;
	__u64 hash, word;

	if (!tuple)
		return 0;
	hash = tuple_hash(tuple);
	word = index_tag(hash) | index;
	first = first_bucket(hash);
	second = second_bucket(hash);
	used = words_in(first);
	bucket = used < NEARLY_FULL || used <= words_in(second) ? first : second;
	return insert_word(bucket, word, 0) || insert_word(bucket ^ first ^ second, word, 0) ||
	       insert_word(first, word, now) || insert_word(second, word, now);
}

/* The tuples that this CPU is at, of a connection that is over and of its replies: too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct tuple));
} tuples SEC(".maps");

enum this_tuple {
	TUPLE_OF_CLIENT = 0,
	TUPLE_OF_REPLY = 1,
};

/* What its client sends. NULL: never. */
static __always_inline struct tuple *tuple_of(const struct connection *connection)
{
	__u32 key = TUPLE_OF_CLIENT;
	struct tuple *tuple = bpf_map_lookup_elem(&tuples, &key);

	if (!tuple)
		return NULL;
	tuple->src_hi = load_u64(connection->client.s6_addr);
	tuple->src_lo = load_u64(connection->client.s6_addr + 8);
	tuple->dst_hi = load_u64(connection->server.s6_addr);
	tuple->dst_lo = load_u64(connection->server.s6_addr + 8);
	tuple->rest = (__u64)connection->protocol << 32 | *(const __u32 *)&connection->client_port;
	return tuple;
}

/* NAT by flow: what the backend sends in answer to `tuple`. NULL: never. */
static __always_inline struct tuple *reply_tuple(const struct tuple *tuple, const struct backend *backend)
{
	__be16 port = backend->port ?: (__be16)(tuple->rest >> 16);
	__u32 key = TUPLE_OF_REPLY;
	struct tuple *reply = bpf_map_lookup_elem(&tuples, &key);

	if (!reply)
		return NULL;
	reply->src_hi = load_u64(backend->addr.s6_addr);
	reply->src_lo = load_u64(backend->addr.s6_addr + 8);
	reply->dst_hi = tuple->src_hi;
	reply->dst_lo = tuple->src_lo;
	reply->rest = TUPLE_IS_REPLY | (tuple->rest & 0xff00000000ULL) | (tuple->rest & 0xffff) << 16 | port;
	return reply;
}

/* NAT by flow: takes what the former backend has answered out of the index. */
static __always_inline void remove_former_reply(const struct connection *former, __u32 index, const struct tuple *tuple)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &former->backend);
	struct tuple *reply = backend ? reply_tuple(tuple, backend) : NULL;

	if (reply)
		remove_tuple(reply, index);
}

/* Takes the connection that was at `index` out of the index: its entry is somebody's who has claimed it. */
static __always_inline void remove_former(const struct connection *former, __u32 index, __u8 kind)
{
	struct tuple *tuple = tuple_of(former);

	if (!tuple)
		return;
	remove_tuple(tuple, index);
	if ((kind & CONNECTION_KIND_MASK) == CONNECTION_NAT)
		remove_former_reply(former, index, tuple);
}

/*
 * A program of its own. Claims the entry at `index`, if it is free; `keep`: or if it is not, and its tuple stays. What
 * kind its former connection was is left in `client_seen`: that one is in the index yet.
 */
__attribute__((noinline)) int claim(__u32 index, __u32 now, __u32 keep)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	union life life, claimed = { .kind = CONNECTION_CLAIMED, .expires = now };

	if (!connection)
		return 0;
	life = life_of(connection);
	claimed.protocol = life.protocol;
	claimed.client_seen = life.kind;
	if (life.kind == CONNECTION_CLAIMED || (!keep && life.kind && !is_over(life, now)))
		return 0;
	return change_life(connection, life, claimed);
}

/* Takes the former connection of an entry that was claimed out of the index. */
static __always_inline void remove_claimed(const struct connection *connection, __u32 index)
{
	__u8 kind = life_of(connection).client_seen;

	if (kind)
		remove_former(connection, index, kind);
}

/* `at`: a place of the pool's `ports` from `first_port` on, in each of its addresses. */
static __always_inline __u32 index_at(const struct pool *pool, __u32 at, __u32 first_port, __u32 ports)
{
	return (pool->first + at / ports) << PORT_BITS | bounded(first_port + at % ports, 0xffff);
}

/* A program of its own. The index of an entry of this CPU's range, claimed; NO_ID: none of the next is free. */
__attribute__((noinline)) __u32 find_own(__u32 key, __u32 now)
{
	struct pool_cursor *cursor = bpf_map_lookup_elem(&pool_cursors, &key);
	struct pool *pool = bpf_map_lookup_elem(&pools, &key);
	__u32 ports, own, at, first_port, index;

	if (!pool || !cursor || !pool->count || !pool->ports || !pool->ranges)
		return NO_ID;
	ports = pool->ports / pool->ranges;
	first_port = pool->first_port + bpf_get_smp_processor_id() % pool->ranges * ports;
	own = ports * pool->count;
	for (__u32 i = 0; i < OWN_TRIES && i < own; i++) {
		at = cursor->next;
		if (at >= own)
			at = 0;
		cursor->next = at + 1;
		index = index_at(pool, at, first_port, ports);
		if (claim(index, now, 0))
			return index;
	}
	return NO_ID;
}

/*
 * A program of its own. The same of a group's entries from port `first` to `last`; where there is none, the group is
 * busy until one of them runs out.
 */
__attribute__((noinline)) __u32 search_group(__u32 group, __u32 first, __u32 last, __u32 now)
{
	__u32 until = now + BUSY_SECONDS;

	for (__u32 i = 0; i < GROUP_ENTRIES; i++) {
		__u32 index = group << GROUP_BITS | i, port = index & 0xffff;
		struct connection *connection = bpf_map_lookup_elem(&connections, &index);
		union life life;

		if (!connection || port < first || port > last)
			continue;
		if (claim(index, now, 0))
			return index;
		life = life_of(connection);
		if ((__s32)(until - life.expires) > 0)
			until = life.expires;
	}
	set_busy(group, until);
	return NO_ID;
}

/* A search of a pool, group by group. */
struct search {
	__u32 pool;
	__u32 group;  /* the first address's first */
	__u32 groups; /* of an address */
	__u32 all;
	__u32 first; /* port */
	__u32 last;
	__u32 now;
	__u32 searched;
	__u32 found; /* index; NO_ID: nothing yet */
};

/* The one that this CPU is at: too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct search));
} searches SEC(".maps");

static __always_inline struct search *this_search(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&searches, &key);
}

/* The next group; 1: the search is over. */
static long search_next(__u32 turn, void *none)
{
	struct search *it = this_search();
	struct pool_cursor *cursor;
	__u32 at, group, key;

	(void)turn;
	(void)none;
	if (!it || !it->groups)
		return 1;
	key = it->pool;
	cursor = bpf_map_lookup_elem(&pool_cursors, &key);
	if (!cursor)
		return 1;
	at = cursor->anywhere;
	if (at >= it->all)
		at = 0;
	group = it->group + (at / it->groups << (PORT_BITS - GROUP_BITS)) + at % it->groups;
	if (!is_busy(group, it->now)) {
		it->found = search_group(group, it->first, it->last, it->now);
		if (it->found != NO_ID || ++it->searched >= GROUPS_SEARCHED)
			return 1; /* and the next search begins here */
	}
	cursor->anywhere = at + 1;
	return 0;
}

/* A program of its own. The index of an entry of the pool, claimed; NO_ID: nothing is free, as far as it was seen. */
__attribute__((noinline)) __u32 find_anywhere(__u32 key, __u32 now)
{
	struct pool *pool = bpf_map_lookup_elem(&pools, &key);
	struct search *it = this_search();
	struct pool_cursor *cursor;

	if (!pool || !it || !pool->count || !pool->ports)
		return NO_ID;
	it->pool = key;
	it->now = now;
	it->found = NO_ID;
	it->searched = 0;
	it->first = pool->first_port;
	it->last = it->first + pool->ports - 1;
	it->group = (pool->first << PORT_BITS | it->first) >> GROUP_BITS;
	it->groups = (it->last >> GROUP_BITS) - (it->first >> GROUP_BITS) + 1;
	it->all = it->groups * pool->count;
	bpf_loop(it->all < GROUP_TRIES ? it->all : GROUP_TRIES, search_next, NULL, 0);
	if (it->found != NO_ID || it->searched >= GROUPS_SEARCHED || it->all > GROUP_TRIES)
		return it->found;
	cursor = bpf_map_lookup_elem(&pool_cursors, &key);
	if (cursor)
		cursor->exhausted = now;
	return NO_ID;
}

/* A program of its own. An entry of the pool, claimed: its index; NO_ID: exhausted. */
__attribute__((noinline)) __u32 take_entry(__u32 pool, __u32 is_urgent)
{
	struct pool_cursor *cursor = bpf_map_lookup_elem(&pool_cursors, &pool);
	__u32 now = connection_clock(), index;

	if (!cursor || (now && !is_urgent && cursor->exhausted == now))
		return NO_ID;
	index = find_own(pool, now);
	return index != NO_ID ? index : find_anywhere(pool, now);
}

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

	return pool && (index >> PORT_BITS) - pool->first < pool->count;
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

	if (index != NO_ID && !is_reusable(it, index)) {
		forget(index);
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
