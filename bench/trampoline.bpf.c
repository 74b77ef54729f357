// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For test runs: writes the packet and enters the program to be measured by a tail call, as it is. Measured against
 * `empty`, entered the same way, the difference is what the program costs.
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

SEC("xdp")
int enter(struct xdp_md *ctx)
{
	if (!write_packet(ctx))
		bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
