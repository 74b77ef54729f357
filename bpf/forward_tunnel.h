/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnels: the packet as it came, behind an outer IP header from the balancer to the backend, and what the mode puts
 * between the two. DSCP, ECN and DF are copied outwards (RFC 6040 4.1, RFC 2003 3.1, RFC 2473 6.4); the inner packet,
 * its TTL included, stays as it is: the balancer stands for the host that owns the VIP, not for a router.
 */
#pragma once

#include "packet.h"
#include "checksum.h"

#define OUTER_TTL 64

#define IP_DF		     0x4000
#define GRE_HAS_KEY	     0x2000
#define GUE_SOURCE_PORTS     0xc000 /* from here on: 14 bits of the flow hash follow */
#define GUE_SOURCE_PORT_MASK 0x3fff
#define FLOW_LABEL_MASK	     0xfffff

struct gre_header {
	__be16 flags;
	__be16 protocol;
	__be32 key[]; /* with GRE_HAS_KEY */
};

struct gue_header {
	__u8 version_and_length; /* 0, and no optional fields */
	__u8 protocol;
	__be16 flags;
};

/* What of the packet goes into the outer headers: read before its frame is moved. */
struct inner {
	__u32 len;	  /* bytes, by its IP header */
	__u8 tos;	  /* DSCP and ECN */
	_Bool is_df;	  /* IPv6 is never fragmented on its way */
	__u32 l3_offset;  /* bytes of Ethernet header and VLAN tags */
	__u32 vlan[2];	  /* the tags' eight bytes as they lie in the frame: ethertype, tag */
	__u16 sum_folded; /* of its bytes, where the outer UDP checksum wants them */
};

static __always_inline void read_inner(const struct packet *pkt, struct inner *inner)
{
	inner->l3_offset = length(pkt->frame, pkt->l3);
	inner->len = length(pkt->l3, pkt->l4) + pkt->l4_len;
	if (pkt->is_ipv6) {
		inner->tos = bpf_ntohs(*(__be16 *)pkt->l3) >> 4;
		inner->is_df = 1;
	} else {
		struct iphdr *ip = pkt->l3;

		inner->tos = ip->tos;
		inner->is_df = !!(ip->frag_off & bpf_htons(IP_DF));
	}
	if (inner->l3_offset > ETH_HLEN)
		inner->vlan[0] = *(__u32 *)(pkt->frame + 2 * ETH_ALEN);
	if (inner->l3_offset > ETH_HLEN + sizeof(struct vlan_tag))
		inner->vlan[1] = *(__u32 *)(pkt->frame + 2 * ETH_ALEN + sizeof(struct vlan_tag));
}

/*
 * The sum of an inner packet without reading its payload: an L4 checksum makes the segment's sum the complement of its
 * pseudo header's, and an IPv4 header's own makes that sum zero (as lightweight checksum offload does it).
 */
