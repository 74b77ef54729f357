/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tracked slots: the backend that a flow had before its slot's owner changed. H1 to M8 are the rules' names in
 * docs/affinity.md.
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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} test_clock SEC(".maps");

/* A packet of a tracked slot, and what has been looked up for it. */
struct recall {
	__u32 current;
	__u32 home;
	__u32 state;	   /* enum slot_state */
	__u32 slot_index;  /* of all slots */
	__u32 service;	   /* id */
	__u32 idle;	   /* units of the flow clock */
	__u32 now;	   /* units of the flow clock */
	_Bool syn_opens;   /* SERVICE_SYN_OPENS */
	_Bool is_syn;	   /* and so a new flow, where syn_opens */
	_Bool is_closing;  /* FIN or RST */
	__u64 fingerprint; /* in its place */
	struct flow_bucket *bucket;
	__u32 place; /* where an entry may be written; NO_PLACE */
};

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
	if (age <= it->idle)
		return 0;
	backend = bpf_map_lookup_elem(&backends, &id);
	return !backend || age > backend->idle;
}

static __always_inline __u64 make_entry(const struct recall *it, __u32 class, __u32 id)
{
	return it->fingerprint | (__u64) class << FLOW_CLASS_SHIFT | (__u64)it->now << FLOW_SEEN_SHIFT | id;
}

static __always_inline void write_entry(struct recall *it, __u64 entry)
{
	*(volatile __u64 *)&it->bucket->entries[bounded(it->place, 7)] = entry;
}

static __always_inline _Bool remember(struct recall *it, __u32 class, __u32 id)
{
	if (it->place == NO_PLACE || !id)
		return 0;
	write_entry(it, make_entry(it, class, id));
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

/* The class that a packet leaves its flow's entry with. */
static __always_inline __u32 next_class(const struct recall *it, __u32 class)
{
	if (!it->syn_opens)
		return FLOW_OPEN;
	if (it->is_syn)
		return class == FLOW_CLOSED ? FLOW_HALF_OPEN : class;
	if (it->is_closing)
		return FLOW_CLOSED;
	return class == FLOW_HALF_OPEN ? FLOW_OPEN : class;
}

/* Whether a packet that found its flow's entry goes to the backend there: H1 and H2. */
static __always_inline _Bool keeps(const struct recall *it, __u64 entry, __u32 id, __u32 flags)
{
	if (id == it->current)
		return 1;
	if (flags & BACKEND_DEAD)
		return 0;
	if (!it->is_syn || !it->syn_opens)
		return 1;
	return age_of(entry, it->now) <= RETRY_AGE || (class_of(entry) == FLOW_HALF_OPEN && !(flags & BACKEND_NO_NEW));
}

/* M1 to M8: no entry, or one that does not count. Returns the backend. */
static __always_inline __u32 miss(struct recall *it)
{
	__u32 home_flags;
	struct flow_count *count;
	_Bool is_remembered;

	if (it->state == SLOT_KEEPING)
		return it->current; /* M1 */

	home_flags = flags_of(it->home);
	count = counts_of_flows();
	if (!count)
		return it->home;

	if (it->syn_opens && it->is_syn) {
		if (it->state == SLOT_GRACE && !(home_flags & (BACKEND_DEAD | BACKEND_NO_NEW))) { /* M5 */
			count->inserted += remember(it, FLOW_HALF_OPEN, it->home);
			return it->home;
		}
		if (remember(it, FLOW_HALF_OPEN, it->current)) { /* M2 */
			count->inserted++;
			return it->current;
		}
		if (it->current && !(home_flags & BACKEND_DEAD)) { /* M3 */
			count->deferred++;
			return it->home;
		}
		count->unremembered += !!it->current; /* M4 */
		return it->current;
	}

	if (!(home_flags & BACKEND_DEAD)) { /* M6 */
		if (it->syn_opens && it->is_closing)
			return it->home;
		is_remembered = remember(it, FLOW_OPEN, it->home);
		count->inserted += is_remembered;
		if (!is_remembered) {
			count->refused++;
			mark_pressure(it);
		}
		return it->home;
	}
	if (it->syn_opens)
		return it->current;			      /* M7 */
	is_remembered = remember(it, FLOW_OPEN, it->current); /* M8 */
	count->inserted += is_remembered;
	count->unremembered += !is_remembered && it->current;
	return it->current;
}

/* H1 to H5: the entry at `place` is this flow's. Returns the backend. */
static __always_inline __u32 hit(struct recall *it, __u32 place, __u64 entry)
{
	__u32 id = entry & BACKEND_ID_MASK, class, flags = flags_of(id);

	if (keeps(it, entry, id, flags)) {
		class = next_class(it, class_of(entry));
		it->place = place;
		if (make_entry(it, class, id) != entry) /* at most one store in a unit of the flow clock */
			write_entry(it, make_entry(it, class, id));
		return id;
	}
	if (it->syn_opens && !it->is_syn)
		return it->current; /* H4: the entry stays, for the backend may come back */

	it->place = place; /* H3, H5: as a miss, and this place counts as free */
	if (it->state == SLOT_KEEPING)
		write_entry(it, 0);
	return miss(it);
}

/* Looks for the flow's entry and for a place where one may be written. Returns the entry's place, or NO_PLACE. */
static __always_inline __u32 search(struct recall *it, __u64 *found)
{
	struct backend *backend;
	__u32 id;

	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++) {
		__u64 entry = *(volatile __u64 *)&it->bucket->entries[i];

		if (entry >> FLOW_FINGERPRINT_SHIFT == it->fingerprint >> FLOW_FINGERPRINT_SHIFT && class_of(entry)) {
			id = entry & BACKEND_ID_MASK;
			backend = bpf_map_lookup_elem(&backends, &id);
			if (backend && backend->service == it->service) {
				*found = entry;
				return i;
			}
		}
		if (it->place == NO_PLACE && is_free(it, entry))
			it->place = i;
	}
	return NO_PLACE;
}

