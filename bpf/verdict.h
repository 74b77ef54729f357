/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one way out: packets are counted, and a verdict becomes an XDP action, here and nowhere else. */
#pragma once

#include "packet.h"

#define VERDICTS_MAX 128

/* By verdict: all that is not forwarded. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS_MAX);
	__type(key, __u32);
	__type(value, struct traffic);
} verdicts SEC(".maps");

/* By backend id: what is forwarded. A verdict's total is the sum over the backends. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct backend_count);
} backend_counts SEC(".maps");

/* By service id: packets of the service that are not forwarded. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct traffic);
} service_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trace);
} trace SEC(".maps");

/* Per CPU, and XDP runs in softirq: no atomics. */
static __always_inline void add(struct traffic *traffic, __u32 bytes)
{
	if (traffic) {
		traffic->packets++;
		traffic->bytes += bytes;
	}
}

static __always_inline void count_forwarded(const struct packet *pkt, _Bool is_redirect)
{
	struct backend_count *count = bpf_map_lookup_elem(&backend_counts, &pkt->backend_id);

	if (!count)
		return;
	if (is_redirect) {
		count->redirect_packets++;
		count->redirect_bytes += pkt->bytes;
	} else {
		count->tx_packets++;
		count->tx_bytes += pkt->bytes;
	}
	if (is_syn(pkt))
		count->syns++;
}

static __always_inline void count_reply(const struct packet *pkt, _Bool is_redirect)
{
	struct reply_count *count = bpf_map_lookup_elem(&reply_counts, &pkt->backend_id);

	if (!count)
		return;
	if (is_redirect) {
		count->redirect_packets++;
		count->redirect_bytes += pkt->bytes;
	} else {
		count->tx_packets++;
		count->tx_bytes += pkt->bytes;
	}
}

static __always_inline void count_ended(const struct packet *pkt, enum verdict verdict)
{
	__u32 key = verdict;

	add(bpf_map_lookup_elem(&verdicts, &key), pkt->bytes);
	if (pkt->service)
		add(bpf_map_lookup_elem(&service_counts, &pkt->service->id), pkt->bytes);
}

static __always_inline void leave_trace(const struct packet *pkt, enum verdict verdict)
{
	__u32 key = 0;
	struct trace *left = bpf_map_lookup_elem(&trace, &key);

	if (!left)
		return;
	left->verdict = verdict;
	left->service = pkt->service ? pkt->service->id : NO_ID;
	left->backend = pkt->backend_id ?: NO_ID;
	left->slot = pkt->slot;
	left->hash = pkt->hash;
}

static __always_inline int conclude(const struct packet *pkt, enum verdict verdict)
{
	switch (verdict) {
	case TX_DR:
	case TX_IPIP:
	case TX_GRE:
	case TX_GUE:
	case TX_NAT:
	case TX_FULLNAT:
		count_forwarded(pkt, 0);
		break;
	case REDIRECT_DR:
	case REDIRECT_IPIP:
	case REDIRECT_GRE:
	case REDIRECT_GUE:
	case REDIRECT_NAT:
	case REDIRECT_FULLNAT:
		count_forwarded(pkt, 1);
		break;
	case TX_NAT_REPLY:
	case TX_FULLNAT_REPLY:
		count_reply(pkt, 0);
		break;
	case REDIRECT_NAT_REPLY:
	case REDIRECT_FULLNAT_REPLY:
		count_reply(pkt, 1);
		break;
	default:
		count_ended(pkt, verdict);
	}
	if (config.trace)
		leave_trace(pkt, verdict);
	switch (verdict >> VERDICT_ACTION_SHIFT) {
	case PASS_NOT_IP >> VERDICT_ACTION_SHIFT:
		return XDP_PASS;
	case DROP_TRUNCATED >> VERDICT_ACTION_SHIFT:
		return XDP_DROP;
	case TX_DR >> VERDICT_ACTION_SHIFT:
		return XDP_TX;
	default:
		return XDP_REDIRECT;
	}
}
