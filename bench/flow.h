/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packets that benches send. A repeat of a test run finds the packet as the run before left it, and live frames
 * come back as their receivers left them; so each begins by putting back what a balancer rewrites, and as the next
 * flow. Checksums stay those of the first flow, for XDP looks at none; but the IPv4 header's where `check_offset` has
 * it.
 */
#pragma once

#define RESTORED_MAX 12

/*
 * Values are as they lie in memory. Each store is of just the word that the data plane loads: a load over two recent
 * stores would wait for both to reach the cache. Laid out as bench/data-plane/packet.ts has it.
 */
const volatile struct {
	__u64 restored[RESTORED_MAX]; /* words that a balancer rewrites; of 4 bytes: the lower 32 bits */
	__u64 addr;		      /* of the first flow; IPv4: the lower 32 bits */
	__u32 ports;		      /* of the first flow */
	__u32 flows;		      /* 0: 2^32 */
	__u32 frame_len;
	__u32 is_ipv6;
	__u16 addr_offset; /* where the varied address is, an IPv6 one's last 8 bytes; 0: the flow is not varied */
	__u16 ports_offset;
	__u32 pushed; /* bytes that a balancer puts ahead of the frame */
	__u8 restored_offset[RESTORED_MAX];
	__u8 restored_len[RESTORED_MAX]; /* 8 or 4; 0: not used */
	__u16 ports_shift;		 /* 0: the source port is varied, 16: the destination port */
	__u16 check_offset;		 /* of the IPv4 header's checksum, which a kernel verifies; 0: it stays */
	__u16 first_check;		 /* that of the first flow */
	__u16 addr_shift; /* 0: the address's last two bytes are varied; 8: the last one, of at most 256 */
} packet = { .frame_len = 64 };

__u32 next_flow;

static __always_inline void restore(void *frame)
{
	/* Known when it is loaded: what is not used is not in the program that runs. */
	_Pragma("unroll") for (int i = 0; i < RESTORED_MAX; i++)
	{
		if (packet.restored_len[i] == 8)
			*(__u64 *)(frame + packet.restored_offset[i]) = packet.restored[i];
		else if (packet.restored_len[i] == 4)
			*(__u32 *)(frame + packet.restored_offset[i]) = packet.restored[i];
	}
}

/* The address's last two bytes were 0, so the sum of 16-bit words grows by what they are. */
static __always_inline __u16 check_of(__u32 flow)
{
	__u32 sum = (__u16)~packet.first_check + (flow >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Returns 0, or -1 when the frame is not the one that `packet` describes. */
static __always_inline int write_packet(const struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 flow = next_flow;

	if (packet.frame_len < 16 || packet.frame_len > 256 || frame + packet.frame_len > end)
		return -1;
	restore(frame);
	if (!packet.addr_offset)
		return 0;

	if (packet.addr_offset + 8 > packet.frame_len || packet.ports_offset + 4 > packet.frame_len)
		return -1;
	next_flow = flow + 1 == packet.flows ? 0 : flow + 1;
	/* The port first, then the address's last two bytes. */
	if (packet.is_ipv6)
		*(__u64 *)(frame + packet.addr_offset) =
			packet.addr + ((__u64)(flow >> 16) << (48 + (packet.addr_shift & 8)));
	else
		*(__u32 *)(frame + packet.addr_offset) = packet.addr + (flow >> 16 << (16 + (packet.addr_shift & 8)));
	*(__u32 *)(frame + packet.ports_offset) = packet.ports + ((flow & 0xffff) << (packet.ports_shift & 16));
	if (packet.check_offset && packet.check_offset + 2 <= packet.frame_len)
		*(__u16 *)(frame + packet.check_offset) = check_of(flow);
	return 0;
}
