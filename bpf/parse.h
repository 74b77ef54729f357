/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ethernet, VLAN, IPv4 or IPv6, the ports: headers -> pkt.  */
#pragma once

#include "packet.h"

static __always_inline _Bool is_vlan(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

__stage enum verdict parse_message(struct packet *pkt, void *l4);

/* The ports, at `l4`: the one place where the L4 header is read before the service is known. */
__stage enum verdict parse_ports(struct packet *pkt, void *l4)
{
	if (pkt->protocol != IPPROTO_TCP && pkt->protocol != IPPROTO_UDP)
		return parse_message(pkt, l4);
	if (l4 + sizeof(pkt->ports) > pkt->end || pkt->l4_len < sizeof(pkt->ports))
		return PASS_TRUNCATED;
	pkt->l4 = l4;
	pkt->ports = *(__u32 *)l4;
	return CONTINUE;
}

__stage enum verdict parse_ipv4(struct packet *pkt, struct iphdr *ip)
{
	__u32 header_len, total_len;

	if ((void *)(ip + 1) > pkt->end)
		return PASS_TRUNCATED;
	if (ip->version != 4 || ip->ihl < 5)
		return PASS_NOT_IP;
	if (ip->frag_off & bpf_htons(0x3fff)) /* MF or an offset */
		return PASS_FRAGMENT;

	header_len = ip->ihl * 4;
	total_len = bpf_ntohs(ip->tot_len);
	if (total_len < header_len || (void *)ip + header_len > pkt->end)
		return PASS_TRUNCATED;

	pkt->l4_len = total_len - header_len;
	pkt->protocol = ip->protocol;
	pkt->src_lo = IPV4_MAPPED_PREFIX | (__u64)ip->saddr << 32;
	pkt->dst_lo = IPV4_MAPPED_PREFIX | (__u64)ip->daddr << 32;
	return parse_ports(pkt, (void *)ip + header_len);
}

/* Follows the extension headers from `next` on; leaves the L4 header's place in *l4. */
__stage enum verdict skip_extension_headers(struct packet *pkt, void **l4)
{
	void *next = *l4;

	for (int i = 0; i <= EXTENSION_HEADERS_MAX; i++) {
		struct extension_header *header = next;
		__u32 len;

		switch (pkt->protocol) {
		case IPPROTO_FRAGMENT:
			return PASS_FRAGMENT;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_AH:
			break;
		default:
			*l4 = next;
			return CONTINUE;
		}
		if (i == EXTENSION_HEADERS_MAX)
			break;
		if (next + 8 > pkt->end || pkt->l4_len < 8)
			return PASS_TRUNCATED;
		len = pkt->protocol == IPPROTO_AH ? (header->length + 2) * 4 : (header->length + 1) * 8;
		if (pkt->l4_len < len || next + len > pkt->end)
			return PASS_TRUNCATED;
		if (pkt->protocol == IPPROTO_ROUTING && header->segments_left)
			return PASS_EXTENSION_HEADERS;
		pkt->l4_len -= len;
		pkt->protocol = header->next_header;
		next += len;
	}
	return PASS_EXTENSION_HEADERS;
}

__stage enum verdict parse_ipv6(struct packet *pkt, struct ipv6hdr *ip)
{
	void *l4 = ip + 1;
	enum verdict verdict;

	if (l4 > pkt->end)
		return PASS_TRUNCATED;
	if (ip->version != 6)
		return PASS_NOT_IP;

	pkt->is_ipv6 = 1;
	pkt->l4_len = bpf_ntohs(ip->payload_len);
	pkt->protocol = ip->nexthdr;
	pkt->src_hi = load_u64(ip->saddr.s6_addr);
	pkt->src_lo = load_u64(ip->saddr.s6_addr + 8);
	pkt->dst_hi = load_u64(ip->daddr.s6_addr);
	pkt->dst_lo = load_u64(ip->daddr.s6_addr + 8);

	if (pkt->protocol != IPPROTO_TCP && pkt->protocol != IPPROTO_UDP) {
		verdict = skip_extension_headers(pkt, &l4);
		if (verdict)
			return verdict;
	}
	return parse_ports(pkt, l4);
}

__stage enum verdict parse(struct packet *pkt)
{
	void *next = pkt->frame + ETH_HLEN;
	__be16 ethertype;

	if (next > pkt->end)
		return PASS_TRUNCATED;
	ethertype = *(__be16 *)(pkt->frame + 2 * ETH_ALEN); /* not through struct ethhdr: packed, read byte by byte */

	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(ethertype); i++) {
		struct vlan_tag *tag = next;

		next = tag + 1;
		if (next > pkt->end)
			return PASS_TRUNCATED;
		ethertype = tag->ethertype;
	}
	pkt->l3 = next;

	if (ethertype == bpf_htons(ETH_P_IP))
		return parse_ipv4(pkt, next);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(pkt, next);
	return PASS_NOT_IP;
}

/* A service's packet: its whole L4 header must be there. */
__stage enum verdict parse_l4(struct packet *pkt)
{
	if (pkt->kind & PACKET_IS_MESSAGE)
		return CONTINUE;
	if (pkt->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = pkt->l4;

		if (pkt->l4_len < sizeof(*tcp) || (void *)(tcp + 1) > pkt->end)
			return DROP_TRUNCATED;
		pkt->kind = *((__u8 *)tcp + 13);
	} else {
		struct udphdr *udp = pkt->l4;

		if (pkt->l4_len < sizeof(*udp) || (void *)(udp + 1) > pkt->end)
			return DROP_TRUNCATED;
	}
	return CONTINUE;
}
