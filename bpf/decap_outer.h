/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ethernet, VLAN and the outer IP header: whether this is a tunnel's packet to this host. */
#pragma once

#include "packet.h"
#include "decap.h"

#define TAGS_MAX	  2
#define L2_MAX		  (ETH_HLEN + 4 * TAGS_MAX)
#define OUTER_OPTIONS_MAX 2 /* option headers of an outer IPv6 header: RFC 2473 4.1.1 sends one */
#define IPV4_BITS_BEFORE  96

/* What is known of a tunnel's packet. */
struct tunnelled {
	struct xdp_md *ctx;
	void *frame; /* its first buffer: from here ... */
	void *end;   /* ... to here; the headers are all there */
	void *next;  /* what lies behind the headers read so far */
	__u32 left;  /* bytes of the outer packet from there on, as the headers have it */
	__u32 bytes; /* of the frame, all its buffers */
	__u32 l2_len;
	struct in6_addr from; /* outer addresses; IPv4 as ::ffff:a.b.c.d */
	struct in6_addr to;
	__be16 inner_type; /* ETH_P_IP or ETH_P_IPV6 */
	__u8 protocol;	   /* of what is next, until it is known to be IP */
	__u8 ecn;	   /* the outer header's */
	__u8 inner_ecn;	   /* to be */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, __u32); /* enum decap_address, or'ed */
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 256);
	__type(key, struct decap_source);
	__type(value, __u32);
} sources SEC(".maps");

static __always_inline _Bool is_known(const struct in6_addr *addr, enum decap_address as)
{
	__u32 *known = bpf_map_lookup_elem(&addresses, addr);

	return known && (*known & as);
}

static __always_inline struct in6_addr mapped(__be32 addr)
{
	struct in6_addr mapped = {};

	mapped.s6_addr32[2] = bpf_htonl(0xffff);
	mapped.s6_addr32[3] = addr;
	return mapped;
}

/* On the wire it is nobody's (RFC 4291 2.5.5.2), and here it would be taken for an IPv4 address. */
static __always_inline _Bool is_mapped(const struct in6_addr *addr)
{
	return !addr->s6_addr32[0] && !addr->s6_addr32[1] && addr->s6_addr32[2] == bpf_htonl(0xffff);
}

