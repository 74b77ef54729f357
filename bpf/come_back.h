/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes to no service may be a reply: translated back, and on to its client. All else is the host's own traffic. */
#pragma once

#include "packet.h"
#include "replies.h"
#include "client_route.h"
#include "rewrite.h"
#include "translate_message.h"
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
__stage enum verdict set_out(struct packet *pkt, __u64 dst_hi, __u64 dst_lo, __u32 *ifindex)
{
	struct client_route *route = find_client_route(pkt->is_ipv6, dst_hi, dst_lo);

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

__stage enum verdict leave_by(struct packet *pkt, __u32 ifindex, enum verdict tx, enum verdict redirect)
{
	if (ifindex == pkt->ctx->ingress_ifindex)
		return tx;
	return bpf_redirect(ifindex, 0) == XDP_REDIRECT ? redirect : DROP_NO_NEXT_HOP;
}

/* An error about what a client has sent to a backend. */
__stage enum verdict come_back_message_nat(struct packet *pkt, const struct reply *reply)
{
	struct message *to = &pkt->message;

	to->src_hi = load_u64(reply->vip.s6_addr);
	to->src_lo = load_u64(reply->vip.s6_addr + 8);
	if (reply->vip_port)
		to->ports = (to->ports & 0xffff0000) | reply->vip_port;
	return translate_message(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4),
				 pkt->is_ipv6 ? MESSAGE_IS_IPV6 : 0, to)
		     ? DROP_TRUNCATED
		     : CONTINUE;
}

/* From a backend to a client of its, for all that the packet tells. */
__stage enum verdict come_back_nat(struct packet *pkt, const struct reply *reply)
{
	__u32 ports = pkt->ports, ifindex = 0;
	enum verdict verdict;

	settle(pkt);
	verdict = check_destination_mac(pkt) ?: parse_l4(pkt);
	if (verdict)
		return verdict;
	if (is_syn(pkt))
		return PASS_NOT_A_SERVICE; /* a connection of the backend's own */
	verdict = set_out(pkt, pkt->dst_hi, pkt->dst_lo, &ifindex);
	if (verdict)
		return verdict;
	pkt->backend_id = reply->id;
	if (pkt->kind & PACKET_IS_MESSAGE)
		return come_back_message_nat(pkt, reply) ?: leave_by(pkt, ifindex, TX_NAT_REPLY, REDIRECT_NAT_REPLY);
	if (reply->vip_port)
		ports = (ports & 0xffff0000) | reply->vip_port;
	if (rewrite(pkt, &reply->vip, NULL, ports, reply->l4_delta, reply->l3_delta))
		return DROP_TRUNCATED;
	return leave_by(pkt, ifindex, TX_NAT_REPLY, REDIRECT_NAT_REPLY);
}

/* ::ffff:a.b.c.d on the wire is not a.b.c.d, though a table's key is the same. */
static __always_inline _Bool is_mapped_on_wire(const struct packet *pkt)
{
	if (!pkt->is_ipv6)
		return 0;
	return (!pkt->src_hi && (__u32)pkt->src_lo == (__u32)IPV4_MAPPED_PREFIX) ||
	       (!pkt->dst_hi && (__u32)pkt->dst_lo == (__u32)IPV4_MAPPED_PREFIX);
}

__stage enum verdict come_back(struct packet *pkt)
{
	struct reply *reply;

	if (pkt->service || !(config.nat || config.connections))
		return CONTINUE;
	if (is_mapped_on_wire(pkt))
		return PASS_NOT_A_SERVICE;
	if (config.nat) {
		reply = lookup_nat_reply(pkt->src_hi, pkt->src_lo, pkt->protocol, pkt->ports);
		if (reply)
			return come_back_nat(pkt, reply);
	}
	return PASS_NOT_A_SERVICE;
}
