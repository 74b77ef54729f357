/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP and ICMPv6 as they lie in a frame. Not from linux/icmp.h, which draws in the C library. */
#pragma once

#include "packet.h"

struct icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 rest; /* echo: identifier and sequence number; too big: the MTU; else RFC 4884's length, a pointer */
};

enum icmp_type {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_BAD_PARAMETER = 12,
};

enum icmp_unreachable_code {
	ICMP_HOST_UNREACHABLE = 1,
	ICMP_PORT_UNREACHABLE = 3,
	ICMP_FRAGMENTATION_NEEDED = 4,
};

enum icmpv6_type {
	ICMPV6_UNREACHABLE = 1,
	ICMPV6_TOO_BIG = 2,
	ICMPV6_TIME_EXCEEDED = 3,
	ICMPV6_BAD_PARAMETER = 4,
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
};

enum icmpv6_unreachable_code {
	ICMPV6_ADDRESS_UNREACHABLE = 3,
	ICMPV6_PORT_UNREACHABLE = 4,
};
