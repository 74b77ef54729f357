/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the data plane, gives it a service and a backend per IP version, and forwards a frame each by the kernel's
 * test run. Prints `ok`, or what was wrong and exits with 1.
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

static const __u8 ROUTER[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };
static const __u8 BALANCER[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };
static const __u8 BACKEND[ETH_ALEN] = { 2, 0, 0, 0, 0, 3 };

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

/* One bucket of each table, so that nothing has to be hashed here. */
static struct bpf_object *load(const char *path)
{
	struct config config = { .service_mask = 0, .interface_mask = 0, .cache_bits = 17, .tracking = 1 };
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		fail("%s cannot be opened", path);
	for (int i = 0; i < 4; i++)
		config.hash_keys[i] = 0x9e3779b97f4a7c15ULL + 2 * i;
	if (bpf_map__set_initial_value(bpf_object__find_map_by_name(object, ".rodata.config"), &config, sizeof(config)))
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

static void set_tables(struct bpf_object *object, const struct in6_addr *vip, enum forward_mode mode)
{
	struct service service = { .addr = *vip,
				   .port = htons(80),
				   .protocol = IPPROTO_TCP,
				   .state = SERVICE_USED,
				   .ring_size = 1,
				   .hash_mask = ~0ULL };
	struct backend backend = { .ifindex = LOOPBACK, .mode = mode, .flags = BACKEND_RESOLVED, .mtu = 1400 };
	struct interface interface = { .ifindex = LOOPBACK };
	__u64 slot = 1;

	inet_pton(AF_INET6, "2001:db8:2::3", &backend.addr);
	inet_pton(AF_INET6, "2001:db8:2::2", &backend.source);
	memcpy(backend.dst_mac, BACKEND, ETH_ALEN);
	memcpy(backend.src_mac, BALANCER, ETH_ALEN);
	memcpy(interface.mac, BALANCER, ETH_ALEN);
	update(object, "interfaces", 0, &interface);
	update(object, "backends", 1, &backend);
	update(object, "slots", 0, &slot);
	update(object, "services", 0, &service);
}

/* A SYN to the VIP's port 80; returns the frame's length. Checksums are left zero: the data plane looks at none. */
static size_t build_syn(__u8 *frame, const struct in6_addr *vip)
{
	int is_ipv4 = IN6_IS_ADDR_V4MAPPED(vip);
	struct ethhdr *eth = (struct ethhdr *)frame;
	struct tcphdr tcp = { .source = htons(40000), .dest = htons(80), .doff = 5, .syn = 1 };
	__u8 *end = frame + sizeof(*eth);

	memcpy(eth->h_dest, BALANCER, ETH_ALEN);
	memcpy(eth->h_source, ROUTER, ETH_ALEN);
	eth->h_proto = htons(is_ipv4 ? ETH_P_IP : ETH_P_IPV6);
	if (is_ipv4) {
		struct iphdr ip = { .version = 4,
				    .ihl = 5,
				    .ttl = 64,
				    .protocol = IPPROTO_TCP,
				    .tot_len = htons(sizeof(ip) + sizeof(tcp)),
				    .saddr = htonl(0xc6336407) };

		memcpy(&ip.daddr, &vip->s6_addr[12], 4);
		memcpy(end, &ip, sizeof(ip));
		end += sizeof(ip);
	} else {
		struct ipv6hdr ip = {
			.version = 6, .payload_len = htons(sizeof(tcp)), .nexthdr = IPPROTO_TCP, .hop_limit = 64
		};

		inet_pton(AF_INET6, "2001:db8:1::7", &ip.saddr);
		ip.daddr = *vip;
		memcpy(end, &ip, sizeof(ip));
		end += sizeof(ip);
	}
	memcpy(end, &tcp, sizeof(tcp));
	return end + sizeof(tcp) - frame;
}

/* A SYN goes to the backend: `headers` bytes are put behind its Ethernet header, all else is as it came. */
static void check_forwarding(struct bpf_object *object, const char *vip_text, enum forward_mode mode, size_t headers)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "balance");
	__u8 frame[256] = { 0 }, out[256] = { 0 }, *inner = out + ETH_HLEN + headers;
	struct in6_addr vip;
	size_t len;

	if (!program || inet_pton(AF_INET6, vip_text, &vip) != 1)
		fail("no program `balance`");
	set_tables(object, &vip, mode);
	len = build_syn(frame, &vip);

	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_out = out, .data_size_in = len,
		    .data_size_out = sizeof(out));
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &run))
		fail("%s: the test run failed", vip_text);
	if (run.retval != XDP_TX)
		fail("%s: the action is %u, not XDP_TX", vip_text, run.retval);
	if (run.data_size_out != len + headers || memcmp(out, BACKEND, ETH_ALEN) ||
	    memcmp(out + ETH_ALEN, BALANCER, ETH_ALEN) || memcmp(inner, frame + ETH_HLEN, len - ETH_HLEN))
		fail("%s: the frame that leaves is wrong", vip_text);
	printf("%s: forwarded, %zu bytes of headers\n", vip_text, headers);
}

int main(int argc, char **argv)
{
	struct bpf_object *object = load(argc > 1 ? argv[1] : "balancer.bpf.o");

	for (int i = 0; i < 2; i++) {
		const char *vip = i ? "2001:db8::10" : "::ffff:192.0.2.10";

		check_forwarding(object, vip, FORWARD_DR, 0);
		check_forwarding(object, vip, FORWARD_IPIP, 40);
		check_forwarding(object, vip, FORWARD_GRE, 44);
		check_forwarding(object, vip, FORWARD_GUE, 52);
	}
	printf("ok\n");
	return 0;
}
