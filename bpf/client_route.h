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
#define LOOPBACK    1 /* its ifindex, in every network namespace */

/* Entries that are looked at where the packet is: those of a host with a few networks. */
#define NEAR_ROUTES 6

static __always_inline _Bool is_route_to(const struct client_route *route, _Bool is_ipv6, __u64 dst_hi, __u64 dst_lo)
{
	if ((dst_lo & load_u64(route->mask.s6_addr + 8)) != load_u64(route->net.s6_addr + 8))
		return 0;
	return !is_ipv6 || (dst_hi & load_u64(route->mask.s6_addr)) == load_u64(route->net.s6_addr);
}

/* The entry for an address, if it is among the first: without a call. */
static __always_inline struct client_route *find_near_route(_Bool is_ipv6, __u64 dst_hi, __u64 dst_lo)
{
	__u32 first = is_ipv6 ? CLIENT_ROUTES : 0;

	for (__u32 i = 0; i < NEAR_ROUTES; i++) {
		__u32 key = first + i;
		struct client_route *route = bpf_map_lookup_elem(&client_routes, &key);

		if (!route)
			return NULL;
		if (is_route_to(route, is_ipv6, dst_hi, dst_lo))
			return route;
	}
	return NULL;
}

/* A program of its own. The place of an address's entry in client_routes. */
__attribute__((noinline)) __u32 search_client_routes(__u64 dst_hi, __u64 dst_lo, __u32 is_ipv6)
{
	__u32 first = is_ipv6 ? CLIENT_ROUTES : 0;

	for (__u32 i = 0; i < CLIENT_ROUTES; i++) {
		__u32 key = first + i;
		struct client_route *route = bpf_map_lookup_elem(&client_routes, &key);

		if (!route)
			break;
		if (is_route_to(route, is_ipv6, dst_hi, dst_lo))
			return key;
	}
	return NO_ID;
}

/* The entry for an address; NULL: the table is not filled. */
static __always_inline struct client_route *find_client_route(_Bool is_ipv6, __u64 dst_hi, __u64 dst_lo)
{
	__u32 key = search_client_routes(dst_hi, dst_lo, is_ipv6);

	return bpf_map_lookup_elem(&client_routes, &key);
}

static __always_inline void want_neighbour(const struct in6_addr *addr, __u32 ifindex)
{
	struct wanted_neighbour wanted = { .ifindex = ifindex, .asked = bpf_jiffies64() };

	bpf_map_update_elem(&wanted_neighbours, addr, &wanted, BPF_ANY);
}

/* How a packet leaves towards a client: as struct client_route and struct backend have it. */
struct way {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u32 ifindex;
} __attribute__((aligned(8)));

/* The one that this CPU has been told by the kernel, or has learnt. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct way));
} ways SEC(".maps");

static __always_inline struct way *this_way(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&ways, &key);
}

/* What the kernel's tables say of an address; with KERNEL_ROUTE_TOO_BIG, from bit 8 on, the MTU. */
enum kernel_route {
	KERNEL_ROUTE_NONE = 0,
	KERNEL_ROUTE_HOP = 1, /* left in this_way() */
	KERNEL_ROUTE_LOCAL = 2,
	KERNEL_ROUTE_TOO_BIG = 3,
};

/* A program of its own: a lookup costs 95 ns. `len` bytes of packet. Returns an enum kernel_route. */
__attribute__((noinline)) int ask_kernel(struct xdp_md *ctx, __u64 dst_hi, __u64 dst_lo, __u32 is_ipv6, __u32 len)
{
	struct bpf_fib_lookup asked = { .ifindex = ctx->ingress_ifindex, .tot_len = len };
	struct way *way = this_way();
	struct in6_addr dst;
	long found;

	if (!way)
		return KERNEL_ROUTE_NONE;
	*(__u64 *)&dst.s6_addr[0] = dst_hi;
	*(__u64 *)&dst.s6_addr[8] = dst_lo;
	if (is_ipv6) {
		asked.family = FAMILY_IPV6;
		__builtin_memcpy(asked.ipv6_dst, &dst, sizeof(asked.ipv6_dst));
	} else {
		asked.family = FAMILY_IPV4;
		asked.ipv4_dst = dst_lo >> 32;
	}
	found = bpf_fib_lookup(ctx, &asked, sizeof(asked), 0);
	if (found == BPF_FIB_LKUP_RET_FWD_DISABLED) {
		asked.tot_len = len;
		asked.ifindex = LOOPBACK; /* which the control process has set to forward */
		found = bpf_fib_lookup(ctx, &asked, sizeof(asked), 0);
	}
	if (found == BPF_FIB_LKUP_RET_NOT_FWDED)
		return KERNEL_ROUTE_LOCAL;
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return KERNEL_ROUTE_TOO_BIG | (__u32)asked.mtu_result << 8;
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		want_neighbour(&dst, asked.ifindex);
	if (found != BPF_FIB_LKUP_RET_SUCCESS)
		return KERNEL_ROUTE_NONE;
	__builtin_memcpy(way->dst_mac, asked.dmac, sizeof(way->dst_mac));
	__builtin_memcpy(way->src_mac, asked.smac, sizeof(way->src_mac));
	way->ifindex = asked.ifindex;
	return KERNEL_ROUTE_HOP;
}
