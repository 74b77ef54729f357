/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lies between a tunnel's two IP headers: GRE (RFC 2784, 2890), GUE (draft-ietf-intarea-gue-09). */
#pragma once

#define GRE_HAS_KEY	     0x2000
#define GUE_SOURCE_PORTS     0xc000 /* from here on: 14 bits of the flow hash follow */
#define GUE_SOURCE_PORT_MASK 0x3fff

struct gre_header {
	__be16 flags;
	__be16 protocol;
	__be32 key[]; /* with GRE_HAS_KEY */
};

struct gue_header {
	__u8 version_and_length; /* 0, and no optional fields */
	__u8 protocol;
	__be16 flags;
};
