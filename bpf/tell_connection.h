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

/*
 * The packet's connection, whichever end it came from, is told of it. `end`: 0 or HEAR_IS_CLIENTS; `times`: an index of
 * the connection_times.
 */
__stage enum verdict tell_connection(struct packet *pkt, struct places places, __u32 end, __u32 times)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
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
