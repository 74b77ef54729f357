/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How what is translated leaves towards a client, or why it does not. What is too long for its way, or has come to the
 * end of its TTL, is answered here, before anything of the packet changes.
 */
#pragma once

#include "packet.h"
#include "client_route.h"
#include "connection.h"
#include "rewrite.h"
#include "expire.h"
#include "too_big.h"

/* Its length: the packet's, without the tags. */
static __always_inline __u32 packet_len(const struct packet *pkt)
{
	return length(pkt->l3, pkt->end);
}

/* Whether a packet goes by this next hop, and no more is to be said. */
static __always_inline _Bool is_plain_way(const struct packet *pkt, const struct client_route *route)
{
	return route && route->kind == CLIENT_ROUTE_HOP && packet_len(pkt) <= route->mtu && !is_last_hop(pkt);
}

static __always_inline enum verdict find_way_by_kernel(struct packet *pkt, __u64 dst_hi, __u64 dst_lo, int grows,
						       const struct way **way)
{
	__u32 found = ask_kernel(pkt->ctx, dst_hi, dst_lo, pkt->is_ipv6 ^ !!grows, packet_len(pkt) + grows);

	if (found == KERNEL_ROUTE_LOCAL)
		return PASS_NOT_A_SERVICE;
	if (found == KERNEL_ROUTE_NONE)
		return DROP_NO_NEXT_HOP;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (found != KERNEL_ROUTE_HOP)
		return answer_too_big(pkt, (found >> 8) - grows & 0xffff, TOO_BIG_FROM_ROUTER);
	*way = this_way();
	return *way ? CONTINUE : DROP_NO_NEXT_HOP;
}

/* By the entry for the client's address. `grows`: bytes by which the packet gets longer, into the other family. */
static __always_inline enum verdict find_way_by(struct packet *pkt, const struct client_route *route, __u64 dst_hi,
						__u64 dst_lo, int grows, const struct way **way)
{
	if (!route || route->kind == CLIENT_ROUTE_NONE)
		return DROP_NO_NEXT_HOP;
	if (route->kind == CLIENT_ROUTE_LOCAL)
		return PASS_NOT_A_SERVICE;
	if (route->kind == CLIENT_ROUTE_KERNEL)
		return find_way_by_kernel(pkt, dst_hi, dst_lo, grows, way);
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (packet_len(pkt) + grows > route->mtu)
		return answer_too_big(pkt, (route->mtu - grows) & 0xffff, TOO_BIG_FROM_ROUTER);
	*way = (const struct way *)route->dst_mac;
	return CONTINUE;
}

static __always_inline enum verdict find_way(struct packet *pkt, __u64 dst_hi, __u64 dst_lo, const struct way **way)
{
	return find_way_by(pkt, find_client_route(pkt->is_ipv6, dst_hi, dst_lo), dst_hi, dst_lo, 0, way);
}

/* To where the connection's client has sent its last frame from. */
static __always_inline enum verdict find_way_as_learnt(struct packet *pkt, const struct connection *connection,
						       int grows, const struct way **found)
{
	__u32 key = connection->ifindex & config.interface_mask;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &key);
	struct way *way = this_way();

	if (!way || !interface || interface->ifindex != connection->ifindex)
		return DROP_NO_NEXT_HOP;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (packet_len(pkt) + grows > interface->mtu)
		return answer_too_big(pkt, (interface->mtu - grows) & 0xffff, TOO_BIG_FROM_ROUTER);
	__builtin_memcpy(way->dst_mac, connection->hop_mac, sizeof(way->dst_mac));
	__builtin_memcpy(way->src_mac, interface->mac, sizeof(way->src_mac));
	way->ifindex = interface->ifindex;
	*found = way;
	return CONTINUE;
}

/* Last of all: a packet that is dropped has not changed. The two MAC addresses, as wide stores. */
__stage enum verdict leave_by(struct packet *pkt, const struct way *way, enum verdict tx, enum verdict redirect)
{
	*(__u64 *)pkt->frame = *(const __u64 *)way->dst_mac;
	*(__u32 *)(pkt->frame + 8) = *(const __u32 *)(way->src_mac + 2);
	if (way->ifindex == pkt->ctx->ingress_ifindex)
		return tx;
	return bpf_redirect(way->ifindex, 0) == XDP_REDIRECT ? redirect : DROP_NO_NEXT_HOP;
}
