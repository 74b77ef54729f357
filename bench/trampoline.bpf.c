// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For test runs: writes the packet and enters the program to be measured by a tail call, as it is. Measured against
 * `empty`, entered the same way, the difference is what the program costs. What the run before has put ahead of the
 * frame is taken off first; that too would be counted as the program's, were it not known from `push`.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

/* Of a frame that is longer than `packet`, what is ahead of it. */
static __always_inline int take_off(struct xdp_md *ctx)
{
	long pushed = (long)ctx->data_end;

	/* 64 bits wide, as the verifier wants the difference of two packet pointers. */
	asm volatile("%0 -= %1" : "+r"(pushed) : "r"((long)ctx->data));
	pushed -= packet.frame_len;
	return pushed ? bpf_xdp_adjust_head(ctx, (int)pushed) : 0;
}

SEC("xdp")
int enter(struct xdp_md *ctx)
{
	if (!take_off(ctx) && !write_packet(ctx))
		bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

/* Only what each program does that puts something ahead of the frame; and so, one time more, what enter() undoes. */
SEC("xdp")
int push(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -(int)packet.pushed) ? XDP_ABORTED : XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
