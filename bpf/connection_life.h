/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long a connection lives: its state follows from what both ends have said, and its time from the state. What
 * changes, changes by compare-and-swap of one word: an entry that has run out may be another CPU's in the next moment.
 */
#pragma once

#include "connection.h"
#include "busy_groups.h"

#define LIFE_TRIES 4 /* both ends may speak at once */

/* A connection's word of life. */
union life {
	struct {
		__u32 expires;
		__u8 client_seen;
		__u8 server_seen;
		__u8 protocol;
		__u8 kind;
	};
	__u64 word;
};

static __always_inline union life life_of(const struct connection *connection)
{
	union life life = { .word = *(const volatile __u64 *)&connection->expires };

	return life;
}

static __always_inline _Bool change_life(struct connection *connection, union life from, union life to)
{
	return __sync_val_compare_and_swap((__u64 *)&connection->expires, from.word, to.word) == from.word;
}

static __always_inline _Bool is_over(union life life, __u32 now)
{
	return (__s32)(now - life.expires) > 0;
}

static __always_inline enum connection_state state_of_life(union life life)
{
	__u8 client = life.client_seen, server = life.server_seen;

	if (life.protocol != IPPROTO_TCP)
		return client & SEEN_ACK ? STATE_UDP : STATE_UDP_ONCE;
	if ((client | server) & SEEN_RST)
		return STATE_CLOSE;
	if (client & server & SEEN_FIN)
		return client & SEEN_FIN_FIRST ? STATE_LAST_ACK : STATE_TIME_WAIT;
	if (client & SEEN_FIN)
		return STATE_CLOSE_WAIT;
	if (server & SEEN_FIN)
		return STATE_FIN_WAIT;
	if (!(server & SEEN_SYN))
		return STATE_SYN_SENT;
	return client & SEEN_ACK ? STATE_ESTABLISHED : STATE_SYN_RECEIVED;
}

/* Seconds; `times` is an index of the connection_times. */
static __always_inline __u32 lifetime(union life life, __u32 times)
{
	struct connection_times *by_state = bpf_map_lookup_elem(&connection_times, &times);
	__u32 state = bounded(state_of_life(life), 0xf);

	return by_state ? ((const __u16 *)by_state)[state] : 0;
}

/* What an end's packet adds to what it has said; `other` is what the other end has. `kind` as of struct packet. */
static __always_inline __u8 hear_end(__u8 seen, __u8 other, __u8 protocol, __u32 kind)
{
	if (protocol != IPPROTO_TCP)
		return seen & SEEN_SYN ? seen | SEEN_ACK : seen | SEEN_SYN;
	if (kind & TCP_RST)
		return seen | SEEN_RST;
	seen &= ~SEEN_RST; /* it goes on: that reset was none */
	seen |= kind & TCP_SYN ? SEEN_SYN : SEEN_ACK;
	if (kind & TCP_FIN && !(seen & SEEN_FIN))
		seen |= other & SEEN_FIN ? SEEN_FIN : SEEN_FIN | SEEN_FIN_FIRST;
	return seen;
}

static __always_inline union life next_life(union life life, __u32 kind, _Bool is_clients, __u32 times, __u32 now)
{
	if (is_clients)
		life.client_seen = hear_end(life.client_seen, life.server_seen, life.protocol, kind);
	else
		life.server_seen = hear_end(life.server_seen, life.client_seen, life.protocol, kind);
	if (life.protocol == IPPROTO_TCP && !(kind & TCP_RST)) {
		life.client_seen &= ~SEEN_RST;
		life.server_seen &= ~SEEN_RST;
	}
	life.expires = now + lifetime(life, times);
	return life;
}

#define HEAR_IS_CLIENTS (1U << 16) /* with `kind` */

/* What becomes of a packet of a connection. */
enum heard {
	HEARD = 0,
	HEARD_NOTHING,	   /* the entry is another connection's now */
	HEARD_RESET_AHEAD, /* dropped by the operator: the packet becomes a reset to the other end */
	HEARD_RESET_BACK,  /* dropped by the operator: its sender is answered with a reset */
};

/* A connection that the operator has dropped: each end is told once by the other's packet, then by the answer to its
 * own. */
static __always_inline enum heard hear_dropped(struct connection *connection, __u32 index, union life life,
					       _Bool is_clients, __u32 times, __u32 now)
{
	__u8 ahead = is_clients ? CONNECTION_SERVER_TOLD : CONNECTION_CLIENT_TOLD;
	enum heard heard = life.kind & ahead ? HEARD_RESET_BACK : HEARD_RESET_AHEAD;
	union life next = life;

	if (life.protocol != IPPROTO_TCP)
		return HEARD_NOTHING;
	next.kind |= heard == HEARD_RESET_AHEAD ? ahead : CONNECTION_CLIENT_TOLD | CONNECTION_SERVER_TOLD;
	next.client_seen |= SEEN_RST;
	next.expires = now + lifetime(next, times);
	if (next.word != life.word && change_life(connection, life, next))
		shorten_busy(index, next.expires);
	return heard;
}

/* A program of its own: a packet of a connection, from one of its ends. Returns an enum heard. */
__attribute__((noinline)) int hear_packet(__u32 index, __u32 kind_and_end, __u32 times)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	__u32 now = connection_clock();
	union life life, next;

	if (!connection)
		return HEARD_NOTHING;
	life = life_of(connection);
	if (life.kind & CONNECTION_DROPPED)
		return hear_dropped(connection, index, life, !!(kind_and_end & HEAR_IS_CLIENTS), times, now);
	for (int i = 0; i < LIFE_TRIES; i++) {
		if ((life.kind & CONNECTION_KIND_MASK) <= CONNECTION_CLAIMED)
			return HEARD_NOTHING;
		next = next_life(life, kind_and_end, !!(kind_and_end & HEAR_IS_CLIENTS), times, now);
		if (next.word == life.word)
			return HEARD;
		if (change_life(connection, life, next)) {
			if ((__s32)(life.expires - next.expires) > 0)
				shorten_busy(index, next.expires);
			return HEARD;
		}
		life = life_of(connection);
	}
	return HEARD;
}
