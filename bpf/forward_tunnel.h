/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnels: the packet as it came, behind an outer IP header from the balancer to the backend, and what the mode puts
 * between the two. DSCP, ECN and DF are copied outwards (RFC 6040 4.1, RFC 2003 3.1, RFC 2473 6.4); the inner packet,
 * its TTL included, stays as it is: the balancer stands for the host that owns the VIP, not for a router.
 */
#pragma once

#include "packet.h"
#include "checksum.h"
#include "gre_gue.h"

#define OUTER_TTL	64
#define FLOW_LABEL_MASK 0xfffff

/*
 * What of the packet goes into the outer headers: read before its frame is moved, and anew from the frame, so that the
 * verifier need not follow each way that led here.
 */
struct inner {
	__u32 len;	 /* bytes, by its IP header */
	__u32 l3_offset; /* bytes of Ethernet header and VLAN tags */
	__u32 vlan[2];	 /* the tags' eight bytes as they lie in the frame: ethertype, tag */
	__u16 sum;	 /* of its bytes, where the outer UDP checksum wants them */
	__u8 tos;	 /* DSCP and ECN */
	__u8 protocol;	 /* as the header ahead of it names it: IPPROTO_IPIP, IPPROTO_IPV6 */
	_Bool is_df;	 /* IPv6 is never fragmented on its way */
};

static __always_inline enum verdict read_inner(struct packet *pkt, struct inner *inner)
{
	void *frame = frame_start(pkt->ctx), *end = frame_end(pkt->ctx), *l3;

	inner->len = bounded(length(pkt->l3, pkt->l4) + pkt->l4_len, 0x1ffff);
	inner->l3_offset = bounded(length(pkt->frame, pkt->l3), 0x1f);
	l3 = frame + inner->l3_offset;
	if (frame + L3_OFFSET_MAX > end || l3 + sizeof(struct iphdr) > end)
		return DROP_TRUNCATED;
	if (*(__u8 *)l3 >> 4 == 6) {
		inner->protocol = IPPROTO_IPV6;
		inner->tos = bpf_ntohs(*(__be16 *)l3) >> 4;
		inner->is_df = 1;
	} else {
		struct iphdr *ip = l3;

		inner->protocol = IPPROTO_IPIP;
		inner->tos = ip->tos;
		inner->is_df = !!(ip->frag_off & bpf_htons(IP_DF));
	}
	inner->vlan[0] = *(__u32 *)(frame + 2 * ETH_ALEN);
	inner->vlan[1] = *(__u32 *)(frame + 2 * ETH_ALEN + sizeof(struct vlan_tag));
	return inner->len > length(l3, end) ? DROP_TRUNCATED : CONTINUE;
}

static __always_inline _Bool is_udp_without_checksum(void *l4, void *end)
{
	struct udphdr *udp = l4;

	return (void *)(udp + 1) <= end && !udp->check;
}

/*
 * A program of its own: the sum of an inner packet of `len` bytes. Where it can be told without reading the payload, it
 * is: an L4 checksum makes the segment's sum the complement of its pseudo header's, and an IPv4 header's own makes that
 * sum zero (as lightweight checksum offload does it).
 */
__attribute__((noinline)) __u32 sum_inner(struct xdp_md *ctx, __u32 l3_offset, __u32 len)
{
	void *l3 = frame_start(ctx) + bounded(l3_offset, 0x1f), *end = frame_end(ctx);
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip = l3;

	if ((void *)(ip + 1) > end)
		return 0;
	if (ip->version == 4 && ip->ihl == 5) {
		__u64 pseudo = (__u64)bpf_htonl(len - sizeof(*ip)) + bpf_htonl(ip->protocol);

		if (ip->protocol == IPPROTO_TCP ||
		    (ip->protocol == IPPROTO_UDP && !is_udp_without_checksum(ip + 1, end)))
			return fold_checksum(pseudo + ip->saddr + ip->daddr);
	} else if (ip->version == 6 && (void *)(ip6 + 1) <= end) {
		__u64 pseudo = (__u64)bpf_htonl(len - sizeof(*ip6)) + bpf_htonl(ip6->nexthdr);

		/* The addresses are in both, and cancel out. */
		if (ip6->nexthdr == IPPROTO_TCP ||
		    (ip6->nexthdr == IPPROTO_UDP && !is_udp_without_checksum(ip6 + 1, end)))
			return (__u16)~fold_checksum(sum_words((__u32 *)ip6, 2) + fold_checksum(pseudo));
	}
	/* No checksum to go by, or headers that none covers. */
	return (__u16)~fold_checksum(sum_frame(ctx, bounded(l3_offset, 0x1f), len));
}

/* Ethernet header and tags ahead of the outer IP header. */
static __always_inline void write_l2(void *frame, const struct backend *backend, const struct inner *inner,
				     __be16 ethertype)
{
	void *next = frame + 2 * ETH_ALEN;

	*(__u64 *)frame = *(__u64 *)backend->dst_mac;
	*(__u32 *)(frame + 8) = *(__u32 *)(backend->src_mac + 2);
	if (inner->l3_offset > ETH_HLEN) {
		*(__u32 *)next = inner->vlan[0];
		next += sizeof(struct vlan_tag);
	}
	if (inner->l3_offset > ETH_HLEN + sizeof(struct vlan_tag)) {
		*(__u32 *)next = inner->vlan[1];
		next += sizeof(struct vlan_tag);
	}
	*(__be16 *)next = ethertype;
}

