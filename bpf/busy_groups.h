/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where no free entry need be looked for: a group of entries that were all taken is passed over until the first of them
 * runs out. What shortens a connection's time says so; what is not written down is looked at.
 */
#pragma once

#include "packet.h"

#define GROUP_BITS    6 /* entries of a group, log2 */
#define GROUP_ENTRIES (1U << GROUP_BITS)
#define BUSY_GROUPS   16384 /* remembered, by the group's last bits: those of a million connections */
#define BUSY_SECONDS  8	    /* at most, for what the control process frees tells nobody */

/* Bits 0-31: the connection clock until which all of its entries are taken; 32-63: the group. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUSY_GROUPS);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(__u64));
} busy_groups SEC(".maps");

static __always_inline __u64 *busy_group(__u32 group)
{
	__u32 key = group & (BUSY_GROUPS - 1);

	return bpf_map_lookup_elem(&busy_groups, &key);
}

static __always_inline _Bool is_busy(__u32 group, __u32 now)
{
	__u64 *busy = busy_group(group);
	__u64 word = busy ? *(volatile __u64 *)busy : 0;

	return word >> 32 == group && (__s32)((__u32)word - now) >= 0;
}

static __always_inline void set_busy(__u32 group, __u32 until)
{
	__u64 *busy = busy_group(group);

	if (busy)
		*(volatile __u64 *)busy = (__u64)group << 32 | until;
}

/* The entry at `index` is free after `expires`, which may be sooner than was thought. */
static __always_inline void shorten_busy(__u32 index, __u32 expires)
{
	__u32 group = index >> GROUP_BITS;
	__u64 *busy = busy_group(group);
	__u64 word = busy ? *(volatile __u64 *)busy : 0;

	if (word >> 32 == group && (__s32)((__u32)word - expires) > 0)
		set_busy(group, expires);
}
