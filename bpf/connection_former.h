/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tuples of a connection that is over, and its words taken out of the index. */
#pragma once

#include "connection_words.h"

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
