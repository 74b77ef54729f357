/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is known of a connection, for as long as its socket lives; who is believed; and the counters. */
#pragma once

#define SOURCES_MAX  4096 /* set by user space before the load */
#define OUTCOMES_MAX 64

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct toa_client);
} toa_clients SEC(".maps");

/* By prefix of the balancers' local addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SOURCES_MAX);
	__type(key, struct toa_source);
	__type(value, __u32);
} toa_sources SEC(".maps");

/* By outcome. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES_MAX);
	__type(key, __u32);
	__type(value, struct toa_count);
} toa_counts SEC(".maps");

static __always_inline void count(enum toa_outcome outcome)
{
	__u32 key = outcome;
	struct toa_count *count = bpf_map_lookup_elem(&toa_counts, &key);

	if (count)
		/* A connection may be accepted in a process that a softirq interrupts. */
		__sync_fetch_and_add(&count->connections, 1);
}

/* Keeps a new connection's client, or that it is not known yet. */
static __always_inline void keep(struct bpf_sock_ops *ctx, struct toa_client *client, enum toa_outcome outcome)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || !bpf_sk_storage_get(&toa_clients, sk, client, BPF_SK_STORAGE_GET_F_CREATE)) {
		client->looking = 0;
		outcome = TOA_NO_MEMORY;
	}
	count(outcome);
}
