// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For frames that really travel: generate -> veth -> plain, or the balancer -> veth -> sink. `plain` is the least that
 * any forwarding in XDP does.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"

enum { WAY_IN = 0, WAY_OUT = 1 }; /* entries of `ways` */

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} ways SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} delivered SEC(".maps");

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	return write_packet(ctx) ? XDP_ABORTED : bpf_redirect_map(&ways, WAY_IN, XDP_ABORTED);
}

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* Parses as far as the ports, exchanges the MAC addresses, redirects. */
SEC("xdp")
int plain(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = frame + ETH_HLEN;
	struct ipv6hdr *ip6 = frame + ETH_HLEN;
	__be16 ethertype;
	__u64 macs, rest;

	if ((void *)(ip + 1) > end)
		return XDP_PASS;
	ethertype = *(__be16 *)(frame + 2 * ETH_ALEN);
	if (ethertype == bpf_htons(ETH_P_IP)) {
		if (ip->ihl != 5 || !has_ports(ip->protocol) || (void *)(ip + 1) + 4 > end)
			return XDP_PASS;
	} else if (ethertype == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) + 4 > end || !has_ports(ip6->nexthdr))
			return XDP_PASS;
	} else {
		return XDP_PASS;
	}

	macs = *(__u64 *)frame;
	rest = *(__u32 *)(frame + 8);
	*(__u64 *)frame = macs >> 48 | rest << 16 | macs << 48;
	*(__u32 *)(frame + 8) = macs >> 16;
	return bpf_redirect_map(&ways, WAY_OUT, XDP_DROP);
}

SEC("xdp")
int sink(struct xdp_md *ctx __attribute__((unused)))
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&delivered, &key);

	if (count)
		++*count;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
