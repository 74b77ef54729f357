/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way to a client: from the routes that the control process has found, the kernel's own tables last. */
#pragma once

#include "packet.h"

/* IPv4's table, then IPv6's: CLIENT_ROUTES places each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * CLIENT_ROUTES);
	__type(key, __u32);
	__type(value, struct client_route);
} client_routes SEC(".maps");
