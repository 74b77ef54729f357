/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A free entry, and with it a local port: claimed by compare-and-swap, so each has one owner whatever CPU looks where;
 * each CPU has a range of ports of its own to begin with, so that they seldom meet.
 */
#pragma once

#include "connection_former.h"
#include "busy_groups.h"

/* Pool 0 is NAT's by flow; then pairs, of IPv4 and of IPv6. */
#define POOLS 128

/* What one packet looks at before the pool counts as exhausted: entries of its CPU's range, and groups anywhere. */
#define OWN_TRIES	64
#define GROUP_TRIES	1024
#define GROUPS_SEARCHED 128 /* of those: entry by entry */
#define FAILURES_MAX	8   /* searches a second that find nothing */

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

/* A pool too large for one search: after a few that found nothing it counts as exhausted for the rest of the second. */
static __always_inline void count_failure(struct pool_cursor *cursor, __u32 now)
{
	__u32 failures = cursor->failures >> 4 == (now & 0xfffffff) ? cursor->failures & 15 : 0;

	cursor->failures = now << 4 | (failures + 1);
	if (failures + 1 >= FAILURES_MAX)
		cursor->exhausted = now;
}

/* A program of its own. An entry of the pool, claimed: its index; NO_ID: exhausted. */
__attribute__((noinline)) __u32 take_entry(__u32 pool, __u32 is_urgent)
{
	struct pool_cursor *cursor = bpf_map_lookup_elem(&pool_cursors, &pool);
	__u32 now = connection_clock(), index;

	if (!cursor || (now && !is_urgent && cursor->exhausted == now))
		return NO_ID;
	index = find_own(pool, now);
	if (index == NO_ID)
		index = find_anywhere(pool, now);
	if (index == NO_ID)
		count_failure(cursor, now);
	return index;
}
