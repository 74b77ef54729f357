// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * On a backend, for all processes of a cgroup: who is behind a connection that a balancer has made, as TCP option 254
 * of its first packets tells, is what accept() and getpeername() say.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "toa.h"

/* A section of its own: user space writes it whole before the load. */
const volatile struct toa_config config SEC(".rodata.config");

#include "toa_find.h"
#include "toa_connection.h"

/* Enums that only constants come from: named here, they reach BTF, and so user space. */
const volatile enum toa_outcome toa_outcome_btf;

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	PACKETS_SEARCHED = 8, /* of the client's behind its SYN: a balancer puts the option into fewer */
};

static __always_inline bool is_from_balancer(struct bpf_sock_ops *ctx)
{
	struct toa_source key = { .bits = 128 };
	__u32 ipv4 = ctx->remote_ip4;

	if (!config.check_sources)
		return true;
	barrier_var(ipv4); /* clang would read one field or the other at a reckoned offset, which no verifier takes */
	if (ctx->family == AF_INET6) {
		key.addr.s6_addr32[0] = ctx->remote_ip6[0];
		key.addr.s6_addr32[1] = ctx->remote_ip6[1];
		key.addr.s6_addr32[2] = ctx->remote_ip6[2];
		key.addr.s6_addr32[3] = ctx->remote_ip6[3];
	} else {
		key.addr.s6_addr32[2] = bpf_htonl(0xffff);
		key.addr.s6_addr32[3] = ipv4;
	}
	return bpf_map_lookup_elem(&toa_sources, &key);
}

static __always_inline bool is_searching_packets(struct bpf_sock_ops *ctx)
{
	return ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
}

/*
 * A listening socket keeps the SYN of each connection, which is gone when the connection is there. One that keeps more
 * of it (2: the link layer's header too) goes on to.
 */
static __always_inline void keep_syns(struct bpf_sock_ops *ctx)
{
	int keeps = 0, one = 1;

	if (bpf_getsockopt(ctx, IPPROTO_TCP, TCP_SAVE_SYN, &keeps, sizeof(keeps)) == 0 && keeps)
		return;
	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof(one));
}

static __always_inline enum found find_in_syn(struct bpf_sock_ops *ctx, struct toa_client *client)
{
	struct header header = {};
	int bytes = bpf_getsockopt(ctx, IPPROTO_TCP, TCP_BPF_SYN, header.bytes, TCP_HEADER_MAX);

	/* A socket that listened before this program was there has not kept it; nor is there one with SYN cookies. */
	if (bytes < TCP_HEADER_MIN)
		return FOUND_NOTHING;
	return find_option(&header, bytes, client);
}

/* In the packet of this call: skb_data is its TCP header, skb_data_end that header's end. */
static __always_inline enum found find_in_packet(struct bpf_sock_ops *ctx, struct toa_client *client)
{
	const __u8 *data = ctx->skb_data, *end = ctx->skb_data_end;
	struct header header = {};
	__u32 bytes = 0;

	for (; bytes < TCP_HEADER_MAX && data + bytes + 1 <= end; bytes++)
		header.bytes[bytes] = data[bytes];
	return find_option(&header, bytes, client);
}

/* A connection was accepted. `ctx` has the packet that made it so. */
static __always_inline void begin(struct bpf_sock_ops *ctx)
{
	struct toa_client client = {};
	enum toa_outcome outcome;
	enum found in_syn, in_packet;

	if (!is_from_balancer(ctx))
		return count(TOA_OTHER_SOURCE);
	in_syn = find_in_syn(ctx, &client);
	if (in_syn == FOUND_CLIENT)
		return keep(ctx, &client, TOA_FROM_SYN);
	in_packet = find_in_packet(ctx, &client);
	if (in_packet == FOUND_CLIENT)
		return keep(ctx, &client, TOA_FROM_HANDSHAKE);
	/* Whether a later packet has it shows only when all of them are looked at, unless someone else does that
	 * anyway. */
	client.looking = !is_searching_packets(ctx);
	outcome = in_syn == FOUND_MALFORMED || in_packet == FOUND_MALFORMED ? TOA_MALFORMED : TOA_ABSENT;
	keep(ctx, &client, outcome);
	if (client.looking)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG);
}

/* One more packet of a connection. */
static __always_inline void go_on(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct toa_client *client, found = {};

	if (!sk)
		return;
	client = bpf_sk_storage_get(&toa_clients, sk, NULL, 0);
	if (!client || client->known)
		return;
	/* Packets without options may have passed by unseen, on the kernel's fast path: the socket has counted them. */
	if (ctx->segs_in <= PACKETS_SEARCHED) {
		if (find_in_packet(ctx, &found) != FOUND_CLIENT)
			return;
		client->addr = found.addr;
		client->port = found.port;
		client->known = 1;
		count(TOA_FROM_LATER);
	}
	if (client->looking)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG);
	client->looking = 0;
}

SEC("sockops")
int linimo_toa(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		keep_syns(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		begin(ctx);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		go_on(ctx);
		break;
	}
	return 1;
}

static __always_inline const struct toa_client *client_of(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct toa_client *client = sk ? bpf_sk_storage_get(&toa_clients, sk, NULL, 0) : NULL;

	return client && client->known ? client : NULL;
}

/* An AF_INET socket has no word for an IPv6 client: it is told of the balancer's address, as it came. */
SEC("cgroup/getpeername4")
int linimo_peer4(struct bpf_sock_addr *ctx)
{
	const struct toa_client *client = client_of(ctx);

	if (client && client->addr.s6_addr32[0] == 0 && client->addr.s6_addr32[1] == 0 &&
	    client->addr.s6_addr32[2] == bpf_htonl(0xffff)) {
		ctx->user_ip4 = client->addr.s6_addr32[3];
		ctx->user_port = client->port;
	}
	return 1;
}

SEC("cgroup/getpeername6")
int linimo_peer6(struct bpf_sock_addr *ctx)
{
	const struct toa_client *client = client_of(ctx);

	if (client) {
		ctx->user_ip6[0] = client->addr.s6_addr32[0];
		ctx->user_ip6[1] = client->addr.s6_addr32[1];
		ctx->user_ip6[2] = client->addr.s6_addr32[2];
		ctx->user_ip6[3] = client->addr.s6_addr32[3];
		ctx->user_port = client->port;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
