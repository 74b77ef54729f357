// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The data plane, in the order a packet travels it: one header per stage. docs/data-plane.md has it in words. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* A section of its own: user space writes it whole before the load. */
const volatile struct config config SEC(".rodata.config") = {
	.service_mask = 8191,
	.interface_mask = 15,
	.answers_per_second = 1000,
	.cache_bits = 17,
	.connection_bits = 4,
	.reply_mask = 8191,
};

#include "packet.h"
#include "parse.h"
#include "service.h"
#include "message.h"
#include "ping.h"
#include "ring.h"
#include "recall_connection.h"
#include "recall.h"
#include "reject.h"
#include "forward.h"
#include "come_back.h"
#include "verdict.h"

/* Enums that only constants come from: named here, they reach BTF, and so user space. */
const volatile enum verdict verdict_btf;
const volatile enum forward_mode forward_mode_btf;
const volatile enum service_state service_state_btf;
const volatile enum service_flags service_flags_btf;
const volatile enum backend_flags backend_flags_btf;
const volatile enum slot_layout slot_layout_btf;
const volatile enum slot_state slot_state_btf;
const volatile enum flow_layout flow_layout_btf;
const volatile enum flow_class flow_class_btf;
const volatile enum verdict_layout verdict_layout_btf;
const volatile enum client_route_kind client_route_kind_btf;
const volatile enum client_routes client_routes_btf;
const volatile enum connection_kind connection_kind_btf;
const volatile enum connection_seen connection_seen_btf;
const volatile enum connection_state connection_state_btf;
const volatile enum index_layout index_layout_btf;

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	struct packet pkt;
	enum verdict verdict;

	begin(&pkt, ctx);
	/* clang-format off */
	verdict = parse(&pkt)			/* headers -> addresses, protocol, ports */
	       ?: find_service(&pkt)		/* pkt.service, or the host's own traffic */
	       ?: come_back(&pkt)		/* or a reply, translated back: NAT and FULLNAT */
	       ?: check_destination_mac(&pkt)	/* or a frame that only flew by */
	       ?: answer_ping(&pkt)		/* an echo request to a VIP */
	       ?: parse_l4(&pkt)		/* the L4 header, whole */
	       ?: recall_connection(&pkt)	/* FULLNAT: the connection that it belongs to */
	       ?: find_slot(&pkt)		/* its place in the service's ring, and so pkt.backend_id */
	       ?: recall_flow(&pkt)		/* tracked slots only: the backend that this flow had before */
	       ?: answer_without_backend(&pkt)	/* no backend alive: reset, unreachable, or silence */
	       ?: forward(&pkt);		/* by the backend's mode: rewrite, and out */
	/* clang-format on */

	return conclude(&pkt, verdict);
}

/* For user space, which keeps the same flow clock: jiffies, in the frame's first eight bytes. */
SEC("xdp")
int read_jiffies(struct xdp_md *ctx)
{
	__u64 *frame = frame_start(ctx);

	if ((void *)(frame + 1) > frame_end(ctx))
		return XDP_ABORTED;
	*frame = bpf_jiffies64();
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
