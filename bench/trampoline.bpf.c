// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Repeats of a test run see the packet as the run before left it, and always the same flow. So each begins here: what
 * the data plane rewrites is put back, the flow is varied, and the program to be measured is entered by a tail call,
 * as it is. Measured against `empty`, entered the same way, the difference is what the program costs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

/*
 * Values are as they lie in memory. Each store is of just the word that the data plane loads: a load over two recent
 * stores would wait for both to reach the cache.
 */
const volatile struct {
	__u64 macs;	 /* the frame's first 8 bytes */
	__u64 addr;	 /* of the first flow; IPv4: the lower 32 bits */
	__u32 macs_rest; /* ... and the next 4 */
	__u32 ports;	 /* of the first flow */
	__u32 flow_mask; /* number of flows - 1 */
	__u32 frame_len;
	__u16 addr_offset; /* where the varied address is, an IPv6 one's last 8 bytes; 0: the flow is not varied */
	__u16 ports_offset;
	__u32 is_ipv6;
} packet = { .frame_len = 64 };

__u32 next_flow;

SEC("xdp")
int enter(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 flow;

	if (packet.frame_len < 16 || packet.frame_len > 256 || frame + packet.frame_len > end)
		return XDP_ABORTED;
	*(__u64 *)frame = packet.macs;
	*(__u32 *)(frame + 8) = packet.macs_rest;

	if (packet.addr_offset) {
		if (packet.addr_offset + 8 > packet.frame_len || packet.ports_offset + 4 > packet.frame_len)
			return XDP_ABORTED;
		/* The source port first, then the address's last two bytes. */
		flow = next_flow++ & packet.flow_mask;
		if (packet.is_ipv6)
			*(__u64 *)(frame + packet.addr_offset) = packet.addr + ((__u64)(flow >> 16) << 48);
		else
			*(__u32 *)(frame + packet.addr_offset) = packet.addr + (flow >> 16 << 16);
		*(__u32 *)(frame + packet.ports_offset) = packet.ports + (flow & 0xffff);
	}

	bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
