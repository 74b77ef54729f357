/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the programs that read TCP option 254, attaches them to the root cgroup, and makes a connection without the
 * option: the SYN was kept and looked at, and the server is told of the client as ever. Prints what it has done, or
 * what was wrong and exits with 1.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/toa.h"

#define CPUS_MAX 64
#define PORT	 8000

static void fail(const char *why)
{
	printf("%s\n", why);
	exit(1);
}

static struct bpf_object *load(const char *path, __u32 check_sources)
{
	struct toa_config config = { .check_sources = check_sources };
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		fail("the object cannot be opened");
	if (bpf_map__set_initial_value(bpf_object__find_map_by_name(object, ".rodata.config"), &config, sizeof(config)))
		fail("its configuration cannot be set");
	if (bpf_object__load(object))
		fail("the kernel refuses the object");
	return object;
}

static void attach(struct bpf_object *object, const char *name, enum bpf_attach_type type)
{
	int cgroup = open("/cgroup", O_RDONLY | O_DIRECTORY);
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	if (cgroup < 0 || !program || bpf_prog_attach(bpf_program__fd(program), cgroup, type, BPF_F_ALLOW_MULTI))
		fail(name);
	close(cgroup);
}

static void bring_loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		fail("the loopback does not come up");
	close(fd);
}

static void connect_and_ask(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) }, own, told;
	int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), accepted, keeps = 0;
	socklen_t size = sizeof(address), keeps_size = sizeof(keeps);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(server, (void *)&address, size) || listen(server, 1))
		fail("nobody listens");
	if (getsockopt(server, IPPROTO_TCP, TCP_SAVE_SYN, &keeps, &keeps_size) || keeps != 1)
		fail("the listening socket keeps no SYN");
	if (connect(client, (void *)&address, size))
		fail("no connection");
	accepted = accept(server, (void *)&told, &size);
	if (accepted < 0 || getsockname(client, (void *)&own, &size))
		fail("nothing is accepted");
	if (told.sin_port != own.sin_port || told.sin_addr.s_addr != own.sin_addr.s_addr)
		fail("accept() tells of another");
}

static __u64 counted(struct bpf_object *object, __u32 outcome)
{
	struct toa_count counts[CPUS_MAX] = {};
	__u64 sum = 0;

	if (libbpf_num_possible_cpus() > CPUS_MAX ||
	    bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "toa_counts"), &outcome, counts))
		fail("the counters cannot be read");
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		sum += counts[cpu].connections;
	return sum;
}

int main(int argc, char **argv)
{
	struct bpf_object *checking, *believing;

	if (argc != 2)
		fail("usage: toa OBJECT");
	mkdir("/cgroup", 0755);
	if (mount("none", "/cgroup", "cgroup2", 0, NULL))
		fail("cgroup v2 cannot be mounted");
	checking = load(argv[1], 1);
	believing = load(argv[1], 0);
	for (int i = 0; i < 2; i++) {
		struct bpf_object *object = i ? believing : checking;

		attach(object, "linimo_toa", BPF_CGROUP_SOCK_OPS);
		attach(object, "linimo_peer4", BPF_CGROUP_INET4_GETPEERNAME);
		attach(object, "linimo_peer6", BPF_CGROUP_INET6_GETPEERNAME);
	}
	bring_loopback_up();
	connect_and_ask();
	if (counted(checking, TOA_OTHER_SOURCE) != 1 || counted(believing, TOA_ABSENT) != 1)
		fail("the connection was not counted");
	printf("TOA: attached, a connection was looked at\n");
	return 0;
}
