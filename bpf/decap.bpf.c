// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The other end of the balancer's tunnels, on a backend's own interface: IPIP, GRE and GUE packets to this host that
 * hold a packet to a VIP go on to the kernel without their outer headers. All else goes on untouched.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decap.h"

/* A section of its own: user space writes it whole before the load. */
const volatile struct decap_config config SEC(".rodata.config");

#include "decap_outer.h"
#include "decap_tunnel.h"
#include "decap_inner.h"

/* Enums that only constants come from: named here, they reach BTF, and so user space. */
const volatile enum decap_verdict decap_verdict_btf;
const volatile enum decap_mode decap_mode_btf;
const volatile enum decap_address decap_address_btf;

#define VERDICTS_MAX 64

/* By verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS_MAX);
	__type(key, __u32);
	__type(value, struct decap_count);
} counts SEC(".maps");

static __always_inline void count(enum decap_verdict verdict, __u32 bytes)
{
	__u32 key = verdict;
	struct decap_count *count = bpf_map_lookup_elem(&counts, &key);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
}

/* Frames of several buffers (jumbo frames, GRO) are welcome: only headers are looked at, and they are in the first. */
SEC("xdp.frags")
int linimo_decap(struct xdp_md *ctx)
{
	struct tunnelled pkt = {
		.ctx = ctx,
		.frame = frame_start(ctx),
		.end = frame_end(ctx),
		.bytes = bpf_xdp_get_buff_len(ctx),
	};
	enum decap_verdict as = DECAP_CONTINUE, verdict;

	/* clang-format off */
	verdict = parse_outer(&pkt)		/* a tunnel's packet, or the host's other traffic */
	       ?: check_ends(&pkt)		/* to this host, and from a balancer */
	       ?: parse_tunnel(&pkt, &as)	/* GRE, GUE, or nothing between the IP headers */
	       ?: check_inner(&pkt)		/* a whole packet, to a VIP */
	       ?: strip(&pkt)
	       ?: as;
	/* clang-format on */

	count(verdict, pkt.bytes);
	return verdict == DROP_CONGESTION ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
