/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the data plane with NAT, FULLNAT and SNAT on, and has a frame translated there and back by each, in IPv4 and
 * IPv6. Prints `ok`, or what was wrong and exits with 1.
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/shared.h"

#define LOOPBACK 1 /* the interface that a test run's frames enter by */
#define LOCAL	 0 /* number of the local address */

static const __u8 MAC[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };

/* Of either family: client, VIP, backend, local address, a host inside, one outside. */
struct family {
	const char *client, *vip, *backend, *local, *inside, *outside;
};

static const struct family families[] = {
	{ "::ffff:198.51.100.7", "::ffff:192.0.2.10", "::ffff:10.9.0.21", "::ffff:10.200.0.1", "::ffff:10.9.4.7",
	  "::ffff:203.0.113.80" },
	{ "2001:db8:1::7", "2001:db8::10", "2001:db8:9::21", "2001:db8:200::1", "2001:db8:94::7", "2001:db8:77::80" },
};

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

static struct in6_addr addr_of(const char *text)
{
	struct in6_addr addr;

	if (inet_pton(AF_INET6, text, &addr) != 1)
		fail("no address: %s", text);
	return addr;
}

/* One bucket of each table, so that nothing has to be hashed here. */
static struct bpf_object *load(const char *path)
{
	struct config config = { .cache_bits = 17,
				 .tracking = 1,
				 .any_port = 1,
				 .nat = 1,
				 .connections = 1,
				 .snat_prefixes = 1,
				 .snat_pool = 1,
				 .connection_bits = 4 };
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		fail("%s cannot be opened", path);
	for (int i = 0; i < 4; i++)
		config.hash_keys[i] = 0x9e3779b97f4a7c15ULL + 2 * i;
	if (bpf_map__set_initial_value(bpf_object__find_map_by_name(object, ".rodata.config"), &config,
				       sizeof(config)) ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "connections"), 1 << 16))
		fail("the configuration cannot be set");
	if (bpf_object__load(object))
		fail("the kernel refuses the program");
	return object;
}

static void update(struct bpf_object *object, const char *name, __u32 key, const void *value)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	if (fd < 0 || bpf_map_update_elem(fd, &key, value, BPF_ANY))
		fail("map %s cannot be written", name);
}

static void set_tables(struct bpf_object *object, const struct family *it, enum forward_mode mode)
{
	struct service service = { .addr = addr_of(it->vip),
				   .port = htons(80),
				   .protocol = IPPROTO_TCP,
				   .state = SERVICE_USED,
				   .flags = SERVICE_CONNECTIONS,
				   .pool = 1,
				   .ring_size = 1,
				   .hash_mask = ~0ULL };
	struct backend backend = { .ifindex = LOOPBACK,
				   .mode = mode,
				   .flags = BACKEND_RESOLVED,
				   .mtu = 1400,
				   .port = htons(8080),
				   .addr = addr_of(it->backend) };
	struct reply reply = { .state = SERVICE_USED, .addr = addr_of(it->local), .id = LOCAL };
	struct interface interface = { .ifindex = LOOPBACK };
	struct client_route all = { .kind = CLIENT_ROUTE_HOP, .ifindex = LOOPBACK, .mtu = 1500 };
	struct connection_times times = { 120, 60, 900, 120, 60, 30, 120, 10, 300, 30, {} };
	struct pool pool = { .first = LOCAL, .count = 1, .first_port = 5000, .ports = 64, .ranges = 1 };
	struct local_address local = { .addr = addr_of(it->local) };
	struct prefix inside = { .net = addr_of(it->inside) };
	__u64 slot = 1;

	memset(&inside.mask, 0xff, sizeof(inside.mask));
	if (mode == FORWARD_NAT) {
		reply = (struct reply){ .addr = backend.addr,
					.port = backend.port,
					.protocol = IPPROTO_TCP,
					.state = SERVICE_USED,
					.vip = service.addr,
					.vip_port = service.port,
					.id = 1 };
	}
	memcpy(interface.mac, MAC, ETH_ALEN);
	update(object, "interfaces", 0, &interface);
	update(object, "backends", 1, &backend);
	update(object, "slots", 0, &slot);
	update(object, "services", 0, &service);
	update(object, "replies", 0, &reply);
	for (__u32 i = 0; i < 2; i++) {
		update(object, "client_routes", i * CLIENT_ROUTES, &all);
		update(object, "connection_times", i, &times);
		update(object, "pools", 1 + i, &pool);
	}
	update(object, "local_addresses", LOCAL, &local);
	update(object, "snat_prefixes", 0, &inside);
}

/* What of a frame counts here. */
struct ends {
	struct in6_addr src, dst;
	__u16 sport, dport;
};

