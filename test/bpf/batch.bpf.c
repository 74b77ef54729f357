// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Test only: the data plane over many frames by one BPF_PROG_TEST_RUN, whose system call costs some milliseconds.
 * Each repeat takes the next frame out of a map, runs the whole program on it, and leaves the outcome in its place.
 */
#define balance __attribute__((always_inline)) balance
#include "../../bpf/balancer.bpf.c"
#undef balance

#define FRAME_MIN 14
#define FRAME_MAX 2048
#define REST_LEN 64 /* between two frames, and at the end: what the system call's caller has room for */

struct batch_frame {
	__u32 len; /* before, and afterwards */
	__u32 action;
	struct trace trace;
	__u8 bytes[FRAME_MAX];
};

struct batch_cursor {
	__u64 start; /* of the frame in memory, before the run */
	__u32 next;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct batch_frame);
} batch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct batch_cursor);
} cursor SEC(".maps");

/* In one 64-bit subtraction: the verifier refuses to subtract pointers in halves. */
static __always_inline int frame_len(struct xdp_md *ctx)
{
	long end = ctx->data_end, start = ctx->data;

	asm volatile("%0 -= %1" : "+r"(end) : "r"(start));
	return end;
}

SEC("xdp")
int run_batch(struct xdp_md *ctx)
{
	__u32 key = 0, len;
	struct batch_cursor *at = bpf_map_lookup_elem(&cursor, &key);
	struct trace *left = bpf_map_lookup_elem(&trace, &key);
	struct batch_frame *frame;
	__u64 start;

	if (!at || !left)
		return XDP_ABORTED;
	key = at->next++;
	frame = bpf_map_lookup_elem(&batch, &key);
	if (!frame)
		return XDP_ABORTED;
	frame->action = ~0U;
	len = frame->len;
	if (len < FRAME_MIN || len > FRAME_MAX)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_tail(ctx, (int)len - frame_len(ctx)) ||
	    bpf_xdp_store_bytes(ctx, 0, frame->bytes, len))
		return XDP_ABORTED;
	__builtin_memset(left, 0xee, sizeof(*left));

	at->start = ctx->data;
	frame->action = balance(ctx);
	start = *(volatile __u64 *)&at->start;
	at->start = ctx->data; /* through memory: a number there, no pointer */
	start -= *(volatile __u64 *)&at->start;

	frame->trace = *left;
	len = frame_len(ctx);
	if (len < FRAME_MIN || len > FRAME_MAX || bpf_xdp_load_bytes(ctx, 0, frame->bytes, len))
		return XDP_ABORTED;
	frame->len = len;
	if (bpf_xdp_adjust_head(ctx, (int)start) || bpf_xdp_adjust_tail(ctx, REST_LEN - frame_len(ctx)))
		return XDP_ABORTED;
	return XDP_PASS;
}
