/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What cannot be translated is refused as what has no backend is, under a verdict of its own. */
#pragma once

#include "reject.h"

/* `tx`, if its sender is told, else `drop`. Offsets and the family as the frame has them. */
__stage enum verdict refuse_to_sender(struct packet *pkt, enum verdict tx, enum verdict drop)
{
	int answered;

	if (pkt->kind & PACKET_IS_MESSAGE)
		return drop;
	answered = reject(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4), pkt->l4_len,
			  (__u32)pkt->is_ipv6 << 8 | pkt->protocol);
	if (answered == TX_REJECT_RST || answered == TX_REJECT_UNREACHABLE)
		return tx;
	return answered == DROP_REJECT_LIMITED ? DROP_REJECT_LIMITED : drop;
}

/* A service's packet: by its policy. */
__stage enum verdict refuse(struct packet *pkt, enum verdict tx, enum verdict drop)
{
	return pkt->service->flags & SERVICE_REJECT ? refuse_to_sender(pkt, tx, drop) : drop;
}
