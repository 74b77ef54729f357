/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether the balancer answers by itself: never a group, never no host (RFC 1122 3.2.2), and so many times a second. */
#pragma once

#include "packet.h"

#define NS_PER_S 1000000000ULL

/* Each kind of answer has a budget of its own: a flood of one leaves the others alone. */
enum answer {
	ANSWER_REJECT,
	ANSWER_TOO_BIG,
	ANSWER_PING,
	ANSWER_TUNNEL_ERROR,
	ANSWER_TIME_EXCEEDED,
	ANSWERS,
};

/* The time up to which this CPU's answers are paid for: token buckets of one second's worth, by enum answer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ANSWERS);
	__type(key, __u32);
	__type(value, __u64);
} answer_budgets SEC(".maps");

static __always_inline _Bool may_answer(enum answer answer)
{
	__u64 now, *paid, rate = config.answers_per_second;
	__u32 key = answer;

	if (!rate)
		return 1;
	paid = bpf_map_lookup_elem(&answer_budgets, &key);
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
