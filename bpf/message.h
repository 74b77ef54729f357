/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP and ICMPv6 to a VIP or to a tunnel's source: an echo request, or an error. An error is about a flow, and its
 * flow is what counts from then on: the quoted packet went from a VIP to a client, or inside a tunnel from a client to
 * a VIP. Off the fast path.
 */
#pragma once

#include "packet.h"
#include "service.h"
#include "replies.h"
#include "snat.h"
#include "icmp.h"
#include "gre_gue.h"
#include "quoted.h"
#include "checksum.h"

#define IPV4_MTU_MIN 68 /* RFC 791 3.2 */

/* By outer destination: what a router on the path has said of its MTU. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, struct path_mtu);
} path_mtus SEC(".maps");

/* Where the tunnel's packet begins that an outer header at `outer` carries; 0: this is no tunnel of ours. */
static __always_inline __u32 inner_offset(struct xdp_md *ctx, const struct quoted *outer)
{
	__u32 offset = outer->l4_offset;
	void *at = frame_start(ctx) + bounded(offset, QUOTE_REACH), *end = frame_end(ctx);

	if (offset > QUOTE_REACH)
		return 0;
	switch (outer->protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return offset;
	case IPPROTO_GRE: {
		struct gre_header *gre = at;

		if ((void *)(gre + 1) > end || gre->flags & bpf_htons((__u16)~GRE_HAS_KEY))
			return 0;
		if (gre->protocol != bpf_htons(ETH_P_IP) && gre->protocol != bpf_htons(ETH_P_IPV6))
			return 0;
		return offset + sizeof(*gre) + (gre->flags ? sizeof(__be32) : 0);
	}
	case IPPROTO_UDP: {
		struct udphdr *udp = at;
		struct gue_header *gue = (void *)(udp + 1);

		if ((void *)(udp + 1) > end || bpf_ntohs(udp->source) < GUE_SOURCE_PORTS)
			return 0;
		offset += sizeof(*udp);
		/* Cut here: the MTU can be learnt all the same. Variant 1 begins with the packet itself. */
		if ((void *)(gue + 1) > end || gue->version_and_length)
			return offset;
		return offset + sizeof(*gue);
	}
	default:
		return 0;
	}
}

/*
 * An error about a packet that the balancer itself has sent to a backend: `outer` is its header, quoted at
 * `outer_offset`, and `told` the MTU that the error tells, 0 for one that tells none. `outer` is used again for the
 * inner header.
 */
static __always_inline enum verdict read_tunnel_error(struct xdp_md *ctx, struct quoted *outer, __u32 outer_offset,
						      __u32 quote_len, _Bool is_too_big, __u32 told,
						      struct message *message)
{
	__u32 offset = inner_offset(ctx, outer), overhead = offset - outer_offset;
	struct quoted *inner = outer;

	if (!offset)
		return PASS_NOT_A_SERVICE;
	message->kind = MESSAGE_TUNNEL_ERROR;
	message->told = told;
	message->end_hi = outer->dst_hi;
	message->end_lo = outer->dst_lo;
	if (read_quoted(ctx, offset, inner) || read_quoted_ports(ctx, inner, &message->ports))
		return CONTINUE;
	if (quote_len < inner->l4_offset + sizeof(message->ports) - outer_offset)
		return CONTINUE;
	if (is_too_big && told < overhead + IPV4_MTU_MIN)
		return CONTINUE; /* made up, or of a router from before RFC 1191 */
	message->src_hi = inner->src_hi;
	message->src_lo = inner->src_lo;
	message->dst_hi = inner->dst_hi;
	message->dst_lo = inner->dst_lo;
	message->protocol = inner->protocol;
	message->is_ipv6 = inner->is_ipv6;
	message->quote = offset;
	message->quote_len = quote_len - overhead;
	message->mtu = is_too_big ? told - overhead : 0;
	return CONTINUE;
}

