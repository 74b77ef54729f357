/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No backend alive, TCP: a reset, as a closed port would send it (RFC 9293 3.10.7.1); never in answer to a reset. */
#pragma once

#include "reply.h"

/* What the reset says, taken from the segment; 0 when none is to be sent. */
static __always_inline int make_reset(const struct tcphdr *tcp, __u32 l4_len, struct tcphdr *reset)
{
	__u8 flags = *((__u8 *)tcp + 13);
	__u32 header_len = tcp->doff * 4;

	if (flags & TCP_RST || header_len < sizeof(*tcp) || header_len > l4_len)
		return 0;

	*reset = (struct tcphdr){ .source = tcp->dest, .dest = tcp->source, .doff = sizeof(*reset) / 4, .rst = 1 };
	if (flags & TCP_ACK) {
		reset->seq = tcp->ack_seq;
	} else {
		__u32 segment_len = l4_len - header_len + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);

		reset->ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + segment_len);
		reset->ack = 1;
	}
	return 1;
}

static __always_inline enum verdict reset_ipv4(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct iphdr *ip = frame + it->l3_offset;
	struct tcphdr *tcp = frame + it->l4_offset, *out = (void *)(ip + 1), reset;

	if (frame + L3_OFFSET_MAX > end || (void *)(out + 1) > end || (void *)(tcp + 1) > end)
		return DROP_NO_BACKEND;
	if (!make_reset(tcp, it->l4_len, &reset))
		return DROP_NO_BACKEND;
	if (!may_answer(ANSWER_REJECT))
		return DROP_REJECT_LIMITED;

	swap_macs(frame);
	write_ipv4(ip, sizeof(reset), IPPROTO_TCP, ip->daddr, ip->saddr);
	reset.check = fold_checksum(sum_pseudo_ipv4(ip, sizeof(reset)) + sum_words((__u32 *)&reset, 5));
	*out = reset;
	if (resize_frame(it->ctx, it->l3_offset + sizeof(*ip) + sizeof(reset)))
		return DROP_NO_BACKEND;
	return TX_REJECT_RST;
}

static __always_inline enum verdict reset_ipv6(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct ipv6hdr *ip = frame + it->l3_offset;
	struct tcphdr *tcp = frame + it->l4_offset, *out = (void *)(ip + 1), reset;

	if (frame + L3_OFFSET_MAX > end || (void *)(out + 1) > end || (void *)(tcp + 1) > end)
		return DROP_NO_BACKEND;
	if (!make_reset(tcp, it->l4_len, &reset))
		return DROP_NO_BACKEND;
	if (!may_answer(ANSWER_REJECT))
		return DROP_REJECT_LIMITED;

	swap_macs(frame);
	write_ipv6(ip, sizeof(reset), IPPROTO_TCP, ip->daddr, ip->saddr);
	reset.check = fold_checksum(sum_pseudo_ipv6(ip, sizeof(reset)) + sum_words((__u32 *)&reset, 5));
	*out = reset;
	if (resize_frame(it->ctx, it->l3_offset + sizeof(*ip) + sizeof(reset)))
		return DROP_NO_BACKEND;
	return TX_REJECT_RST;
}
