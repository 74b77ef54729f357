// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map of each kind, a configuration and an XDP program, for the tests of the addon. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* What the program does with a frame; set before load. */
const volatile struct settings {
	__u32 action;
	__u32 grow_bytes;
} settings = { .action = XDP_PASS };

__u32 runs; /* .bss */

struct pair {
	__u32 first;
	__u8 second;
	__u8 pad[3];
};

/* Twelve bytes, so that the stride of an array differs from the value's size. */
struct twelve {
	__u32 a, b, c;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} plain_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1000);
	__type(key, __u32);
	__type(value, struct twelve);
} shared_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pair);
	__type(value, __u64);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct twelve);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

SEC("xdp")
int sample(struct xdp_md *ctx)
{
	void *data, *end;
	__u32 zero = 0, seven = 7;
	struct twelve *value = bpf_map_lookup_elem(&shared_array, &seven);
	struct twelve *counts = bpf_map_lookup_elem(&per_cpu, &zero);
	struct pair key = { .first = ctx->ingress_ifindex };
	__u64 *listed = bpf_map_lookup_elem(&pairs, &key);

	runs++;
	if (value) {
		value->b = value->a + 1;
		value->c = ctx->ingress_ifindex;
	}
	if (counts)
		counts->a++;
	if (listed)
		return bpf_redirect_map(&ports, *listed, XDP_ABORTED);
	if (settings.grow_bytes && bpf_xdp_adjust_head(ctx, 0 - (int)settings.grow_bytes))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return XDP_ABORTED;
	*(__u8 *)data = 0x42;
	return settings.action;
}

/* Always refused by the verifier: reads beyond the frame without a check. Not loaded unless asked for. */
SEC("?xdp")
int refused(struct xdp_md *ctx)
{
	return *(__u32 *)(long)ctx->data;
}

char LICENSE[] SEC("license") = "GPL";
