/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No backend alive: the client is told, where the service wants it; never a group, never no host (RFC 1122 3.2.2). */
#pragma once

#include "packet.h"

#define NS_PER_S 1000000000ULL

/* The time up to which this CPU's answers are paid for: a token bucket of one second's worth. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} reject_budget SEC(".maps");

static __always_inline _Bool may_answer(void)
{
	__u64 now, *paid, rate = config.rejects_per_second;
	__u32 key = 0;

	if (!rate)
		return 1;
	paid = bpf_map_lookup_elem(&reject_budget, &key);
	if (!paid)
		return 0;
	now = bpf_ktime_get_ns();
	if (*paid < now)
		*paid = now;
	if (*paid - now >= NS_PER_S)
		return 0;
	*paid += NS_PER_S / rate;
	return 1;
}

#include "reset.h"
#include "unreachable.h"

static __always_inline _Bool is_host_ipv4(__be32 addr)
{
	__u8 first = bpf_ntohl(addr) >> 24;

	return first != 0 && first != 127 && first < 224;
}

static __always_inline _Bool is_host_ipv6(const struct in6_addr *addr)
{
	if (addr->s6_addr[0] == 0xff)
		return 0;
	return *(__u64 *)&addr->s6_addr[0] || bpf_be64_to_cpu(*(__u64 *)&addr->s6_addr[8]) > 1; /* neither :: nor ::1 */
}

static __always_inline _Bool is_same_addr(const struct in6_addr *a, const struct in6_addr *b)
{
	return load_u64(a->s6_addr) == load_u64(b->s6_addr) && load_u64(a->s6_addr + 8) == load_u64(b->s6_addr + 8);
}

static __always_inline enum verdict reject_ipv4(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct iphdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end)
		return DROP_NO_BACKEND;
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv4(ip->saddr) || ip->saddr == ip->daddr)
		return DROP_NO_BACKEND;
	if (it->protocol == IPPROTO_TCP)
		return reset_ipv4(it);
	return may_answer() ? unreachable_ipv4(it) : DROP_REJECT_LIMITED;
}

static __always_inline enum verdict reject_ipv6(const struct unanswered *it)
{
	void *frame = frame_start(it->ctx), *end = frame_end(it->ctx);
	struct ipv6hdr *ip = frame + it->l3_offset;

	if (frame + L3_OFFSET_MAX > end || (void *)(ip + 1) > end)
		return DROP_NO_BACKEND;
	if (is_group_mac(frame + ETH_ALEN) || !is_host_ipv6(&ip->saddr) || is_same_addr(&ip->saddr, &ip->daddr))
		return DROP_NO_BACKEND;
	if (it->protocol == IPPROTO_TCP)
		return reset_ipv6(it);
	return may_answer() ? unreachable_ipv6(it) : DROP_REJECT_LIMITED;
}

/* A program of its own, off the fast path. Offsets as in struct unanswered. Returns an enum verdict. */
__attribute__((noinline)) int reject(struct xdp_md *ctx, __u32 l3_offset, __u32 l4_offset, __u32 l4_len,
				     __u32 is_ipv6_and_protocol)
{
	struct unanswered it = {
		.ctx = ctx,
		.l3_offset = bounded(l3_offset, 0x1f),
		.l4_offset = bounded(l4_offset, 0x3fff),
		.l4_len = bounded(l4_len, 0xffff),
		.protocol = is_ipv6_and_protocol & 0xff,
	};
	__u32 in_frame = length(frame_start(ctx), frame_end(ctx)) - it.l4_offset;

	if (it.l4_len > in_frame)
		it.l4_len = in_frame;

	return is_ipv6_and_protocol >> 8 ? reject_ipv6(&it) : reject_ipv4(&it);
}

__stage enum verdict answer_without_backend(struct packet *pkt)
{
	if (pkt->backend_id)
		return CONTINUE;
	if (!(pkt->service->flags & SERVICE_REJECT))
		return DROP_NO_BACKEND;
	/* Never 0, but the verifier takes any result of a program as possible. */
	return (enum verdict)reject(pkt->ctx, length(pkt->frame, pkt->l3), length(pkt->frame, pkt->l4), pkt->l4_len,
				    (__u32)pkt->is_ipv6 << 8 | pkt->protocol)
		     ?: DROP_NO_BACKEND;
}