static size_t build(__u8 *frame, const struct ends *ends, int is_syn)
{
	int is_ipv4 = IN6_IS_ADDR_V4MAPPED(&ends->dst);
	struct ethhdr *eth = (struct ethhdr *)frame;
	struct tcphdr tcp = {
		.source = htons(ends->sport), .dest = htons(ends->dport), .doff = 5, .syn = is_syn, .ack = !is_syn
	};
	__u8 *end = frame + sizeof(*eth);

	memcpy(eth->h_dest, MAC, ETH_ALEN);
	eth->h_proto = htons(is_ipv4 ? ETH_P_IP : ETH_P_IPV6);
	if (is_ipv4) {
		struct iphdr ip = { .version = 4,
				    .ihl = 5,
				    .ttl = 64,
				    .protocol = IPPROTO_TCP,
				    .tot_len = htons(sizeof(ip) + sizeof(tcp)) };

		memcpy(&ip.saddr, &ends->src.s6_addr[12], 4);
		memcpy(&ip.daddr, &ends->dst.s6_addr[12], 4);
		memcpy(end, &ip, sizeof(ip));
		end += sizeof(ip);
	} else {
		struct ipv6hdr ip = { .version = 6,
				      .payload_len = htons(sizeof(tcp)),
				      .nexthdr = IPPROTO_TCP,
				      .hop_limit = 64,
				      .saddr = ends->src,
				      .daddr = ends->dst };

		memcpy(end, &ip, sizeof(ip));
		end += sizeof(ip);
	}
	memcpy(end, &tcp, sizeof(tcp));
	return end + sizeof(tcp) - frame;
}

static struct ends read_ends(const __u8 *frame)
{
	const __u8 *l3 = frame + ETH_HLEN, *l4;
	struct ends ends = { .src = addr_of("::ffff:0.0.0.0"), .dst = addr_of("::ffff:0.0.0.0") };

	if (l3[0] >> 4 == 4) {
		memcpy(&ends.src.s6_addr[12], l3 + 12, 4);
		memcpy(&ends.dst.s6_addr[12], l3 + 16, 4);
		l4 = l3 + 20;
	} else {
		memcpy(&ends.src, l3 + 8, 16);
		memcpy(&ends.dst, l3 + 24, 16);
		l4 = l3 + 40;
	}
	ends.sport = l4[0] << 8 | l4[1];
	ends.dport = l4[2] << 8 | l4[3];
	return ends;
}

/* The frame between `sent`'s ends leaves between those that are returned. */
static struct ends translate(struct bpf_object *object, const char *what, struct ends sent, int is_syn)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "balance");
	__u8 frame[256] = { 0 }, out[256] = { 0 };

	if (!program)
		fail("no program `balance`");
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_out = out,
		    .data_size_in = build(frame, &sent, is_syn), .data_size_out = sizeof(out));
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &run))
		fail("%s: the test run failed", what);
	/* A way out by the interface that it came in, or by another: that one's redirection is TX's equal here. */
	if (run.retval != XDP_TX && run.retval != XDP_REDIRECT)
		fail("%s: the action is %u", what, run.retval);
	return read_ends(out);
}

static void expect(const char *what, struct ends got, const char *src, const char *dst, __u16 sport, __u16 dport)
{
	struct in6_addr from = addr_of(src), to = addr_of(dst);

	if (memcmp(&got.src, &from, 16) || memcmp(&got.dst, &to, 16) || (sport && got.sport != sport) ||
	    (dport && got.dport != dport))
		fail("%s: it leaves with other ends", what);
}

static void check(struct bpf_object *object, const struct family *it)
{
	struct ends request = { addr_of(it->client), addr_of(it->vip), 40000, 80 };
	struct ends own = { addr_of(it->inside), addr_of(it->outside), 50000, 443 }, got;

	set_tables(object, it, FORWARD_NAT);
	got = translate(object, "NAT", request, 1);
	expect("NAT", got, it->client, it->backend, 40000, 8080);
	got = translate(object, "NAT, a reply", (struct ends){ got.dst, got.src, got.dport, got.sport }, 0);
	expect("NAT, a reply", got, it->vip, it->client, 80, 40000);

	set_tables(object, it, FORWARD_FULLNAT);
	got = translate(object, "FULLNAT", request, 1);
	expect("FULLNAT", got, it->local, it->backend, 0, 8080);
	got = translate(object, "FULLNAT, a reply", (struct ends){ got.dst, got.src, got.dport, got.sport }, 0);
	expect("FULLNAT, a reply", got, it->vip, it->client, 80, 40000);

	got = translate(object, "SNAT", own, 1);
	expect("SNAT", got, it->local, it->outside, 0, 443);
	got = translate(object, "SNAT, a reply", (struct ends){ got.dst, got.src, got.dport, got.sport }, 0);
	expect("SNAT, a reply", got, it->outside, it->inside, 443, 50000);
	printf("%s: translated there and back\n", it->vip);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 2; i++) {
		struct bpf_object *object = load(argc > 1 ? argv[1] : "balancer.bpf.o");

		check(object, &families[i]);
		bpf_object__close(object);
	}
	printf("ok\n");
	return 0;
}
