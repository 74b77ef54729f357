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
#include "forward_nat.h"
#include "forward_fullnat.h"

/* What few packets need: messages, SYNs, and those that are too long, or might be. */
__stage enum verdict look_closer(struct packet *pkt, __u32 mtu)
{
	if (!(pkt->backend->flags & BACKEND_RESOLVED))
		return DROP_NO_NEXT_HOP;
	if (is_message_of(pkt, MESSAGE_TUNNEL_ERROR))
		return tell_client(pkt);
	if ((config.nat || config.connections) && pkt->backend->mode >= FORWARD_NAT && is_last_hop(pkt))
		return answer_expired(pkt);
	if (config.connections && pkt->kind & PACKET_REOPENS && pkt->backend->mode != FORWARD_FULLNAT &&
	    !(pkt->backend->flags & BACKEND_BY_FLOW))
		forget(pkt->connection); /* its new backend needs none */
	if (length(pkt->l3, pkt->end) > mtu)
		return answer_too_big(pkt, mtu, 0);
	if (pkt->kind & TCP_SYN && pkt->service->flags & SERVICE_CLAMP_MSS)
		clamp_mss(pkt->ctx, length(pkt->frame, pkt->l4), mtu - (pkt->is_ipv6 ? 60 : 40));
	return CONTINUE;
}

__stage enum verdict forward(struct packet *pkt)
{
	__u32 way, mtu;

	pkt->backend = bpf_map_lookup_elem(&backends, &pkt->backend_id);
	if (!pkt->backend)
		return DROP_NO_NEXT_HOP;
	way = *(volatile __u32 *)&pkt->backend->mode; /* mode, flags and MTU together */
	mtu = way >> 16;
	/* Tags are counted with the packet here: look_closer() leaves them out. */
	if (pkt->bytes - ETH_HLEN > mtu || pkt->kind & (PACKET_IS_MESSAGE | TCP_SYN | PACKET_REOPENS)) {
		enum verdict verdict = look_closer(pkt, mtu);

		if (verdict)
			return verdict;
	}
	if ((way & (BACKEND_RESOLVED << 8 | 0xff)) != (BACKEND_RESOLVED << 8 | FORWARD_DR)) {
		if (config.nat && (way & (BACKEND_RESOLVED << 8 | 0xff)) == (BACKEND_RESOLVED << 8 | FORWARD_NAT))
			return forward_nat(pkt);
		if (config.connections &&
		    (way & (BACKEND_RESOLVED << 8 | 0xff)) == (BACKEND_RESOLVED << 8 | FORWARD_FULLNAT))
			return forward_fullnat(pkt);
		return forward_tunnel(pkt, way);
	}
	rewrite_dr(pkt);
	return leave(pkt, TX_DR, REDIRECT_DR);
}
