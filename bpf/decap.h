/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct and enum of the decapsulator that user space sees. No logic. As shared.h is for the balancer:
 * tools/btf-layout.ts turns this into src/join/layout.ts.
 */
#pragma once

/* What becomes of a packet; the upper four bits are the action. All but the last two kinds go on as they came. */
enum decap_verdict {
	DECAP_CONTINUE = 0x00, /* the next stage decides; never the end */

	PASS_NO_TUNNEL = 0x01,	    /* not a tunnel's packet: all other traffic of the host */
	PASS_OTHER_ADDRESS = 0x02,  /* a tunnel's, but its outer destination is none of this host's addresses */
	PASS_OTHER_MODE = 0x03,	    /* of a tunnel that is not in use here */
	PASS_OTHER_SOURCE = 0x04,   /* not from a balancer */
	PASS_NOT_A_VIP = 0x05,	    /* its inner destination is no VIP */
	PASS_OUTER_FRAGMENT = 0x06, /* the outer packet is a fragment */
	PASS_BAD_HEADER = 0x07, /* a wrong outer checksum, a header with what is not known, another inner protocol */
	PASS_BAD_LENGTH = 0x08, /* cut short, or lengths that contradict each other */

	DROP_CONGESTION = 0x10, /* marked on its way, and its ends would not understand: RFC 6040 4.2 */

	DECAP_IPIP = 0x20,
	DECAP_GRE = 0x21,
	DECAP_GUE = 0x22,
};

enum decap_mode {
	DECAP_MODE_IPIP = 1,
	DECAP_MODE_GRE = 2,
	DECAP_MODE_GUE = 4,
};

/* What an address is to the decapsulator. */
enum decap_address {
	DECAP_ADDRESS_OWN = 1, /* an outer destination */
	DECAP_ADDRESS_VIP = 2, /* an inner destination */
};

struct decap_config {
	__u32 modes;	     /* enum decap_mode, or'ed */
	__u32 check_sources; /* 1: outer sources must be in the sources map */
	__u8 gue_ports[16];  /* eight ports in wire order; 0: none */
};

struct decap_source {
	__u32 bits; /* of the prefix; IPv4: 96 more */
	struct in6_addr addr;
};

struct decap_count {
	__u64 packets;
	__u64 bytes;
};
