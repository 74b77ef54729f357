/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A TCP header -> the client's address that a balancer has put into its options. */
#pragma once

enum {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_TOA = 254,   /* one of the two for experiments, RFC 4727 */
	TOA_IPV4_BYTES = 8, /* kind, length, port, address; 20 for IPv6 */
	TOA_IPV6_BYTES = 20,
	TCP_HEADER_MIN = sizeof(struct tcphdr),
	TCP_HEADER_MAX = 60,
};

/* What follows the longest header is read where a cut option is checked only afterwards. */
struct header {
	__u8 bytes[TCP_HEADER_MAX + TOA_IPV6_BYTES];
};

enum found {
	FOUND_NOTHING,
	FOUND_CLIENT,
	FOUND_MALFORMED, /* options of the kind, and none that has a length of TOA's */
};

/* Fills `client` from the option at `at`, all of whose bytes are within `header`. */
static __always_inline void take_option(const struct header *header, __u32 at, __u32 len, struct toa_client *client)
{
	const __u8 *option = &header->bytes[at];

	__builtin_memset(client, 0, sizeof(*client));
	__builtin_memcpy(&client->port, option + 2, 2);
	if (len == TOA_IPV6_BYTES) {
		__builtin_memcpy(&client->addr, option + 4, 16);
	} else {
		client->addr.s6_addr32[2] = bpf_htonl(0xffff);
		__builtin_memcpy(&client->addr.s6_addr32[3], option + 4, 4);
	}
	client->known = 1;
}

/*
 * The offset of the first option, in a way that the verifier cannot follow: so it takes all turns of a loop from there
 * for the same, and looks at one of them. The mask is its bound; the header that is behind is no longer.
 */
static __always_inline __u32 first_option(const struct header *header)
{
	__u32 nothing = header->bytes[0];

	asm volatile("%0 -= %0" : "+r"(nothing));
	return nothing + TCP_HEADER_MIN;
}

/*
 * The first option of TOA's kind and of one of its lengths. Others of that kind are somebody else's (fast open, SMC):
 * passed by. The walk ends where lengths make no sense, as the kernel's own does. A function of its own, global, so
 * that it is verified once, for any header.
 */
__noinline int find_option(const struct header *header, __u32 header_bytes, struct toa_client *client)
{
	enum found found = FOUND_NOTHING;
	__u32 at;

	if (!header || !client)
		return FOUND_NOTHING;
	at = first_option(header);
	for (int i = 0; i < TCP_HEADER_MAX - TCP_HEADER_MIN; i++) {
		__u32 kind, len;

		at &= 63;
		if (at >= header_bytes || at >= TCP_HEADER_MAX)
			break;
		kind = header->bytes[at];
		if (kind == OPTION_END)
			break;
		if (kind == OPTION_NOP) {
			at++;
			continue;
		}
		len = header->bytes[at + 1];
		if (len < 2 || at + len > header_bytes)
			return kind == OPTION_TOA ? FOUND_MALFORMED : found;
		if (kind == OPTION_TOA) {
			if (len == TOA_IPV4_BYTES || len == TOA_IPV6_BYTES) {
				take_option(header, at, len, client);
				return FOUND_CLIENT;
			}
			found = FOUND_MALFORMED;
		}
		at += len;
	}
	return found;
}
