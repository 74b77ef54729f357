/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FULLNAT over TCP: the client's address for its backend, in TCP option 254 (TOA): kind, length, port, address. It goes
 * right behind the fixed header of a connection's first packets, where options and MTU leave room. A client's own
 * option of that kind is blanked in every packet: nobody speaks for another.
 */
#pragma once

#include "connection.h"
#include "rewrite.h"
#include "mss.h"

#define TCP_OPTION_TOA	 254
#define TOA_PACKETS	 4  /* of the client, from the SYN on */
#define TOA_L4_MAX	 82 /* offset of the TCP header, at most: IPv4's longest header behind two tags */
#define TCP_HEADER_MAX	 60
#define TIMESTAMPS_ALONE 0x0101080aU /* the first four bytes of the commonest options: no kind 254 in 12 bytes */

struct toa {
	__u8 kind;
	__u8 length;
	__be16 port;
	struct in6_addr addr; /* IPv4: its first four bytes */
};

#define TOA_IPV4_LEN 8
#define TOA_IPV6_LEN 20

static __always_inline void blank_byte(struct tcphdr *tcp, __u8 *at, _Bool is_odd)
{
	tcp->check =
		is_odd ? replace_in_checksum(tcp->check, bpf_htons(*at), bpf_htons(TCP_OPTION_NOP), 0)
		       : replace_in_checksum(tcp->check, bpf_htons((__u16)*at << 8), bpf_htons(TCP_OPTION_NOP << 8), 0);
	*at = TCP_OPTION_NOP;
}

/* A program of its own: options of kind 254 become NOPs; what is malformed ends the list, as it does for its reader. */
__attribute__((noinline)) int blank_toa(struct xdp_md *ctx, __u32 l4_offset)
{
	struct tcphdr *tcp = frame_start(ctx) + bounded(l4_offset, 0x3fff);
	__u8 *options = (void *)(tcp + 1), *end = frame_end(ctx);
	__u32 len, skipped = 0, blanked = 0;

	if ((void *)options > (void *)end || tcp->doff * 4 <= sizeof(*tcp))
		return 0;
	len = tcp->doff * 4 - sizeof(*tcp);
	for (__u32 i = 0; i < TCP_OPTIONS_MAX; i++) {
		__u8 *at = options + i, kind, length;

		if (i >= len || at + 1 > end)
			break;
		if (skipped) {
			skipped = bounded(skipped - 1, 0x3f);
			continue;
		}
		kind = *at;
		if (!blanked) {
			if (kind == TCP_OPTION_END)
				break;
			if (kind == TCP_OPTION_NOP)
				continue;
			if (i + 1 >= len || at + 2 > end)
				break;
			length = at[1];
			if (length < 2 || i + length > len)
				break;
			if (kind != TCP_OPTION_TOA) {
				skipped = bounded(length - 1, 0x3f);
				continue;
			}
			blanked = bounded(length, 0x3f);
		}
		blank_byte(tcp, at, i & 1);
		blanked = bounded(blanked - 1, 0x3f);
	}
	return 0;
}

/* Whether there may be an option of kind 254: most segments have none but timestamps. */
static __always_inline _Bool may_hold_toa(struct packet *pkt)
{
	struct tcphdr *tcp = pkt->l4;
	__u32 *options = (void *)(tcp + 1);

	if ((void *)(options + 1) > pkt->end || tcp->doff <= 5)
		return 0;
	return tcp->doff != 8 || *options != bpf_htonl(TIMESTAMPS_ALONE);
}

/* The IP header's length, `by` bytes more, and what that adds to the TCP checksum's sum. -1: it is cut. */
static __always_inline int lengthen_ip(void *l3, void *end, _Bool is_ipv6, __u32 by)
{
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip = l3;
	__be16 before;

	if (is_ipv6) {
		if ((void *)(ip6 + 1) > end)
			return -1;
		ip6->payload_len = bpf_htons(bpf_ntohs(ip6->payload_len) + by);
		return 0;
	}
	if ((void *)(ip + 1) > end)
		return -1;
	before = ip->tot_len;
	ip->tot_len = bpf_htons(bpf_ntohs(before) + by);
	ip->check = replace_in_checksum(ip->check, before, ip->tot_len, 0);
	return 0;
}

/*
 * A program of its own. The option about the client of the connection at `index` goes in; `most`: the longest packet
 * that the path takes, and bit 31: the packet is IPv6. -1: there is no room; past the first check that cannot be.
 */
__attribute__((noinline)) int insert_toa(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 index,
					 __u32 is_ipv6_and_most)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &index);
	__u32 len, doff, most = is_ipv6_and_most & 0xffff;
	_Bool is_ipv6 = is_ipv6_and_most >> 31;
	struct toa toa = { .kind = TCP_OPTION_TOA };
	void *frame = frame_start(ctx), *end = frame_end(ctx), *from, *to;
	struct tcphdr *tcp;
	__u64 delta;
	__u16 before;

	l3_offset = bounded(l3_offset, 0x1f);
	if (!connection || l4_offset > TOA_L4_MAX)
		return -1;
	l4_offset = bounded(l4_offset, 0x7f);
	toa.port = connection->client_port;
	if (is_ipv4_mapped(&connection->client)) {
		len = TOA_IPV4_LEN;
		toa.addr.s6_addr32[0] = connection->client.s6_addr32[3];
	} else {
		len = TOA_IPV6_LEN;
		toa.addr = connection->client;
	}
	toa.length = len;
	tcp = frame + l4_offset;
	if ((void *)(tcp + 1) > end)
		return -1;
	doff = tcp->doff;
	if (doff < 5 || doff * 4 + len > TCP_HEADER_MAX || length(frame, end) - l3_offset + len > most)
		return -1;
	if (bpf_xdp_adjust_head(ctx, -(int)len))
		return -1;

	frame = frame_start(ctx);
	end = frame_end(ctx);
	for (__u32 i = 0; i < TOA_L4_MAX + sizeof(*tcp); i += 2) {
		to = frame + i;
		from = to + len;
		barrier_var(from);
		if (i >= l4_offset + sizeof(*tcp) || from + 2 > end || to + 2 > end)
			break;
		*(__u16 *)to = *(__u16 *)from;
	}
	if (lengthen_ip(frame + l3_offset, end, is_ipv6, len))
		return -1;
	tcp = frame + l4_offset;
	to = tcp + 1;
	if (to + TOA_IPV4_LEN > end)
		return -1;
	before = *(__u16 *)((void *)tcp + 12); /* the header's length, and the flags */
	tcp->doff = doff + len / 4;
	delta = (__u64) * (__u16 *)((void *)tcp + 12) + (__u16)~before + bpf_htons(len);
	if (len == TOA_IPV4_LEN) {
		__builtin_memcpy(to, &toa, TOA_IPV4_LEN);
		delta += sum_words((__u32 *)&toa, TOA_IPV4_LEN / 4);
	} else {
		if (to + TOA_IPV6_LEN > end)
			return -1;
		__builtin_memcpy(to, &toa, TOA_IPV6_LEN);
		delta += sum_words((__u32 *)&toa, TOA_IPV6_LEN / 4);
	}
	tcp->check = adjust_checksum(tcp->check, delta);
	return 0;
}
