/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The words of the connection index: put in, and taken out, by compare-and-swap. */
#pragma once

#include "connection.h"
#include "connection_life.h"

#define NEARLY_FULL 6 /* words of a bucket */

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
