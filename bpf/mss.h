/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The MSS option of a SYN, lowered to what the path to the backend takes (RFC 9293 3.7.1). */
#pragma once

#include "packet.h"
#include "checksum.h"

#define TCP_OPTIONS_MAX 40 /* bytes */
#define TCP_OPTION_END	0
#define TCP_OPTION_NOP	1
#define TCP_OPTION_MSS	2

struct mss_option {
	__u8 kind;
	__u8 length;
	__u8 mss[2]; /* network order; it may lie at any byte */
};

/* A program of its own, verified once; for SYNs only. `most`: the largest MSS. */
__attribute__((noinline)) int clamp_mss(struct xdp_md *ctx, __u32 l4_offset, __u32 most)
{
	struct tcphdr *tcp = frame_start(ctx) + bounded(l4_offset, 0x3fff);
	void *options = tcp + 1, *end = frame_end(ctx);
	__u32 at = 0, len;

	if (options > end || tcp->doff * 4 < sizeof(*tcp))
		return 0;
	len = tcp->doff * 4 - sizeof(*tcp);
	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		struct mss_option *option = options + at;
		__u32 step;

		if (at + 2 > len || (void *)option + 2 > end || option->kind == TCP_OPTION_END)
			return 0;
		if (option->kind == TCP_OPTION_MSS) {
			__u16 before, after = bpf_htons(most);

			if (option->length != sizeof(*option) || at + sizeof(*option) > len ||
			    (void *)(option + 1) > end)
				return 0;
			before = option->mss[0] | (__u16)option->mss[1] << 8;
			if (bpf_ntohs(before) <= most)
				return 0;
			option->mss[0] = most >> 8;
			option->mss[1] = most;
			tcp->check = replace_in_checksum(tcp->check, before, after, at & 1);
			return 1;
		}
		step = option->kind == TCP_OPTION_NOP ? 1 : option->length;
		if (!step || at + step > len)
			return 0;
		at = bounded(at + step, 0x3f);
	}
	return 0;
}
