/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* To the backend: the rewrite by its mode, and the way out. */
#pragma once

#include "packet.h"
#include "ring.h"
#include "forward_dr.h"

/* The ways out, by backend.out_port. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} out_ports SEC(".maps");

/* The verdict of a rewritten packet: by the interface it came in, or by another. */
__stage enum verdict leave(struct packet *pkt, enum verdict tx, enum verdict redirect)
{
	if (pkt->backend->ifindex == pkt->ctx->ingress_ifindex)
		return tx;
	/* The flags are the action where the devmap has no such port: the packet had nowhere to go. */
	return bpf_redirect_map(&out_ports, pkt->backend->out_port, XDP_DROP) == XDP_REDIRECT ? redirect
											      : DROP_NO_NEXT_HOP;
}

#include "forward_tunnel.h"
#include "mss.h"
#include "too_big.h"
#include "tunnel_error.h"

__stage enum verdict forward(struct packet *pkt)
{
	pkt->backend = bpf_map_lookup_elem(&backends, &pkt->backend_id);
	if (!pkt->backend || !(pkt->backend->flags & BACKEND_RESOLVED))
		return DROP_NO_NEXT_HOP;
	if (pkt->is_message && pkt->message->kind == MESSAGE_TUNNEL_ERROR)
		return tell_client(pkt);
	if (length(pkt->l3, pkt->end) > pkt->backend->mtu)
		return answer_too_big(pkt);
	if (pkt->tcp_flags & TCP_SYN && pkt->service->flags & SERVICE_CLAMP_MSS)
		clamp_mss(pkt->ctx, length(pkt->frame, pkt->l4), pkt->backend->mtu - (pkt->is_ipv6 ? 60 : 40));
	if (pkt->backend->mode != FORWARD_DR)
		return forward_tunnel(pkt);
	rewrite_dr(pkt);
	return leave(pkt, TX_DR, REDIRECT_DR);
}