/* The header's words add up to ~0, RFC 791. The kernel, which is passed by, would look at the same. */
static __always_inline _Bool is_sound(const struct tunnelled *pkt, const struct iphdr *ip)
{
	const __u32 *words = (const void *)ip;
	__u64 sum = 0;

	for (int i = 0; i < 15 && i < ip->ihl; i++) {
		if ((void *)(words + i + 1) > pkt->end)
			return 0;
		sum += words[i];
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static __always_inline _Bool is_gue_port(__be16 port)
{
	const volatile __be16 *ports = (const volatile __be16 *)config.gue_ports;

	for (int i = 0; i < (int)(sizeof(config.gue_ports) / sizeof(*ports)); i++)
		if (port && port == ports[i])
			return 1;
	return 0;
}

/* A protocol that a tunnel may be. UDP: only to a port of GUE's. */
__stage enum decap_verdict check_protocol(struct tunnelled *pkt)
{
	struct udphdr *udp = pkt->next;

	switch (pkt->protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return DECAP_CONTINUE;
	case IPPROTO_UDP:
		if ((void *)(udp + 1) <= pkt->end && is_gue_port(udp->dest))
			return DECAP_CONTINUE;
	}
	return PASS_NO_TUNNEL;
}

__stage enum decap_verdict parse_outer_ipv4(struct tunnelled *pkt)
{
	struct iphdr *ip = pkt->next;
	__u32 header_len, total_len;
	enum decap_verdict verdict;

	if ((void *)(ip + 1) > pkt->end || ip->version != 4 || ip->ihl < 5)
		return PASS_NO_TUNNEL;
	header_len = ip->ihl * 4;
	total_len = bpf_ntohs(ip->tot_len);
	pkt->next += header_len;
	pkt->protocol = ip->protocol;
	pkt->ecn = ip->tos & 3;
	pkt->from = mapped(ip->saddr);
	pkt->to = mapped(ip->daddr);
	if (ip->frag_off & bpf_htons(0x1fff)) /* not the first: what is next is no header */
		return pkt->protocol == IPPROTO_UDP ? PASS_NO_TUNNEL : PASS_OUTER_FRAGMENT;

	verdict = check_protocol(pkt);
	if (verdict)
		return verdict;
	if (ip->frag_off & bpf_htons(0x2000))
		return PASS_OUTER_FRAGMENT;
	if (total_len < header_len || pkt->l2_len + total_len > pkt->bytes)
		return PASS_BAD_LENGTH;
	pkt->left = total_len - header_len;
	return is_sound(pkt, ip) ? DECAP_CONTINUE : PASS_BAD_HEADER;
}

/* The options themselves are for the routers on the way, or limit the encapsulation: nothing to be done here. */
__stage enum decap_verdict skip_outer_options(struct tunnelled *pkt)
{
	for (int i = 0; i < OUTER_OPTIONS_MAX; i++) {
		__u8 *header = pkt->next;
		__u32 len;

		if (pkt->protocol != IPPROTO_HOPOPTS && pkt->protocol != IPPROTO_DSTOPTS)
			break;
		if (header + 8 > (__u8 *)pkt->end)
			return PASS_NO_TUNNEL;
		len = (header[1] + 1) * 8;
		if (pkt->left < len)
			return PASS_NO_TUNNEL;
		pkt->protocol = header[0];
		pkt->left -= len;
		pkt->next += len;
	}
	return DECAP_CONTINUE;
}

__stage enum decap_verdict parse_outer_ipv6(struct tunnelled *pkt)
{
	struct ipv6hdr *ip = pkt->next;
	enum decap_verdict verdict;

	if ((void *)(ip + 1) > pkt->end || ip->version != 6)
		return PASS_NO_TUNNEL;
	pkt->next = ip + 1;
	pkt->left = bpf_ntohs(ip->payload_len);
	pkt->protocol = ip->nexthdr;
	pkt->ecn = ip->flow_lbl[0] >> 4 & 3;
	pkt->from = ip->saddr;
	pkt->to = ip->daddr;
	if (pkt->protocol == IPPROTO_FRAGMENT) {
		__u8 *header = pkt->next;

		if (header + 8 > (__u8 *)pkt->end)
			return PASS_NO_TUNNEL;
		pkt->protocol = header[0];
		return pkt->protocol == IPPROTO_IPIP || pkt->protocol == IPPROTO_IPV6 || pkt->protocol == IPPROTO_GRE
			     ? PASS_OUTER_FRAGMENT
			     : PASS_NO_TUNNEL;
	}
	verdict = skip_outer_options(pkt) ?: check_protocol(pkt);
	if (verdict)
		return verdict;
	if (is_mapped(&ip->saddr) || is_mapped(&ip->daddr))
		return PASS_OTHER_ADDRESS;
	return length(pkt->frame, ip + 1) + bpf_ntohs(ip->payload_len) > pkt->bytes ? PASS_BAD_LENGTH : DECAP_CONTINUE;
}

__stage enum decap_verdict parse_outer(struct tunnelled *pkt)
{
	__be16 ethertype;

	pkt->next = pkt->frame + ETH_HLEN;
	if (pkt->next > pkt->end)
		return PASS_NO_TUNNEL;
	ethertype = *(__be16 *)(pkt->frame + 2 * ETH_ALEN);
	pkt->l2_len = ETH_HLEN;
	for (int i = 0; i < TAGS_MAX; i++) {
		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		if (pkt->next + 4 > pkt->end)
			return PASS_NO_TUNNEL;
		ethertype = *(__be16 *)(pkt->next + 2);
		pkt->next += 4;
		pkt->l2_len += 4;
	}
	if (ethertype == bpf_htons(ETH_P_IP))
		return parse_outer_ipv4(pkt);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return parse_outer_ipv6(pkt);
	return PASS_NO_TUNNEL;
}

/* Whether it is meant for this host, and comes from where tunnels begin. */
__stage enum decap_verdict check_ends(const struct tunnelled *pkt)
{
	struct decap_source from = { .bits = 128, .addr = pkt->from };

	if (!is_known(&pkt->to, DECAP_ADDRESS_OWN))
		return PASS_OTHER_ADDRESS;
	if (config.check_sources && !bpf_map_lookup_elem(&sources, &from))
		return PASS_OTHER_SOURCE;
	return DECAP_CONTINUE;
}
