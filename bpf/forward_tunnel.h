/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnels: the packet as it came, behind an outer IP header from the balancer to the backend, and what the mode puts
 * between the two. DSCP, ECN and DF are copied outwards (RFC 6040 4.1, RFC 2003 3.1, RFC 2473 6.4); the inner packet,
 * its TTL included, stays as it is: the balancer stands for the host that owns the VIP, not for a router.
 */
#pragma once

#include "packet.h"
#include "outer.h"

static __always_inline enum verdict push_outer_ipv4(struct packet *pkt, const struct backend *backend,
						    const struct inner *inner)
{
	__u32 shim = shim_len(backend), len = sizeof(struct iphdr) + shim;
	struct iphdr *ip;

	if (bpf_xdp_adjust_head(pkt->ctx, -(int)len))
		return DROP_NO_HEADROOM;
	pkt->frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	ip = pkt->frame + inner->l3_offset;
	if (pkt->frame + L3_OFFSET_MAX > pkt->end || (void *)(ip + 1) > pkt->end)
		return DROP_NO_HEADROOM;
	write_l2(pkt->frame, backend, inner, bpf_htons(ETH_P_IP));
	write_outer_ipv4((__u32 *)ip, pkt->hash, backend, inner, len + inner->len);
	return write_shim(pkt, backend, inner, ip + 1, shim + inner->len) ? DROP_NO_HEADROOM : CONTINUE;
}

static __always_inline enum verdict push_outer_ipv6(struct packet *pkt, const struct backend *backend,
						    struct inner *inner)
{
	__u32 shim = shim_len(backend), len = shim + inner->len;
	struct ipv6hdr *ip;

	if (backend->mode == FORWARD_GUE)
		inner->sum = sum_inner(pkt->ctx, inner->l3_offset, inner->len);
	if (bpf_xdp_adjust_head(pkt->ctx, -(int)(sizeof(*ip) + shim)))
		return DROP_NO_HEADROOM;
	pkt->frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	ip = pkt->frame + inner->l3_offset;
	if (pkt->frame + L3_OFFSET_MAX > pkt->end || (void *)(ip + 1) > pkt->end)
		return DROP_NO_HEADROOM;
	write_l2(pkt->frame, backend, inner, bpf_htons(ETH_P_IPV6));
	write_outer_ipv6(ip, pkt->hash, backend, inner, len);
	if (write_shim(pkt, backend, inner, ip + 1, len))
		return DROP_NO_HEADROOM;
	if (backend->mode == FORWARD_GUE && write_udp_checksum(pkt, backend, inner, ip, len))
		return DROP_NO_HEADROOM;
	return CONTINUE;
}

__stage enum verdict forward_tunnel(struct packet *pkt)
{
	const struct backend *backend = pkt->backend;
	struct inner inner = {};
	enum verdict verdict;

	verdict = read_inner(pkt, &inner);
	if (verdict)
		return verdict;
	verdict = is_ipv4_mapped(&backend->addr) ? push_outer_ipv4(pkt, backend, &inner)
						 : push_outer_ipv6(pkt, backend, &inner);
	if (verdict)
		return verdict;
	return leave(pkt, TX_IPIP - FORWARD_IPIP + backend->mode, REDIRECT_IPIP - FORWARD_IPIP + backend->mode);
}
