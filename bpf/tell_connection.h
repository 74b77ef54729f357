/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A connection is told of its packets. */
#pragma once

#include "packet.h"
#include "refuse.h"
#include "recall_connection.h"
#include "rewrite.h"

/* A segment becomes a reset, where it is: its sequence number is what its receiver waits for. */
__stage enum verdict become_reset(struct packet *pkt, struct places places)
{
	enum verdict verdict = refresh(pkt, places);
	struct tcphdr *tcp = pkt->l4;
	__u16 *word = pkt->l4 + 12, before; /* the header's length, and the flags */

	if (verdict)
		return verdict;
	if ((void *)(tcp + 1) > pkt->end)
		return DROP_TRUNCATED;
	before = *word;
	((__u8 *)word)[1] = TCP_RST | (((__u8 *)word)[1] & TCP_ACK);
	tcp->check = replace_in_checksum(tcp->check, before, *word, 0);
	return CONTINUE;
}

/* Whether it is one more segment of an established connection, within a second: most are, and nothing changes. */
static __always_inline _Bool says_nothing_new(const struct packet *pkt, __u32 times)
{
	const union life established = {
		.client_seen = SEEN_SYN | SEEN_ACK,
		.server_seen = SEEN_SYN | SEEN_ACK,
		.protocol = IPPROTO_TCP,
	};
	struct connection *connection = bpf_map_lookup_elem(&connections, &pkt->connection);
	struct connection_times *by_state = bpf_map_lookup_elem(&connection_times, &times);
	union life life;

	if (!connection || !by_state || pkt->kind & (TCP_SYN | TCP_FIN | TCP_RST))
		return 0;
	life = life_of(connection);
	if (life.expires != connection_clock() + by_state->established || life.kind <= CONNECTION_CLAIMED)
		return 0;
	life.expires = 0;
	life.kind &= ~CONNECTION_KIND_MASK; /* dropped: not this way */
	return life.word == established.word;
}

/*
 * The packet's connection, whichever end it came from, is told of it. `end`: 0 or HEAR_IS_CLIENTS; `times`: an index of
 * the connection_times.
 */
__stage enum verdict tell_connection(struct packet *pkt, struct places places, __u32 end, __u32 times)
{
	if (pkt->kind & PACKET_IS_MESSAGE || says_nothing_new(pkt, times))
		return CONTINUE;
	switch (hear_packet(pkt->connection, (pkt->kind & 0xff) | end, times)) {
	case HEARD:
		return CONTINUE;
	case HEARD_RESET_AHEAD:
		return become_reset(pkt, places);
	case HEARD_RESET_BACK:
		return refresh(pkt, places) ?: refuse_to_sender(pkt, TX_NO_CONNECTION, DROP_NO_CONNECTION);
	default:
		return DROP_NO_CONNECTION;
	}
}
