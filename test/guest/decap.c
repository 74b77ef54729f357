/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the decapsulator and has it take an IPIP packet apart, and leave another alone, by the kernel's test run.
 * Prints what it has done, or what was wrong and exits with 1.
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/decap.h"

#define OWN 0x0a00000b /* 10.0.0.11 */
#define VIP 0xc000020a /* 192.0.2.10 */

static void fail(const char *why)
{
	printf("%s\n", why);
	exit(1);
}

static struct bpf_object *load(const char *path)
{
	struct decap_config config = { .modes = DECAP_MODE_IPIP | DECAP_MODE_GRE | DECAP_MODE_GUE };
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		fail("the decapsulator cannot be opened");
	if (bpf_map__set_initial_value(bpf_object__find_map_by_name(object, ".rodata.config"), &config, sizeof(config)))
		fail("the decapsulator's configuration cannot be set");
	if (bpf_object__load(object))
		fail("the kernel refuses the decapsulator");
	return object;
}

static void know(struct bpf_object *object, __u32 address, __u32 as)
{
	__u8 key[16] = { [10] = 0xff, [11] = 0xff };
	int fd = bpf_object__find_map_fd_by_name(object, "addresses");

	address = htonl(address);
	memcpy(key + 12, &address, sizeof(address));
	if (fd < 0 || bpf_map_update_elem(fd, key, &as, BPF_ANY))
		fail("the decapsulator's addresses cannot be written");
}

static __u16 checksum(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static void write_ip(struct iphdr *ip, __u32 to, __u8 protocol, __u16 bytes)
{
	*ip = (struct iphdr){ .version = 4,
			      .ihl = 5,
			      .ttl = 64,
			      .protocol = protocol,
			      .tot_len = htons(bytes),
			      .saddr = htonl(0xc6336407),
			      .daddr = htonl(to) };
	ip->check = checksum(ip);
}

/* An IPIP packet to `to`; `cut` bytes are to be gone from it afterwards. */
static void check(struct bpf_object *object, __u32 to, size_t cut)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "linimo_decap");
	__u8 frame[ETH_HLEN + 60] = { 2 }, out[256] = { 0 };
	struct iphdr headers[2];

	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_out = out, .data_size_in = sizeof(frame),
		    .data_size_out = sizeof(out));
	frame[12] = ETH_P_IP >> 8;
	write_ip(&headers[0], to, IPPROTO_IPIP, 60);
	write_ip(&headers[1], VIP, IPPROTO_UDP, 40);
	memcpy(frame + ETH_HLEN, headers, sizeof(headers));
	if (!program || bpf_prog_test_run_opts(bpf_program__fd(program), &run))
		fail("the decapsulator's test run failed");
	if (run.retval != XDP_PASS || run.data_size_out != sizeof(frame) - cut || memcmp(out, frame, ETH_HLEN) ||
	    memcmp(out + ETH_HLEN, frame + ETH_HLEN + cut, sizeof(frame) - ETH_HLEN - cut))
		fail("what the decapsulator has left is wrong");
}

int main(int argc, char **argv)
{
	struct bpf_object *object = load(argc > 1 ? argv[1] : "decap.bpf.o");

	know(object, OWN, DECAP_ADDRESS_OWN);
	know(object, VIP, DECAP_ADDRESS_VIP);
	check(object, OWN, sizeof(struct iphdr));
	check(object, OWN + 1, 0);
	printf("an IPIP packet is taken apart, another is left alone\n");
	return 0;
}
