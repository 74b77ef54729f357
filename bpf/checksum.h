/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071). Sums are of 16-bit words as they lie in memory, and so is the result. */
#pragma once

#include "packet.h"

#define SUMMED_MAX 9216 /* bytes that sum_frame() can take in */

static __always_inline __u16 fold_checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* `words` is constant: unrolled. */
static __always_inline __u64 sum_words(const __u32 *words, int count)
{
	__u64 sum = 0;

	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

/* The sum of `len` bytes of the frame from `offset` on, to be folded. A program of its own: verified once. */
__attribute__((noinline)) __u64 sum_frame(struct xdp_md *ctx, __u32 offset, __u32 len)
{
	void *next = frame_start(ctx), *end = frame_end(ctx);
	__u64 sum = 0;

	if (offset > 2048 || len > SUMMED_MAX)
		return 0;
	next += offset;
	for (int i = 0; i < SUMMED_MAX / 4; i++) {
		if (len < 4 || next + 4 > end)
			break;
		sum += *(__u32 *)next;
		next += 4;
		len -= 4;
	}
	if (len >= 2 && next + 2 <= end) {
		sum += *(__u16 *)next;
		next += 2;
		len -= 2;
	}
	if (len >= 1 && next + 1 <= end)
		sum += bpf_htons(*(__u8 *)next << 8);
	return sum;
}
