/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FULLNAT between the families: the IP header is exchanged (RFC 7915 4.1, 5.1). IPv4 comes out with DF and id 0;
 * options and extension headers stay behind.
 */
#pragma once

#include "connection.h"
#include "reply.h"
#include "quoted.h"
#include "rewrite.h"

/* What of an IP header goes into that of the other family. */
struct crossing {
	struct in6_addr src; /* the new ones */
	struct in6_addr dst;
	__u32 l3_offset;
	__u32 payload_len;
	__u8 protocol;
	__u8 tos;
	__u8 ttl;
	struct quoted quoted;					/* of a message */
	__u8 l2[L3_OFFSET_MAX + 2] __attribute__((aligned(8))); /* Ethernet header and tags */
};

/* The one that this CPU is at: too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct crossing));
} crossings SEC(".maps");

static __always_inline struct crossing *this_crossing(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&crossings, &key);
}

/* The type of what follows the tags. One offset for each number of them: the verifier follows constants best. */
static __always_inline int write_ethertype(void *frame, void *end, __u32 l3_offset, __be16 ethertype)
{
	if (frame + L3_OFFSET_MAX > end)
		return -1;
	for (__u32 tags = 0; tags <= VLAN_TAGS_MAX; tags++)
		if (l3_offset == ETH_HLEN + tags * sizeof(struct vlan_tag))
			*(__be16 *)(frame + 2 * ETH_ALEN + tags * sizeof(struct vlan_tag)) = ethertype;
	return 0;
}

static __always_inline int write_crossed_ipv4(void *at, void *end, const struct crossing *it)
{
	struct iphdr *ip = at;

	if ((void *)(ip + 1) > end)
		return -1;
	write_ipv4(ip, it->payload_len, it->protocol, it->src.s6_addr32[3], it->dst.s6_addr32[3]);
	ip->tos = it->tos;
	ip->ttl = it->ttl;
	ip->check = 0;
	ip->check = fold_checksum(sum_words((__u32 *)ip, 5));
	return 0;
}

static __always_inline int write_crossed_ipv6(void *at, void *end, const struct crossing *it)
{
	struct ipv6hdr *ip = at;

	if ((void *)(ip + 1) > end)
		return -1;
	write_ipv6(ip, it->payload_len, it->protocol, it->src, it->dst);
	*(__be32 *)ip = bpf_htonl(6U << 28 | (__u32)it->tos << 20);
	ip->hop_limit = it->ttl;
	return 0;
}

/* Of the header at `l3_offset`, and `header_len` bytes up to the L4 header. -1: it is cut. */
static __always_inline int read_crossing(struct xdp_md *ctx, __u32 header_len, _Bool is_ipv6, struct crossing *it)
{
	void *at = frame_start(ctx) + bounded(it->l3_offset, 0x1f), *end = frame_end(ctx);
	struct ipv6hdr *ip6 = at;
	struct iphdr *ip = at;

	if (is_ipv6) {
		if ((void *)(ip6 + 1) > end)
			return -1;
		it->tos = bpf_ntohs(*(__be16 *)ip6) >> 4;
		it->ttl = ip6->hop_limit;
		it->payload_len = bpf_ntohs(ip6->payload_len) + sizeof(*ip6) - header_len;
		return 0;
	}
	if ((void *)(ip + 1) > end)
		return -1;
	it->tos = ip->tos;
	it->ttl = ip->ttl;
	it->payload_len = bpf_ntohs(ip->tot_len) - header_len;
	return 0;
}

/* Moves the frame's start so that `from` bytes of headers become `to`; the Ethernet header and the tags go along. */
static __always_inline int move_start(struct xdp_md *ctx, struct crossing *it, __u32 from, __u32 to)
{
	void *frame = frame_start(ctx);

	if (frame + L3_OFFSET_MAX > frame_end(ctx))
		return -1;
	copy_l2(it->l2, frame, L3_OFFSET_MAX);
	if (bpf_xdp_adjust_head(ctx, (int)from - (int)to))
		return -1;
	frame = frame_start(ctx);
	if (frame + L3_OFFSET_MAX > frame_end(ctx))
		return -1;
	copy_l2(frame, it->l2, it->l3_offset);
	return 0;
}

/* UDP over IPv4 may have no checksum, over IPv6 it must (RFC 7915 4.5). */
static __always_inline int complete_udp(struct xdp_md *ctx, __u32 l4_offset, const struct crossing *it)
{
	struct udphdr *udp = frame_start(ctx) + bounded(l4_offset, 0x7f);
	__u64 sum;

	if ((void *)(udp + 1) > frame_end(ctx))
		return -1;
	if (udp->check)
		return 0;
	if (it->payload_len > SUMMED_MAX)
		return -1;
	sum = sum_frame(ctx, l4_offset, it->payload_len) + sum_words((const __u32 *)&it->src, 4) +
	      sum_words((const __u32 *)&it->dst, 4) + bpf_htonl(it->payload_len) + bpf_htonl(IPPROTO_UDP);
	udp = frame_start(ctx) + bounded(l4_offset, 0x7f);
	if ((void *)(udp + 1) > frame_end(ctx))
		return -1;
	udp->check = fold_checksum(sum) ?: 0xffff;
	return 0;
}

#define CROSS_IS_IPV6  1 /* as it came */
#define CROSS_IS_REPLY 2

/* A program of its own: the packet of the connection at `index`, its ports and L4 checksum already as they go out. */
__attribute__((noinline)) int cross(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 index, __u32 how)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	__u32 number = index >> PORT_BITS, id, header_len, new_len = how & CROSS_IS_IPV6 ? 20 : 40;
	struct local_address *local = bpf_map_lookup_elem(&local_addresses, &number);
	struct crossing *it = this_crossing();
	struct backend *backend;
	void *frame, *end;

	if (!connection || !local || !it)
		return -1;
	id = connection->backend;
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend)
		return -1;
	l3_offset = bounded(l3_offset, 0x1f);
	header_len = bounded(l4_offset - l3_offset, 0x3fff);
	it->l3_offset = l3_offset;
	it->protocol = connection->protocol;
	it->src = how & CROSS_IS_REPLY ? connection->server : local->addr;
	it->dst = how & CROSS_IS_REPLY ? connection->client : backend->addr;
	if (read_crossing(ctx, header_len, !!(how & CROSS_IS_IPV6), it))
		return -1;
	it->ttl--;
	if (move_start(ctx, it, header_len, new_len))
		return -1;
	frame = frame_start(ctx);
	end = frame_end(ctx);
	if (write_ethertype(frame, end, l3_offset, how & CROSS_IS_IPV6 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return -1;
	if (how & CROSS_IS_IPV6)
		return write_crossed_ipv4(frame + l3_offset, end, it);
	if (write_crossed_ipv6(frame + l3_offset, end, it))
		return -1;
	return it->protocol == IPPROTO_UDP ? complete_udp(ctx, l3_offset + new_len, it) : 0;
}
