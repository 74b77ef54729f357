/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way to a client: from the routes that the control process has found; the kernel's own tables last. */
#pragma once

#include "packet.h"

/* IPv4's table, then IPv6's: CLIENT_ROUTES places each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * CLIENT_ROUTES);
	__type(key, __u32);
	__type(value, struct client_route);
} client_routes SEC(".maps");

/* On-link addresses without a neighbour: the control process has the kernel ask for them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, struct wanted_neighbour);
} wanted_neighbours SEC(".maps");

#define FAMILY_IPV4 2 /* AF_INET */
#define FAMILY_IPV6 10
#define LOOPBACK    1 /* its ifindex, in every network namespace */

/* The entry for an address; NULL: the table is not filled. */
static __always_inline struct client_route *find_client_route(_Bool is_ipv6, __u64 dst_hi, __u64 dst_lo)
{
	__u32 first = is_ipv6 ? CLIENT_ROUTES : 0;

	for (__u32 i = 0; i < CLIENT_ROUTES; i++) {
		__u32 key = bounded(first + i, 2 * CLIENT_ROUTES - 1);
		struct client_route *route = bpf_map_lookup_elem(&client_routes, &key);

		if (!route)
			return NULL;
		if ((dst_lo & load_u64(route->mask.s6_addr + 8)) != load_u64(route->net.s6_addr + 8))
			continue;
		if (!is_ipv6 || (dst_hi & load_u64(route->mask.s6_addr)) == load_u64(route->net.s6_addr))
			return route;
	}
	return NULL;
}

static __always_inline void want_neighbour(const struct in6_addr *addr, __u32 ifindex)
{
	struct wanted_neighbour wanted = { .ifindex = ifindex, .asked = bpf_jiffies64() };

	bpf_map_update_elem(&wanted_neighbours, addr, &wanted, BPF_ANY);
}

/* What the kernel's tables say of an address. */
enum kernel_route {
	KERNEL_ROUTE_NONE = 0,
	KERNEL_ROUTE_HOP = 1,
	KERNEL_ROUTE_LOCAL = 2,
};

/* How a packet leaves: the way of one, whichever table it came from. */
struct way {
	__u8 dst_mac[6]; /* as of struct backend */
	__u8 src_mac[6];
	__u32 ifindex;
	__u32 mtu;
} __attribute__((aligned(8)));

/* A program of its own: a lookup costs 95 ns. Returns an enum kernel_route. */
__attribute__((noinline)) int ask_kernel(struct xdp_md *ctx, const struct in6_addr *dst, __u32 is_ipv6, struct way *way)
{
	struct bpf_fib_lookup asked = { .ifindex = ctx->ingress_ifindex };
	long found;

	if (!dst || !way)
		return KERNEL_ROUTE_NONE;
	if (is_ipv6) {
		asked.family = FAMILY_IPV6;
		__builtin_memcpy(asked.ipv6_dst, dst, sizeof(asked.ipv6_dst));
	} else {
		asked.family = FAMILY_IPV4;
		asked.ipv4_dst = *(const __u32 *)&dst->s6_addr[12];
	}
	found = bpf_fib_lookup(ctx, &asked, sizeof(asked), 0);
	if (found == BPF_FIB_LKUP_RET_FWD_DISABLED) {
		asked.ifindex = LOOPBACK; /* which the control process has set to forward */
		found = bpf_fib_lookup(ctx, &asked, sizeof(asked), 0);
	}
	if (found == BPF_FIB_LKUP_RET_NOT_FWDED)
		return KERNEL_ROUTE_LOCAL;
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		want_neighbour(dst, asked.ifindex);
	if (found != BPF_FIB_LKUP_RET_SUCCESS)
		return KERNEL_ROUTE_NONE;
	__builtin_memcpy(way->dst_mac, asked.dmac, sizeof(way->dst_mac));
	__builtin_memcpy(way->src_mac, asked.smac, sizeof(way->src_mac));
	way->ifindex = asked.ifindex;
	return KERNEL_ROUTE_HOP;
}
