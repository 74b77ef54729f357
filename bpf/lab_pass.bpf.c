/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * For the lab only. A veth device takes frames that its peer sends by XDP_TX only while it has a native XDP program
 * of its own (drivers/net/veth.c, veth_xdp_flush); this one does no more than be there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int lab_pass(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