static __always_inline enum verdict read_flow_error(const struct quoted *quoted, __u32 ports, struct message *message)
{
	message->kind = MESSAGE_FLOW_ERROR;
	message->src_hi = quoted->dst_hi;
	message->src_lo = quoted->dst_lo;
	message->dst_hi = quoted->src_hi;
	message->dst_lo = quoted->src_lo;
	message->ports = ports >> 16 | ports << 16;
	message->protocol = quoted->protocol;
	message->is_ipv6 = quoted->is_ipv6;
	return CONTINUE;
}

static __always_inline _Bool is_error(const struct icmp *icmp, _Bool is_ipv6)
{
	if (is_ipv6)
		return icmp->type >= ICMPV6_UNREACHABLE && icmp->type <= ICMPV6_BAD_PARAMETER;
	return icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_EXCEEDED || icmp->type == ICMP_BAD_PARAMETER;
}

static __always_inline _Bool is_about_size(const struct icmp *icmp, _Bool is_ipv6)
{
	if (is_ipv6)
		return icmp->type == ICMPV6_TOO_BIG;
	return icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_FRAGMENTATION_NEEDED;
}

/* The MTU that an error about size tells: 16 bits of IPv4's (RFC 1191 4), all 32 of IPv6's. */
static __always_inline __u32 told_mtu(const struct icmp *icmp, _Bool is_ipv6)
{
	__u32 mtu = bpf_ntohl(icmp->rest);

	if (!is_ipv6)
		return mtu & 0xffff;
	return mtu > 0xffff ? 0xffff : mtu;
}

/* How much of the packet is quoted: to the message's end, or as RFC 4884 has it, where extensions follow. */
static __always_inline __u32 quoted_len(__u32 message_len, const struct icmp *icmp, _Bool is_ipv6)
{
	__u32 rest = bpf_ntohl(icmp->rest), there = message_len - sizeof(*icmp), len;

	if (is_ipv6)
		len = icmp->type == ICMPV6_UNREACHABLE || icmp->type == ICMPV6_TIME_EXCEEDED ? (rest >> 24) * 8 : 0;
	else
		len = (rest >> 16 & 0xff) * 4;
	return len && len < there ? len : there;
}

/*
 * Whether a quoted packet is of a flow: sent by a VIP, or on its way to a backend by NAT, or by a local address, or to
 * whose connections are translated.
 */
static __always_inline _Bool is_flows(const struct quoted *quoted, __u32 ports)
{
	if (lookup_service(quoted->src_hi, quoted->src_lo, quoted->protocol, ports & 0xffff))
		return 1;
	if (config.any_port && lookup_service(quoted->src_hi, quoted->src_lo, quoted->protocol, 0))
		return 1;
	if (config.nat && lookup_nat_reply(quoted->dst_hi, quoted->dst_lo, quoted->protocol, ports >> 16))
		return 1;
	if (config.connections && lookup_local(quoted->is_ipv6, quoted->src_hi, quoted->src_lo))
		return 1;
	return config.snat_prefixes && goes_out(quoted->dst_hi, quoted->dst_lo, quoted->src_hi, quoted->src_lo);
}

/* A program of its own. `l4_len` bytes of message; `is_ipv6` is its own header. Returns an enum verdict. */
__attribute__((noinline)) int read_message(struct xdp_md *ctx, __u32 l4_offset, __u32 l4_len, __u32 is_ipv6,
					   struct message *message)
{
	__u32 offset = bounded(l4_offset, 0xff) + sizeof(struct icmp), ports = 0, in_frame, told, quote_len;
	struct icmp *icmp = frame_start(ctx) + bounded(l4_offset, 0xff);
	struct quoted quoted;
	_Bool is_too_big;

	if (!message || l4_offset > 0xff || (void *)(icmp + 1) > frame_end(ctx) || l4_len < sizeof(*icmp))
		return PASS_NOT_A_SERVICE;
	if (icmp->type == (is_ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST) && !icmp->code) {
		message->kind = MESSAGE_ECHO;
		return CONTINUE;
	}
	if (!is_error(icmp, is_ipv6))
		return PASS_NOT_A_SERVICE;
	is_too_big = is_about_size(icmp, is_ipv6);
	told = is_too_big ? told_mtu(icmp, is_ipv6) : 0;
	in_frame = length(frame_start(ctx), frame_end(ctx)) - l4_offset;
	quote_len = quoted_len(l4_len < in_frame ? l4_len : in_frame, icmp, is_ipv6);

