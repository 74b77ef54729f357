/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct and enum of the option's reader that user space sees. No logic. As shared.h is for the balancer:
 * tools/btf-layout.ts turns this into src/join/toa-layout.ts.
 */
#pragma once

/* What became of a connection that was accepted. */
enum toa_outcome {
	TOA_FROM_SYN = 0,	/* the client's address was in the SYN */
	TOA_FROM_HANDSHAKE = 1, /* in the packet that ended the handshake */
	TOA_FROM_LATER = 2, /* in one of the next packets: accept() may have been answered before; also in TOA_ABSENT */
	TOA_ABSENT = 3,	    /* not in the handshake */
	TOA_MALFORMED = 4,  /* there were options of its kind, none of them understood */
	TOA_OTHER_SOURCE = 5, /* not from a balancer: not looked at */
	TOA_NO_MEMORY = 6,    /* known, but not kept */
};

struct toa_config {
	__u32 check_sources; /* 1: the connection must be from one of the sources */
};

struct toa_source {
	__u32 bits; /* of the prefix; IPv4: 96 more */
	struct in6_addr addr;
};

/* Of a connection: whom getpeername() tells of. */
struct toa_client {
	struct in6_addr addr; /* IPv4: mapped */
	__be16 port;
	__u8 known;
	__u8 pad;
	__u32 looking; /* 1: the option is being looked for in the next packets, by a flag that this program has set */
};

struct toa_count {
	__u64 connections;
};
