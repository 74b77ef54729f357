// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For test runs, entered by bench/trampoline.bpf.c: one load from a large array, at a place that the flow gives. What
 * that costs is the machine's, and the day's.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"

struct line {
	__u64 words[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 18); /* 16 MiB */
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

SEC("xdp")
int load_line(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct line *line;
	__u64 flow;
	__u32 index;

	if (packet.addr_offset > 256 || packet.ports_offset > 256 || frame + packet.addr_offset + 4 > end ||
	    frame + packet.ports_offset + 4 > end)
		return XDP_ABORTED;
	flow = *(__u32 *)(frame + packet.addr_offset) | (__u64) * (__u32 *)(frame + packet.ports_offset) << 32;
	flow *= 0x9e3779b97f4a7c15;
	flow ^= flow >> 32;
	flow *= 0xbf58476d1ce4e5b9;
	index = flow >> 46;
	line = bpf_map_lookup_elem(&lines, &index);
	if (!line)
		return XDP_ABORTED;
	/* What it finds matters: the load cannot be left out. */
	return line->words[flow & 7] ? XDP_DROP : XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
