/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tracked slots: the backend that a flow had before its slot's owner changed. H1 to M8 are the rules' names in
 * docs/affinity.md.
 */
#pragma once

#include "flow_cache.h"

/* The class that a packet leaves its flow's entry with. */
static __always_inline __u32 next_class(const struct recall *it, __u32 class)
{
	if (!syn_opens(it))
		return FLOW_OPEN;
	if (opens_flow(it))
		return class == FLOW_CLOSED ? FLOW_HALF_OPEN : class;
	if (is_closing(it))
		return FLOW_CLOSED;
	return class == FLOW_HALF_OPEN ? FLOW_OPEN : class;
}

/* Whether a packet that found its flow's entry goes to the backend there: H1 and H2. */
static __always_inline _Bool keeps(const struct recall *it, __u64 entry, __u32 id, __u32 flags)
{
	if (id == current_of(it))
		return 1;
	if (flags & BACKEND_DEAD)
		return 0;
	if (!opens_flow(it))
		return 1;
	return age_of(entry, it->now) <= RETRY_AGE || (class_of(entry) == FLOW_HALF_OPEN && !(flags & BACKEND_NO_NEW));
}

/*
 * Where an entry may be written: `given`, where it is one; else a place that is empty, and only where there is none the
 * first that is free: a connection that is half closed may yet go on.
 */
static __always_inline __u32 find_place(const struct recall *it, __u32 given)
{
	__u32 first = NO_PLACE;

	if (given != NO_PLACE)
		return given;
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++) {
		__u64 entry = *(volatile __u64 *)&it->bucket->entries[i];

		if (!entry)
			return i;
		if (first == NO_PLACE && is_free(it, entry))
			first = i;
	}
	return first;
}

/*
 * M1 to M8: no entry, or one that does not count: then its place is `freed`. Returns the backend. Not inlined: what it
 * keeps in registers, a hit would have to put on the stack.
 */
static __attribute__((noinline)) __u32 miss(const struct recall *it, __u32 freed)
{
	__u32 home_flags, place, home = home_of(it), current = current_of(it);
	struct flow_count *count;
	_Bool is_remembered;

	if (state_of(it) == SLOT_KEEPING)
		return current; /* M1 */

	home_flags = flags_of(home);
	if (is_message(it))
		return home_flags & BACKEND_DEAD ? current : home; /* M6, M7, but nothing is stored */
	count = counts_of_flows();
	if (!count)
		return home;
	place = find_place(it, freed);

	if (opens_flow(it)) {
		if (state_of(it) == SLOT_GRACE && !(home_flags & (BACKEND_DEAD | BACKEND_NO_NEW))) { /* M5 */
			count->inserted += remember(it, place, FLOW_HALF_OPEN, home);
			return home;
		}
		if (remember(it, place, FLOW_HALF_OPEN, current)) { /* M2 */
			count->inserted++;
			return current;
		}
		if (current && !(home_flags & BACKEND_DEAD)) { /* M3 */
			count->deferred++;
			return home;
		}
		count->unremembered += !!current; /* M4 */
		return current;
	}

	if (!(home_flags & BACKEND_DEAD)) { /* M6 */
		if (syn_opens(it) && is_closing(it))
			return home;
		is_remembered = remember(it, place, FLOW_OPEN, home);
		count->inserted += is_remembered;
		if (!is_remembered) {
			count->refused++;
			mark_pressure(it);
		}
		return home;
	}
	if (syn_opens(it))
		return current;					 /* M7 */
	is_remembered = remember(it, place, FLOW_OPEN, current); /* M8 */
	count->inserted += is_remembered;
	count->unremembered += !is_remembered && current;
	return current;
}

/* H1 to H5: the entry at `place` is this flow's; `flags` are its backend's. Returns the backend. */
static __always_inline __u32 hit(const struct recall *it, __u32 place, __u64 entry, __u32 flags)
{
	__u32 id = entry & BACKEND_ID_MASK;

	if (is_message(it) && !keeps(it, entry, id, flags))
		return syn_opens(it) ? current_of(it) : miss(it, NO_PLACE); /* H4, H5, but nothing is stored */
	if (is_message(it))
		return id;
	if (keeps(it, entry, id, flags)) {
		__u64 stamped = make_entry(it, next_class(it, class_of(entry)), id);

		if (stamped != entry) /* at most one store in a unit of the flow clock */
			write_entry(it, place, stamped);
		return id;
	}
	if (syn_opens(it) && !opens_flow(it))
		return current_of(it); /* H4: the entry stays, for the backend may come back */

	if (state_of(it) == SLOT_KEEPING) /* H3, H5: as a miss, and this place counts as free */
		write_entry(it, place, 0);
	return miss(it, place);
}

/*
 * A program of its own, verified once. `slot_word` as in enum slot_layout, `packet` as in enum flow_packet. Returns a
 * backend id, 0 for nobody.
 */
__attribute__((noinline)) __u32 recall(__u64 hash, __u64 slot_word, __u32 slot_index, __u32 service, __u32 packet)
{
	__u32 bits = config.cache_bits, spread = (__u32)(hash >> 32) * 2654435769U, index = spread >> (32 - bits);
	/* Bucket and fingerprint together hold all the bits that gave the slot, so a sweep can tell it. */
	__u64 fingerprint = (spread << bits >> 4) | (hash & ((1U << (bits - 4 - config.cache_grown)) - 1));
	struct recall it = {
		.slot_word = slot_word,
		.fingerprint = fingerprint << FLOW_FINGERPRINT_SHIFT,
		.slot_index = slot_index,
		.service = service,
		.packet = packet,
		.now = flow_clock(),
	};

	it.bucket = bpf_map_lookup_elem(&flow_cache, &index);
	if (!it.bucket)
		return current_of(&it);
	for (__u32 i = 0; i < FLOWS_PER_BUCKET; i++) {
		__u64 entry = *(volatile __u64 *)&it.bucket->entries[i];
		struct backend *backend;
		__u32 id;

		if (entry >> FLOW_FINGERPRINT_SHIFT != fingerprint || !class_of(entry))
			continue;
		id = entry & BACKEND_ID_MASK;
		backend = bpf_map_lookup_elem(&backends, &id);
		if (backend && backend->service == service)
			return hit(&it, i, entry, backend->flags);
	}
	return miss(&it, NO_PLACE);
}

__stage enum verdict recall_flow(struct packet *pkt)
{
	const struct service *service = pkt->service;

	if (!config.tracking || !(pkt->slot_word >> SLOT_STATE_SHIFT & 3))
		return CONTINUE;
	pkt->backend_id = recall(pkt->hash, pkt->slot_word, pkt->slot_index, service->id,
				 (__u32)service->idle << PACKET_IDLE_SHIFT |
					 (service->flags & SERVICE_SYN_OPENS ? PACKET_SYN_OPENS : 0) | pkt->kind);
	return CONTINUE;
}