/*
 * A program of its own, verified once. `slot_word` as in enum slot_layout; `packet`: bits 0-7 TCP flags, bit 8
 * SERVICE_SYN_OPENS, bits 16-31 the service's idle time. Returns a backend id, 0 for nobody.
 */
__attribute__((noinline)) __u32 recall(__u64 hash, __u64 slot_word, __u32 slot_index, __u32 service, __u32 packet)
{
	__u32 bits = config.cache_bits, spread = (__u32)(hash >> 32) * 2654435769U, index = spread >> (32 - bits),
	      place;
	/* Bucket and fingerprint together hold all the bits that gave the slot, so a sweep can tell it. */
	__u64 fingerprint = (spread << bits >> 4) | (hash & ((1U << (bits - 4)) - 1)), entry = 0;
	struct recall it = {
		.current = slot_word & BACKEND_ID_MASK,
		.home = slot_word >> SLOT_HOME_SHIFT & BACKEND_ID_MASK,
		.state = slot_word >> SLOT_STATE_SHIFT & 3,
		.slot_index = slot_index,
		.service = service,
		.idle = packet >> 16,
		.now = flow_clock(),
		.syn_opens = packet >> 8 & 1,
		.is_syn = (packet & (TCP_SYN | TCP_ACK)) == TCP_SYN,
		.is_closing = !!(packet & (TCP_FIN | TCP_RST)),
		.fingerprint = fingerprint << FLOW_FINGERPRINT_SHIFT,
		.place = NO_PLACE,
	};

	it.bucket = bpf_map_lookup_elem(&flow_cache, &index);
	if (!it.bucket)
		return it.current;
	place = search(&it, &entry);
	return place == NO_PLACE ? miss(&it) : hit(&it, place, entry);
}

__stage enum verdict recall_flow(struct packet *pkt)
{
	const struct service *service = pkt->service;

	if (!config.tracking || !(pkt->slot_word >> SLOT_STATE_SHIFT & 3))
		return CONTINUE;
	pkt->backend_id =
		recall(pkt->hash, pkt->slot_word, pkt->slot_index, service->id,
		       (__u32)service->idle << 16 | !!(service->flags & SERVICE_SYN_OPENS) << 8 | pkt->tcp_flags);
	return CONTINUE;
}