static __always_inline __u16 sum_inner(const struct packet *pkt, const struct inner *inner)
{
	struct ipv6hdr *ip = pkt->l3;
	__u64 pseudo = (__u64)bpf_htonl(pkt->l4_len) + bpf_htonl(pkt->protocol);

	/* No checksum to go by, or headers that none covers. */
	if ((pkt->protocol == IPPROTO_UDP && !((struct udphdr *)pkt->l4)->check) ||
	    (pkt->is_ipv6 && pkt->l4 != (void *)(ip + 1)))
		return ~fold_checksum(sum_frame(pkt->ctx, inner->l3_offset, inner->len));
	if (pkt->is_ipv6) /* the addresses are in both, and cancel out */
		return ~fold_checksum(sum_words((__u32 *)ip, 2) + fold_checksum(pseudo));
	return fold_checksum(pseudo + (pkt->src_lo >> 32) + (pkt->dst_lo >> 32));
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

static __always_inline void write_outer_ipv4(__u32 *ip, const struct packet *pkt, const struct inner *inner, __u32 len,
					     __u8 protocol)
{
	const struct backend *backend = pkt->backend;
	__be32 source = *(__be32 *)&backend->source.s6_addr[12];
	__u32 id = 0;

	if (backend->spread) {
		__u32 fixed = backend->spread < 32 ? ~0U << (backend->spread & 31) : 0;

		source = (source & bpf_htonl(fixed)) | bpf_htonl((__u32)pkt->hash & ~fixed);
	}
	if (!inner->is_df)
		id = bpf_get_prandom_u32() & 0xffff;
	ip[0] = bpf_htonl(0x45U << 24 | inner->tos << 16 | len);
	ip[1] = bpf_htonl(id << 16 | (inner->is_df ? IP_DF : 0));
	ip[2] = bpf_htonl(OUTER_TTL << 24 | protocol << 16);
	ip[3] = source;
	ip[4] = *(__be32 *)&backend->addr.s6_addr[12];
	*((__u16 *)ip + 5) = fold_checksum((__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]);
}

static __always_inline void write_outer_ipv6(struct ipv6hdr *ip, const struct packet *pkt, const struct inner *inner,
					     __u32 payload_len, __u8 protocol)
{
	const struct backend *backend = pkt->backend;
	__u64 low = load_u64(backend->source.s6_addr + 8);

	if (backend->spread) {
		__u64 fixed = backend->spread < 64 ? ~0ULL << (backend->spread & 63) : 0;

		low = (low & bpf_cpu_to_be64(fixed)) | bpf_cpu_to_be64(pkt->hash & ~fixed);
	}
	/* Never 0, which says that there is no label. */
	*(__be32 *)ip = bpf_htonl(6U << 28 | inner->tos << 20 | (pkt->hash & FLOW_LABEL_MASK) | 1);
	*((__be32 *)ip + 1) = bpf_htonl(payload_len << 16 | protocol << 8 | OUTER_TTL);
	*(__u64 *)&ip->saddr.s6_addr[0] = load_u64(backend->source.s6_addr);
	*(__u64 *)&ip->saddr.s6_addr[8] = low;
	*(__u64 *)&ip->daddr.s6_addr[0] = load_u64(backend->addr.s6_addr);
	*(__u64 *)&ip->daddr.s6_addr[8] = load_u64(backend->addr.s6_addr + 8);
}

/* Over IPv4 without a checksum, over IPv6 with one, which there has to be (RFC 8200 8.1). */
static __always_inline void write_udp(struct udphdr *udp, const struct packet *pkt, __u32 len)
{
	udp->source = bpf_htons(GUE_SOURCE_PORTS | (pkt->hash & GUE_SOURCE_PORT_MASK));
	udp->dest = *(__be16 *)&pkt->backend->key;
	udp->len = bpf_htons(len);
	udp->check = 0;
}

static __always_inline __u16 udp_checksum(const struct ipv6hdr *ip, const struct udphdr *udp, __u64 sum, __u32 len)
{
	sum += sum_words((__u32 *)&ip->saddr, 8) + bpf_htonl(len) + bpf_htonl(IPPROTO_UDP);
	sum += sum_words((__u32 *)udp, 2);
	return fold_checksum(sum) ?: 0xffff;
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

static __always_inline __u8 outer_protocol(const struct packet *pkt, __u8 inner_protocol)
{
	switch (pkt->backend->mode) {
	case FORWARD_GRE:
		return IPPROTO_GRE;
	case FORWARD_GUE:
		return IPPROTO_UDP;
	default:
		return inner_protocol;
	}
}

/* The outer IP header is written: what lies between it and the packet. -1: the frame is too short for it. */
static __always_inline int write_shim(struct packet *pkt, void *shim, __u32 len, __u8 inner_protocol)
{
	const struct backend *backend = pkt->backend;

	if (backend->mode == FORWARD_GRE) {
		struct gre_header *gre = shim;

		if ((void *)(gre + 1) > pkt->end)
			return -1;
		gre->flags = 0;
		gre->protocol = bpf_htons(pkt->is_ipv6 ? ETH_P_IPV6 : ETH_P_IP);
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
		write_udp(udp, pkt, len);
		if (!(backend->flags & BACKEND_BARE)) {
			if ((void *)(gue + 1) > pkt->end)
				return -1;
			*gue = (struct gue_header){ .protocol = inner_protocol };
		}
	}
	return 0;
}

__stage enum verdict forward_tunnel(struct packet *pkt)
{
	const struct backend *backend = pkt->backend;
	_Bool is_over_ipv6 = !is_ipv4_mapped(&backend->addr), is_summed = is_over_ipv6 && backend->mode == FORWARD_GUE;
	__u8 inner_protocol = pkt->is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	__u32 outer_len = is_over_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), shim = shim_len(backend);
	struct inner inner = {};
	void *l3;

	read_inner(pkt, &inner);
	if (inner.len > length(pkt->l3, pkt->end))
		return DROP_TRUNCATED;
	if (is_summed)
		inner.sum_folded = sum_inner(pkt, &inner);
	if (bpf_xdp_adjust_head(pkt->ctx, -(int)(outer_len + shim)))
		return DROP_NO_HEADROOM;

	pkt->frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	if (pkt->frame + L3_OFFSET_MAX > pkt->end)
		return DROP_NO_HEADROOM;
	write_l2(pkt->frame, backend, &inner, is_over_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
	l3 = pkt->frame + bounded(inner.l3_offset, 0x1f);
	if (is_over_ipv6) {
		struct ipv6hdr *ip = l3;

		if ((void *)(ip + 1) > pkt->end)
			return DROP_NO_HEADROOM;
		write_outer_ipv6(ip, pkt, &inner, inner.len + shim, outer_protocol(pkt, inner_protocol));
		if (write_shim(pkt, ip + 1, inner.len + shim, inner_protocol))
			return DROP_NO_HEADROOM;
		if (is_summed) {
			struct udphdr *udp = (void *)(ip + 1);
			__u64 sum = inner.sum_folded;

			if ((void *)(udp + 1) > pkt->end)
				return DROP_NO_HEADROOM;
			if (!(backend->flags & BACKEND_BARE))
				sum += bpf_htons(inner_protocol);
			udp->check = udp_checksum(ip, udp, sum, inner.len + shim);
		}
	} else {
		struct iphdr *ip = l3;

		if ((void *)(ip + 1) > pkt->end)
			return DROP_NO_HEADROOM;
		write_outer_ipv4((__u32 *)ip, pkt, &inner, sizeof(*ip) + shim + inner.len,
				 outer_protocol(pkt, inner_protocol));
		if (write_shim(pkt, ip + 1, inner.len + shim, inner_protocol))
			return DROP_NO_HEADROOM;
	}
	return leave(pkt, TX_IPIP - FORWARD_IPIP + backend->mode, REDIRECT_IPIP - FORWARD_IPIP + backend->mode);
}
