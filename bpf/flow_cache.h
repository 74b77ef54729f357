/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow cache: which backend a flow has, where its slot's owner has changed. What is kept, and what may be replaced.
 */
#pragma once

#include "packet.h"
#include "ring.h"

#define SEEN_MASK     ((1U << FLOW_SEEN_BITS) - 1)
#define AGE_TOLERANCE 64 /* units that a stamp may lie in the future: another CPU's, or a sweep's older clock */
#define SHORT_AGE     2	 /* units: a half-open or a closed flow holds its place no longer */
#define RETRY_AGE     1	 /* units: a SYN so soon after the last packet repeats an older SYN */
#define NO_PLACE      (~0U)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} flow_cache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pressure_line);
} pressure SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_count);
} flow_counts SEC(".maps");

/* The flow clock, then the connection clock. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} test_clock SEC(".maps");

/* What of a packet matters: its TCP flags in bits 0-7, and what its service says. */
enum flow_packet {
	PACKET_SYN_OPENS = 1 << 8, /* SERVICE_SYN_OPENS */
	PACKET_IDLE_SHIFT = 16,	   /* bits 16-31: the service's idle time, in units of the flow clock */
};

/* A packet of a tracked slot, and what has been looked up for it. */
struct recall {
	__u64 slot_word;   /* enum slot_layout */
	__u64 fingerprint; /* in its place */
	struct flow_bucket *bucket;
	__u32 slot_index; /* of all slots */
	__u32 service;	  /* id */
	__u32 packet;	  /* enum flow_packet */
	__u32 now;	  /* units of the flow clock */
};

static __always_inline __u32 current_of(const struct recall *it)
{
	return it->slot_word & BACKEND_ID_MASK;
}

static __always_inline __u32 home_of(const struct recall *it)
{
	return it->slot_word >> SLOT_HOME_SHIFT & BACKEND_ID_MASK;
}

static __always_inline __u32 state_of(const struct recall *it)
{
	return it->slot_word >> SLOT_STATE_SHIFT & 3;
}

/* Whether a SYN, and nothing else, marks a new flow of this service. */
static __always_inline _Bool syn_opens(const struct recall *it)
{
	return it->packet & PACKET_SYN_OPENS;
}

static __always_inline _Bool opens_flow(const struct recall *it)
{
	return (it->packet & (PACKET_SYN_OPENS | TCP_SYN | TCP_ACK)) == (PACKET_SYN_OPENS | TCP_SYN);
}

static __always_inline _Bool is_message(const struct recall *it)
{
	return it->packet & PACKET_IS_MESSAGE;
}

static __always_inline _Bool is_closing(const struct recall *it)
{
	return it->packet & (TCP_FIN | TCP_RST);
}

static __always_inline __u32 flow_clock(void)
{
	__u32 key = 0;
	__u64 *set;

	if (config.test_clock) {
		set = bpf_map_lookup_elem(&test_clock, &key);
		return set ? *set & SEEN_MASK : 0;
	}
	return (bpf_jiffies64() * config.clock_scale >> 32) & SEEN_MASK;
}

static __always_inline __u32 age_of(__u64 entry, __u32 now)
{
	__u32 age = (now - (__u32)(entry >> FLOW_SEEN_SHIFT) + AGE_TOLERANCE) & SEEN_MASK;

	return age < AGE_TOLERANCE ? 0 : age - AGE_TOLERANCE;
}

static __always_inline __u32 class_of(__u64 entry)
{
	return entry >> FLOW_CLASS_SHIFT & 3;
}

/*
 * Empty, silent for too long by its own service's measure, or a handshake or a goodbye that is over. Anything else is
 * never evicted.
 */
static __always_inline _Bool is_free(const struct recall *it, __u64 entry)
{
	__u32 age, id = entry & BACKEND_ID_MASK;
	struct backend *backend;

	if (!entry)
		return 1;
	age = age_of(entry, it->now);
	if (class_of(entry) != FLOW_OPEN)
		return age > SHORT_AGE;
	if (age <= it->packet >> PACKET_IDLE_SHIFT)
		return 0;
	backend = bpf_map_lookup_elem(&backends, &id);
	return !backend || age > backend->idle;
}

static __always_inline __u64 make_entry(const struct recall *it, __u32 class, __u32 id)
{
	return it->fingerprint | (__u64) class << FLOW_CLASS_SHIFT | (__u64)it->now << FLOW_SEEN_SHIFT | id;
}

static __always_inline void write_entry(const struct recall *it, __u32 place, __u64 entry)
{
	*(volatile __u64 *)&it->bucket->entries[bounded(place, 7)] = entry;
}

static __always_inline _Bool remember(const struct recall *it, __u32 place, __u32 class, __u32 id)
{
	if (place == NO_PLACE || !id)
		return 0;
	write_entry(it, place, make_entry(it, class, id));
	return 1;
}

/* BACKEND_* flags; nobody is dead. */
static __always_inline __u32 flags_of(__u32 id)
{
	struct backend *backend = id ? bpf_map_lookup_elem(&backends, &id) : NULL;

	return backend ? backend->flags : BACKEND_DEAD | BACKEND_NO_NEW;
}

static __always_inline struct flow_count *counts_of_flows(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&flow_counts, &key);
}

static __always_inline void mark_pressure(const struct recall *it)
{
	__u32 key = it->slot_index >> 6;
	struct pressure_line *line = bpf_map_lookup_elem(&pressure, &key);
	__u8 *mark;

	if (!line)
		return;
	mark = &line->marked[bounded(it->slot_index, 63)];
	if (!*mark)
		*mark = 1;
}
