/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071). Sums are of 16-bit words as they lie in memory, and so is the result. */
#pragma once

#include "packet.h"

#define SUMMED_MAX 9216 /* bytes that sum_frame() can take in */

static __always_inline __u16 fold_checksum(__u64 sum)
{
	__u32 low;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	low = sum;
	low = (low & 0xffff) + (low >> 16);
	low = (low & 0xffff) + (low >> 16);
	return ~low;
}

/* RFC 1624 3; a word that lies at an odd byte adds to the sum with its halves exchanged. */
static __always_inline __u16 replace_in_checksum(__u16 checksum, __u16 before, __u16 after, _Bool is_odd)
{
	__u64 sum = (__u16)~checksum;

	if (is_odd) {
		before = before << 8 | before >> 8;
		after = after << 8 | after >> 8;
	}
	return fold_checksum(sum + (__u16)~before + after);
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
	void *frame = frame_start(ctx), *end = frame_end(ctx), *next;
	__u32 at = offset, to = offset + len;
	__u64 sum = 0;

	if (offset > 2048 || len > SUMMED_MAX)
		return 0;
	/* `at` loses what the verifier knows of it: so one turn of a loop is verified like the other. */
	for (int i = 0; i < SUMMED_MAX / 32; i++) {
		at = bounded(at, 0x3fff);
		next = frame + at;
		if (at + 32 > to || next + 32 > end)
			break;
		sum += sum_words(next, 8);
		at += 32;
	}
	for (int i = 0; i < 8; i++) {
		at = bounded(at, 0x3fff);
		next = frame + at;
		if (at + 4 > to || next + 4 > end)
			break;
		sum += *(__u32 *)next;
		at += 4;
	}
	next = frame + bounded(at, 0x3fff);
	if (at + 2 <= to && next + 2 <= end) {
		sum += *(__u16 *)next;
		at += 2;
	}
	next = frame + bounded(at, 0x3fff);
	if (at + 1 <= to && next + 1 <= end)
		sum += bpf_htons(*(__u8 *)next << 8);
	return sum;
}