	if (read_quoted(ctx, offset, &quoted) || quoted.is_ipv6 != !!is_ipv6)
		return PASS_NOT_A_SERVICE;
	if (quoted.src_hi != message->dst_hi || quoted.src_lo != message->dst_lo)
		return PASS_NOT_A_SERVICE; /* whose packet is that? */
	if (!read_quoted_ports(ctx, &quoted, &ports) && is_flows(&quoted, ports))
		return read_flow_error(&quoted, ports, message);
	return read_tunnel_error(ctx, &quoted, offset, quote_len, is_too_big, told, message);
}

static __always_inline void learn_path_mtu(const struct message *message)
{
	struct path_mtu learnt = { .mtu = message->told, .heard = bpf_jiffies64() };
	struct in6_addr end;

	*(__u64 *)&end.s6_addr[0] = message->end_hi;
	*(__u64 *)&end.s6_addr[8] = message->end_lo;
	bpf_map_update_elem(&path_mtus, &end, &learnt, BPF_ANY);
}

/* Whether a message is whole, and its checksum right: what is told of it further on gets one that is. */
static __always_inline _Bool is_intact(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 l4_len,
				       _Bool is_ipv6)
{
	struct ipv6hdr *ip = frame_start(ctx) + l3_offset;
	__u64 sum = sum_frame(ctx, l4_offset, l4_len);

	if (l4_offset + l4_len > length(frame_start(ctx), frame_end(ctx)))
		return 0;
	if (is_ipv6) {
		if ((void *)(ip + 1) > frame_end(ctx))
			return 0;
		sum += sum_words((__u32 *)&ip->saddr, 8) + bpf_htonl(l4_len) + bpf_htonl(IPPROTO_ICMPV6);
	}
	return !fold_checksum(sum);
}

/* A program of its own. Of a tunnel error: notes an MTU; returns whether a client may be told. */
__attribute__((noinline)) int hear(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 is_ipv6_and_l4_len,
				   const struct message *message)
{
	if (!message || !is_intact(ctx, bounded(l3_offset, 0x1f), bounded(l4_offset, 0xff), is_ipv6_and_l4_len & 0xffff,
				   is_ipv6_and_l4_len >> 16))
		return 0;
	if (message->told)
		learn_path_mtu(message);
	return !!message->protocol;
}

/* `l4`: an ICMP or ICMPv6 header, if pkt.protocol says so. */
__stage enum verdict parse_message(struct packet *pkt, void *l4)
{
	struct message *message;
	enum verdict verdict;

	if (pkt->protocol != (pkt->is_ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return PASS_NOT_A_SERVICE;
	message = this_message();
	if (!message)
		return PASS_NOT_A_SERVICE;
	*message = (struct message){ .dst_hi = pkt->dst_hi, .dst_lo = pkt->dst_lo };
	verdict = (enum verdict)read_message(pkt->ctx, length(pkt->frame, l4), pkt->l4_len, pkt->is_ipv6, message);
	if (verdict)
		return PASS_NOT_A_SERVICE; /* a constant: older verifiers do not know that a result is not 0 */
	if (message->kind == MESSAGE_TUNNEL_ERROR &&
	    !hear(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, l4),
		  (__u32)pkt->is_ipv6 << 16 | pkt->l4_len, message))
		return PASS_TUNNEL_ERROR;
	pkt->kind = PACKET_IS_MESSAGE;
	pkt->l4 = l4;
	if (message->kind == MESSAGE_ECHO) {
		pkt->ports = 0;
		return CONTINUE;
	}
	pkt->src_hi = message->src_hi;
	pkt->src_lo = message->src_lo;
	pkt->dst_hi = message->dst_hi;
	pkt->dst_lo = message->dst_lo;
	pkt->ports = message->ports;
	pkt->protocol = message->protocol;
	pkt->is_ipv6 = message->is_ipv6;
	return CONTINUE;
}
