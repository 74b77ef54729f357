/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The service table: packet -> service, or the host's own traffic. */
#pragma once

#include "packet.h"

/* Buckets that an entry may lie in, from its home on. The control process reseeds when one finds no room. */
#define SERVICE_PROBES 4

/* Open addressing, a power of two of buckets, kept under an eighth full. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

/* Where an entry is at home. `selector` is the bucket's word of port, protocol and state, as it lies in memory. */
static __always_inline __u32 table_hash(__u64 addr_hi, __u64 addr_lo, __u32 selector)
{
	/* An address's last bytes lie in the top of the word, where a multiply would leave them: fold down first. */
	__u64 x = addr_lo ^ (addr_hi ^ addr_hi >> 32) * 0x9e3779b97f4a7c15ULL ^ selector;

	x ^= x >> 32;
	x = (x ^ config.service_seed) * 0xff51afd7ed558ccdULL;
	x ^= x >> 23; /* or addresses that differ in their third byte alone would lie side by side */
	return x >> 32;
}

static __always_inline __u32 service_selector(__be16 port, __u8 protocol)
{
	return (__u32)SERVICE_USED << 24 | (__u32)protocol << 16 | port;
}

static __always_inline struct service *lookup_service(__u64 addr_hi, __u64 addr_lo, __u8 protocol, __be16 port)
{
	__u32 selector = service_selector(port, protocol);
	__u32 home = table_hash(addr_hi, addr_lo, selector);

	for (int probe = 0; probe < SERVICE_PROBES; probe++) {
		__u32 bucket = (home + probe) & config.service_mask;
		struct service *service = bpf_map_lookup_elem(&services, &bucket);
		__u32 found;

		if (!service)
			break;
		found = *(volatile __u32 *)&service->port; /* port, protocol and state together */
		if (found == selector && *(__u64 *)&service->addr.s6_addr[8] == addr_lo &&
		    *(__u64 *)&service->addr.s6_addr[0] == addr_hi)
			return service;
		if (!(found >> 24)) /* SERVICE_EMPTY */
			break;
	}
	return NULL;
}

/* CONTINUE without pkt.service: it may be a reply. */
__stage enum verdict find_service(struct packet *pkt)
{
	pkt->service = lookup_service(pkt->dst_hi, pkt->dst_lo, pkt->protocol, pkt->ports >> 16);
	if (!pkt->service && config.any_port)
		pkt->service = lookup_service(pkt->dst_hi, pkt->dst_lo, pkt->protocol, 0);
	if (!pkt->service)
		return config.nat || config.connections ? CONTINUE : PASS_NOT_A_SERVICE;
	/* ::ffff:a.b.c.d on the wire is not a.b.c.d, though the table's key is the same. */
	if (pkt->is_ipv6 && !pkt->dst_hi && (__u32)pkt->dst_lo == (__u32)IPV4_MAPPED_PREFIX) {
		pkt->service = NULL;
		return PASS_NOT_A_SERVICE;
	}
	return CONTINUE;
}

/* A frame for another host on the segment, seen because of flooding or promiscuous mode, is not ours to forward. */
__stage enum verdict check_destination_mac(struct packet *pkt)
{
	__u32 ifindex = pkt->ctx->ingress_ifindex, key = ifindex & config.interface_mask;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &key);
	__u64 mac;

	if (!interface || interface->ifindex != ifindex)
		return PASS_OTHER_HOST;
	mac = *(__u64 *)pkt->frame; /* the destination, then two bytes of the source */
	return (mac ^ *(__u64 *)interface->mac) << 16 ? PASS_OTHER_HOST : CONTINUE;
}
