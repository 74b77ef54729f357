/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The headers ahead of a tunnelled packet: Ethernet, IP, and what the mode puts between the two IP headers. */
#pragma once

#include "packet.h"
#include "checksum.h"
#include "gre_gue.h"
#include "inner.h"

#define OUTER_TTL	64
#define FLOW_LABEL_MASK 0xfffff

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
		if (inner->l3_offset > ETH_HLEN + sizeof(struct vlan_tag)) {
			*(__u32 *)next = inner->vlan[1];
			next += sizeof(struct vlan_tag);
		}
	}
	*(__be16 *)next = ethertype;
}

/* What the mode puts between the outer IP header and the packet: how many bytes, and how the outer header names it. */
struct shim {
	__u32 len;
	__u32 protocol;
};

static __always_inline struct shim shim_of(__u8 mode, const struct backend *backend, const struct inner *inner)
{
	switch (mode) {
	case FORWARD_GRE:
		return (struct shim){
			.len = sizeof(struct gre_header) + (backend->flags & BACKEND_KEYED ? sizeof(__be32) : 0),
			.protocol = IPPROTO_GRE,
		};
	case FORWARD_GUE:
		return (struct shim){
			.len = sizeof(struct udphdr) + (backend->flags & BACKEND_BARE ? 0 : sizeof(struct gue_header)),
			.protocol = IPPROTO_UDP,
		};
	default:
		return (struct shim){ 0, inner->protocol };
	}
}

static __always_inline void write_outer_ipv4(__u32 *ip, __u64 hash, const struct backend *backend,
					     const struct inner *inner, __u32 protocol, __u32 len)
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
	ip[2] = bpf_htonl(OUTER_TTL << 24 | protocol << 16);
	ip[3] = source;
	ip[4] = *(__be32 *)&backend->addr.s6_addr[12];
	*((__u16 *)ip + 5) = fold_checksum((__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]);
}

static __always_inline void write_outer_ipv6(struct ipv6hdr *ip, __u64 hash, const struct backend *backend,
					     const struct inner *inner, __u32 protocol, __u32 payload_len)
{
	__u64 low = load_u64(backend->source.s6_addr + 8);

	if (backend->spread) {
		__u64 fixed = backend->spread < 64 ? ~0ULL << (backend->spread & 63) : 0;

		low = (low & bpf_cpu_to_be64(fixed)) | bpf_cpu_to_be64(hash & ~fixed);
	}
	/* Never 0, which says that there is no label. */
	*(__be32 *)ip = bpf_htonl(6U << 28 | inner->tos << 20 | (hash & FLOW_LABEL_MASK) | 1);
	*((__be32 *)ip + 1) = bpf_htonl(payload_len << 16 | protocol << 8 | OUTER_TTL);
	*(__u64 *)&ip->saddr.s6_addr[0] = load_u64(backend->source.s6_addr);
	*(__u64 *)&ip->saddr.s6_addr[8] = low;
	*(__u64 *)&ip->daddr.s6_addr[0] = load_u64(backend->addr.s6_addr);
	*(__u64 *)&ip->daddr.s6_addr[8] = load_u64(backend->addr.s6_addr + 8);
}

/* What lies between the outer IP header and the packet; -1: the frame is too short for it. */
static __always_inline int write_shim(struct packet *pkt, __u8 mode, const struct backend *backend,
				      const struct inner *inner, void *shim, __u32 len)
{
	if (mode == FORWARD_GRE) {
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
	} else {
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
