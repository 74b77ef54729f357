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
						    const struct inner *inner, __u8 mode, struct shim shim)
{
	__u32 len = sizeof(struct iphdr) + shim.len;
	struct iphdr *ip;
	void *frame;

	if (bpf_xdp_adjust_head(pkt->ctx, -(int)len))
		return DROP_NO_HEADROOM;
	frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	ip = frame + inner->l3_offset;
	if ((inner->l3_offset != ETH_HLEN && frame + L3_OFFSET_MAX > pkt->end) || (void *)(ip + 1) > pkt->end)
		return DROP_NO_HEADROOM;
	write_l2(frame, backend, inner, bpf_htons(ETH_P_IP));
	write_outer_ipv4((__u32 *)ip, pkt->hash, backend, inner, shim.protocol, len + inner->len);
	if (!shim.len)
		return CONTINUE;
	return write_shim(pkt, mode, backend, inner, ip + 1, shim.len + inner->len) ? DROP_NO_HEADROOM : CONTINUE;
}

static __always_inline enum verdict push_outer_ipv6(struct packet *pkt, const struct backend *backend,
						    struct inner *inner, __u8 mode, struct shim shim)
{
	__u32 len = shim.len + inner->len;
	struct ipv6hdr *ip;
	void *frame;

	if (shim.protocol == IPPROTO_UDP)
		inner->sum = sum_inner(pkt->ctx, inner->l3_offset, inner->len);
	if (bpf_xdp_adjust_head(pkt->ctx, -(int)(sizeof(*ip) + shim.len)))
		return DROP_NO_HEADROOM;
	frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	ip = frame + inner->l3_offset;
	if ((inner->l3_offset != ETH_HLEN && frame + L3_OFFSET_MAX > pkt->end) || (void *)(ip + 1) > pkt->end)
		return DROP_NO_HEADROOM;
	write_l2(frame, backend, inner, bpf_htons(ETH_P_IPV6));
	write_outer_ipv6(ip, pkt->hash, backend, inner, shim.protocol, len);
	if (!shim.len)
		return CONTINUE;
	if (write_shim(pkt, mode, backend, inner, ip + 1, len))
		return DROP_NO_HEADROOM;
	if (shim.protocol == IPPROTO_UDP && write_udp_checksum(pkt, backend, inner, ip, len))
		return DROP_NO_HEADROOM;
	return CONTINUE;
}

__stage enum verdict push_outer(struct packet *pkt, __u32 l3_offset, __u8 mode, _Bool is_ipv6)
{
	const struct backend *backend = pkt->backend;
	struct inner inner = {};
	enum verdict verdict = read_inner(pkt, &inner, l3_offset, is_ipv6);
	struct shim shim;

	if (verdict)
		return verdict;
	shim = shim_of(mode, backend, &inner);
	return is_ipv4_mapped(&backend->addr) ? push_outer_ipv4(pkt, backend, &inner, mode, shim)
					      : push_outer_ipv6(pkt, backend, &inner, mode, shim);
}

static __always_inline enum verdict push_outer_untagged(struct packet *pkt, __u8 mode)
{
	return pkt->is_ipv6 ? push_outer(pkt, ETH_HLEN, mode, 1) : push_outer(pkt, ETH_HLEN, mode, 0);
}

/*
 * `way`: the backend's mode and flags, as in forward(). Inlined more than once: the commonest packets' headers are
 * mostly constants then, and that is worth 5 ns.
 */
__stage enum verdict forward_tunnel(struct packet *pkt, __u32 way)
{
	_Bool is_untagged = pkt->l3 == pkt->frame + ETH_HLEN;
	__u8 mode = way;

	if (!(way & BACKEND_RESOLVED << 8))
		return DROP_NO_NEXT_HOP;
	if (is_untagged && mode == FORWARD_IPIP)
		return push_outer_untagged(pkt, FORWARD_IPIP) ?: leave(pkt, TX_IPIP, REDIRECT_IPIP);
	if (is_untagged && mode == FORWARD_GUE)
		return push_outer_untagged(pkt, FORWARD_GUE) ?: leave(pkt, TX_GUE, REDIRECT_GUE);
	return push_outer(pkt, bounded(length(pkt->frame, pkt->l3), 0x1f), mode, pkt->is_ipv6)
		     ?: leave(pkt, TX_IPIP - FORWARD_IPIP + mode, REDIRECT_IPIP - FORWARD_IPIP + mode);
}
