/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A connection is told of its packets. */
#pragma once

#include "packet.h"
#include "refuse.h"
#include "recall_connection.h"

/* The packet's connection, whichever end it came from, is told of it. */
__stage enum verdict tell_connection(struct packet *pkt, __u32 end, __u32 times)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return CONTINUE;
	return hear_packet(pkt->connection, (pkt->kind & 0xff) | end, times) ? DROP_NO_CONNECTION : CONTINUE;
}
