/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Address translation in place (RFC 3022 4.1): addresses, ports, the TTL, and the checksums by what they change. The
 * sums are one's complement, of 16-bit words as they lie in memory.
 */
#pragma once

#include "packet.h"
#include "checksum.h"

/* A checksum whose sum grows by `delta`. */
static __always_inline __u16 adjust_checksum(__u16 checksum, __u64 delta)
{
	return fold_checksum((__u16)~checksum + delta);
}

/* What a TTL that falls by one adds to the IPv4 header's sum. */
#define TTL_DELTA ((__u16)~bpf_htons(0x0100))

static __always_inline _Bool is_last_hop(const struct packet *pkt)
{
	struct ipv6hdr *ip6 = pkt->l3;
	struct iphdr *ip = pkt->l3;

	if (pkt->is_ipv6)
		return (void *)(ip6 + 1) > pkt->end || ip6->hop_limit <= 1;
	return (void *)(ip + 1) > pkt->end || ip->ttl <= 1;
}

/* Offsets of the headers, in bytes from the frame's start. */
struct places {
	__u32 l3;
	__u32 l4;
};

static __always_inline struct places places_of(const struct packet *pkt)
{
	struct places places = { length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4) };

	return places;
}

/*
 * The pointers into the frame, anew: to the verifier, a program of its own that was called may have changed it; and
 * whatever way has led here, it goes on from one form of them but once.
 */
__stage enum verdict refresh(struct packet *pkt, struct places places)
{
	pkt->frame = frame_start(pkt->ctx);
	pkt->end = frame_end(pkt->ctx);
	if (pkt->frame + ETH_HLEN > pkt->end)
		return DROP_TRUNCATED;
	pkt->l3 = pkt->frame + bounded(places.l3, 0x1f);
	pkt->l4 = pkt->frame + bounded(places.l4, 0x3fff);
	return CONTINUE;
}

/* The ports and the checksum at pkt.l4, of which parse_l4() has found enough. */
__stage enum verdict rewrite_l4(struct packet *pkt, __u32 ports, __u32 delta)
{
	struct tcphdr *tcp = pkt->l4;
	struct udphdr *udp = pkt->l4;

	if (pkt->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > pkt->end)
			return DROP_TRUNCATED;
		*(__u32 *)tcp = ports;
		tcp->check = adjust_checksum(tcp->check, delta);
		return CONTINUE;
	}
	if ((void *)(udp + 1) > pkt->end)
		return DROP_TRUNCATED;
	*(__u32 *)udp = ports;
	if (udp->check) /* 0: none (RFC 768); and a sum of 0 is written as its other form */
		udp->check = adjust_checksum(udp->check, delta) ?: 0xffff;
	return CONTINUE;
}

/*
 * `src`, `dst`: IPv4 as ::ffff:a.b.c.d; NULL: stays. The deltas: what all this adds to the sums of the L4 checksum and
 * of the IPv4 header.
 */
__stage enum verdict rewrite(struct packet *pkt, const struct in6_addr *src, const struct in6_addr *dst, __u32 ports,
			     __u32 l4_delta, __u32 l3_delta)
{
	if (pkt->is_ipv6) {
		struct ipv6hdr *ip = pkt->l3;

		if ((void *)(ip + 1) > pkt->end)
			return DROP_TRUNCATED;
		ip->hop_limit--;
		if (src) {
			*(__u64 *)&ip->saddr.s6_addr[0] = load_u64(src->s6_addr);
			*(__u64 *)&ip->saddr.s6_addr[8] = load_u64(src->s6_addr + 8);
		}
		if (dst) {
			*(__u64 *)&ip->daddr.s6_addr[0] = load_u64(dst->s6_addr);
			*(__u64 *)&ip->daddr.s6_addr[8] = load_u64(dst->s6_addr + 8);
		}
	} else {
		struct iphdr *ip = pkt->l3;

		if ((void *)(ip + 1) > pkt->end)
			return DROP_TRUNCATED;
		ip->ttl--;
		if (src)
			ip->saddr = src->s6_addr32[3];
		if (dst)
			ip->daddr = dst->s6_addr32[3];
		ip->check = adjust_checksum(ip->check, (__u64)l3_delta + TTL_DELTA);
	}
	return rewrite_l4(pkt, ports, l4_delta);
}
