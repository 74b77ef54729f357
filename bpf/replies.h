/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where replies come back: by their source, a NAT backend; by their destination, a local address. */
#pragma once

#include "packet.h"
#include "service.h"

/* As the service table: open addressing, kept under an eighth full, and no entry further than SERVICE_PROBES. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct reply);
} replies SEC(".maps");

/* By backend id. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct reply_count);
} reply_counts SEC(".maps");
