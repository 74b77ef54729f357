/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections of FULLNAT, SNAT and NAT by flow: where they are kept, and how a packet's is found. */
#pragma once

#include "packet.h"
#include "ring.h"
#include "flow_cache.h"

/* By number << 16 | port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

/* By the hash of what its client sends; NAT by flow: also by that of what its backend sends. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} connection_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1025);
	__type(key, __u32);
	__type(value, struct connection_times);
} connection_times SEC(".maps");

/* By number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct local_address);
} local_addresses SEC(".maps");

#define PORT_BITS 16 /* of a connection's index */

/* A packet's tuple, and which end of a connection has sent it. Addresses and ports as in struct packet. */
struct tuple {
	__u64 src_hi;
	__u64 src_lo;
	__u64 dst_hi;
	__u64 dst_lo;
	__u64 rest; /* bits 0-31: ports, 32-39: protocol, and TUPLE_IS_REPLY */
};

#define TUPLE_IS_REPLY (1ULL << 40) /* of NAT by flow: from the backend to the client */

static __always_inline __u64 tuple_rest(const struct packet *pkt)
{
	return (__u64)pkt->protocol << 32 | pkt->ports;
}

/* The connection clock: seconds. */
static __always_inline __u32 connection_clock(void)
{
	__u32 key = 1;
	__u64 *set;

	if (config.test_clock) {
		set = bpf_map_lookup_elem(&test_clock, &key);
		return set ? *set : 0;
	}
	return bpf_jiffies64() * config.clock_scale >> 30;
}

/* Keyed, as the flow hash is, over the whole tuple. */
static __always_inline __u64 tuple_hash(const struct tuple *tuple)
{
	__u64 x = tuple->src_lo * config.hash_keys[0] + tuple->dst_lo * config.hash_keys[1] +
		  tuple->rest * config.hash_keys[2] + tuple->src_hi * (config.hash_keys[3] ^ 0x9e3779b97f4a7c14ULL) +
		  tuple->dst_hi * (config.hash_keys[3] ^ 0xc2b2ae3d27d4eb4eULL);

	x ^= x >> 32;
	x *= config.hash_keys[3];
	return x ^ x >> 29;
}

/* A tuple's two buckets. */
static __always_inline __u32 first_bucket(__u64 hash)
{
	return hash >> (64 - config.connection_bits);
}

static __always_inline __u32 second_bucket(__u64 hash)
{
	return first_bucket(hash) ^ ((__u32)hash * 2654435769U >> (32 - config.connection_bits) | 1);
}

/* Its word's bits but the index: enum index_layout. */
static __always_inline __u64 index_tag(__u64 hash)
{
	return 1ULL << INDEX_USED_SHIFT | hash >> 14 << INDEX_TAG_SHIFT;
}

#define INDEX_MASK ((1ULL << INDEX_BITS) - 1)

static __always_inline __u32 kind_of(const struct connection *connection)
{
	return connection->kind & CONNECTION_KIND_MASK;
}

static __always_inline _Bool is_open(const struct connection *connection)
{
	return kind_of(connection) > CONNECTION_CLAIMED;
}

static __always_inline _Bool is_at(const struct in6_addr *addr, __u64 hi, __u64 lo)
{
	return load_u64(addr->s6_addr + 8) == lo && load_u64(addr->s6_addr) == hi;
}

/* Whether `port` of `addr` is what a connection's requests go to at its backend. */
static __always_inline _Bool is_backends(const struct connection *connection, __u64 hi, __u64 lo, __be16 port)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &connection->backend);

	return backend && is_at(&backend->addr, hi, lo) && (backend->port ?: connection->server_port) == port;
}

static __always_inline _Bool is_of_tuple(const struct connection *connection, const struct tuple *tuple)
{
	__u32 ports = tuple->rest;

	if (!is_open(connection) || connection->protocol != (__u8)(tuple->rest >> 32))
		return 0;
	if (tuple->rest & TUPLE_IS_REPLY)
		return kind_of(connection) == CONNECTION_NAT && connection->client_port == ports >> 16 &&
		       is_at(&connection->client, tuple->dst_hi, tuple->dst_lo) &&
		       is_backends(connection, tuple->src_hi, tuple->src_lo, ports);
	return *(const __u32 *)&connection->client_port == ports &&
	       is_at(&connection->client, tuple->src_hi, tuple->src_lo) &&
	       is_at(&connection->server, tuple->dst_hi, tuple->dst_lo);
}

static __always_inline __u32 search_bucket(__u32 bucket, __u64 tag, const struct tuple *tuple)
{
	struct flow_bucket *words = bpf_map_lookup_elem(&connection_index, &bucket);

	if (!words)
		return NO_ID;
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++) {
		__u64 word = *(volatile __u64 *)&words->entries[i];
		struct connection *connection;
		__u32 index;

		if ((word & ~INDEX_MASK) != tag)
			continue;
		index = word & INDEX_MASK;
		connection = bpf_map_lookup_elem(&connections, &index);
		if (connection && is_of_tuple(connection, tuple))
			return index;
	}
	return NO_ID;
}

/* A program of its own. `rest` as in struct tuple. Returns the index of the connection, open or expired; or NO_ID. */
__attribute__((noinline)) __u32 find_connection(__u64 src_hi, __u64 src_lo, __u64 dst_hi, __u64 dst_lo, __u64 rest)
{
	struct tuple tuple = { src_hi, src_lo, dst_hi, dst_lo, rest };
	__u64 hash = tuple_hash(&tuple), tag = index_tag(hash);
	__u32 index = search_bucket(first_bucket(hash), tag, &tuple);

	return index != NO_ID ? index : search_bucket(second_bucket(hash), tag, &tuple);
}
