/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How what is translated leaves towards a client: the MAC addresses, the interface; or why it does not. */
#pragma once

#include "packet.h"
#include "client_route.h"
#include "connection.h"
#include "rewrite.h"
#include "expire.h"
#include "too_big.h"

/* The two MAC addresses, as wide stores. */
static __always_inline void write_macs(void *frame, const __u8 *dst_mac, const __u8 *src_mac)
{
	*(__u64 *)frame = *(const __u64 *)dst_mac;
	*(__u32 *)(frame + 8) = *(const __u32 *)(src_mac + 2);
}

/* By a way that the kernel's tables have told. */
__stage enum verdict set_out_by_kernel(struct packet *pkt, __u64 dst_hi, __u64 dst_lo, __u32 *ifindex)
{
	struct in6_addr dst;
	struct way way = {};
	int found;

	*(__u64 *)&dst.s6_addr[0] = dst_hi;
	*(__u64 *)&dst.s6_addr[8] = dst_lo;
	found = ask_kernel(pkt->ctx, &dst, pkt->is_ipv6, &way);
	if (found == KERNEL_ROUTE_LOCAL)
		return PASS_NOT_A_SERVICE;
	if (found != KERNEL_ROUTE_HOP)
		return DROP_NO_NEXT_HOP;
	write_macs(pkt->frame, way.dst_mac, way.src_mac);
	*ifindex = way.ifindex;
	return CONTINUE;
}

/*
 * The way to a client: the frame's MAC addresses are written, and `ifindex` is where it leaves by. What is too long for
 * that way, or has come to the end of its TTL, is answered here: nothing of the packet itself has changed yet.
 */
__stage enum verdict set_out_by(struct packet *pkt, const struct client_route *route, __u64 dst_hi, __u64 dst_lo,
				__u32 *ifindex)
{
	if (!route || route->kind == CLIENT_ROUTE_NONE)
		return DROP_NO_NEXT_HOP;
	if (route->kind == CLIENT_ROUTE_LOCAL)
		return PASS_NOT_A_SERVICE;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (route->kind == CLIENT_ROUTE_KERNEL)
		return set_out_by_kernel(pkt, dst_hi, dst_lo, ifindex);
	if (length(pkt->l3, pkt->end) > route->mtu)
		return answer_too_big(pkt, route->mtu, TOO_BIG_FROM_ROUTER);
	write_macs(pkt->frame, route->dst_mac, route->src_mac);
	*ifindex = route->ifindex;
	return CONTINUE;
}

__stage enum verdict set_out(struct packet *pkt, __u64 dst_hi, __u64 dst_lo, __u32 *ifindex)
{
	return set_out_by(pkt, find_client_route(pkt->is_ipv6, dst_hi, dst_lo), dst_hi, dst_lo, ifindex);
}

/* To where the connection's client has sent its last frame from. */
__stage enum verdict set_out_as_learnt(struct packet *pkt, const struct connection *connection, __u32 *ifindex)
{
	__u32 key = connection->ifindex & config.interface_mask;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &key);
	const __u16 *hop = (const __u16 *)connection->hop_mac;
	__u16 *mac = pkt->frame;

	if (!interface || interface->ifindex != connection->ifindex)
		return DROP_NO_NEXT_HOP;
	if (is_last_hop(pkt))
		return answer_expired(pkt);
	if (length(pkt->l3, pkt->end) > interface->mtu)
		return answer_too_big(pkt, interface->mtu, TOO_BIG_FROM_ROUTER);
	for (int i = 0; i < 3; i++) {
		mac[i] = hop[i];
		mac[3 + i] = ((const __u16 *)interface->mac)[i];
	}
	*ifindex = interface->ifindex;
	return CONTINUE;
}

__stage enum verdict leave_by(struct packet *pkt, __u32 ifindex, enum verdict tx, enum verdict redirect)
{
	if (ifindex == pkt->ctx->ingress_ifindex)
		return tx;
	return bpf_redirect(ifindex, 0) == XDP_REDIRECT ? redirect : DROP_NO_NEXT_HOP;
}