static __always_inline __u8 outer_protocol(const struct backend *backend, const struct inner *inner)
{
	switch (backend->mode) {
	case FORWARD_GRE:
		return IPPROTO_GRE;
	case FORWARD_GUE:
		return IPPROTO_UDP;
	default:
		return inner->protocol;
	}
}

static __always_inline void write_outer_ipv4(__u32 *ip, __u64 hash, const struct backend *backend,
					     const struct inner *inner, __u32 len)
{
	__be32 source = *(__be32 *)&backend->source.s6_addr[12];
	__u32 id = 0;

	if (backend->spread) {
		__u32 fixed = backend->spread < 32 ? ~0U << (backend->spread & 31) : 0;

		source = (source & bpf_htonl(fixed)) | bpf_htonl((__u32)hash & ~fixed);
	}
	if (!inner->is_df)
		id = bpf_get_prandom_u32() & 0xffff;
	ip[0] = bpf_htonl(0x45U << 24 | inner->tos << 16 | len);
	ip[1] = bpf_htonl(id << 16 | (inner->is_df ? IP_DF : 0));
	ip[2] = bpf_htonl(OUTER_TTL << 24 | outer_protocol(backend, inner) << 16);
	ip[3] = source;
	ip[4] = *(__be32 *)&backend->addr.s6_addr[12];
	*((__u16 *)ip + 5) = fold_checksum((__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]);
}

static __always_inline void write_outer_ipv6(struct ipv6hdr *ip, __u64 hash, const struct backend *backend,
					     const struct inner *inner, __u32 payload_len)
{
	__u64 low = load_u64(backend->source.s6_addr + 8);

	if (backend->spread) {
		__u64 fixed = backend->spread < 64 ? ~0ULL << (backend->spread & 63) : 0;

		low = (low & bpf_cpu_to_be64(fixed)) | bpf_cpu_to_be64(hash & ~fixed);
	}
	/* Never 0, which says that there is no label. */
	*(__be32 *)ip = bpf_htonl(6U << 28 | inner->tos << 20 | (hash & FLOW_LABEL_MASK) | 1);
	*((__be32 *)ip + 1) = bpf_htonl(payload_len << 16 | outer_protocol(backend, inner) << 8 | OUTER_TTL);
	*(__u64 *)&ip->saddr.s6_addr[0] = load_u64(backend->source.s6_addr);
	*(__u64 *)&ip->saddr.s6_addr[8] = low;
	*(__u64 *)&ip->daddr.s6_addr[0] = load_u64(backend->addr.s6_addr);
	*(__u64 *)&ip->daddr.s6_addr[8] = load_u64(backend->addr.s6_addr + 8);
}

/* Bytes between the outer IP header and the packet. */
static __always_inline __u32 shim_len(const struct backend *backend)
{
	switch (backend->mode) {
	case FORWARD_GRE:
		return sizeof(struct gre_header) + (backend->flags & BACKEND_KEYED ? sizeof(__be32) : 0);
	case FORWARD_GUE:
		return sizeof(struct udphdr) + (backend->flags & BACKEND_BARE ? 0 : sizeof(struct gue_header));
	default:
		return 0;
	}
}

/* What lies between the outer IP header and the packet; -1: the frame is too short for it. */
static __always_inline int write_shim(struct packet *pkt, const struct backend *backend, const struct inner *inner,
				      void *shim, __u32 len)
{
	if (backend->mode == FORWARD_GRE) {
		struct gre_header *gre = shim;

		if ((void *)(gre + 1) > pkt->end)
			return -1;
		gre->flags = 0;
		gre->protocol = inner->protocol == IPPROTO_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
		if (backend->flags & BACKEND_KEYED) {
			if ((void *)&gre->key[1] > pkt->end)
				return -1;
			gre->flags = bpf_htons(GRE_HAS_KEY);
			gre->key[0] = backend->key;
		}
	} else if (backend->mode == FORWARD_GUE) {
		struct udphdr *udp = shim;
		struct gue_header *gue = (void *)(udp + 1);

		if ((void *)(udp + 1) > pkt->end)
			return -1;
		udp->source = bpf_htons(GUE_SOURCE_PORTS | (pkt->hash & GUE_SOURCE_PORT_MASK));
		udp->dest = *(__be16 *)&backend->key;
		udp->len = bpf_htons(len);
		udp->check = 0; /* over IPv6 there has to be one (RFC 8200 8.1): write_udp_checksum() */
		if (!(backend->flags & BACKEND_BARE)) {
			if ((void *)(gue + 1) > pkt->end)
				return -1;
			*gue = (struct gue_header){ .protocol = inner->protocol };
		}
	}
	return 0;
}

static __always_inline int write_udp_checksum(struct packet *pkt, const struct backend *backend,
					      const struct inner *inner, struct ipv6hdr *ip, __u32 len)
{
	struct udphdr *udp = (void *)(ip + 1);
	__u64 sum = (__u64)inner->sum + bpf_htonl(len) + bpf_htonl(IPPROTO_UDP);

	if ((void *)(udp + 1) > pkt->end)
		return -1;
	if (!(backend->flags & BACKEND_BARE))
		sum += bpf_htons(inner->protocol); /* the GUE header */
	sum += sum_words((__u32 *)&ip->saddr, 8) + sum_words((__u32 *)udp, 2);
	udp->check = fold_checksum(sum) ?: 0xffff;
	return 0;
}

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
