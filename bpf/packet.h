/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the stages have learnt about this packet, and how a stage is written. */
#pragma once

/* A stage moves the packet one step on (CONTINUE), or says how its journey ends. */
#define __stage static __always_inline __attribute__((warn_unused_result))

#define NO_ID (~0U)

#define VLAN_TAGS_MAX	      2
#define EXTENSION_HEADERS_MAX 4
#define IPV4_MAPPED_PREFIX    0xffff0000ULL /* the bytes 00 00 ff ff ahead of the address, as they lie in memory */

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

/* From the frame's start to its IP header, at most. */
#define L3_OFFSET_MAX (ETH_HLEN + VLAN_TAGS_MAX * sizeof(struct vlan_tag))

struct extension_header {
	__u8 next_header;
	__u8 length; /* AH: 4-byte units, less 2; all others: 8-byte units, less 1 */
	__u8 routing_type;
	__u8 segments_left;
};

/* The flags of a TCP header's byte 13. */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define IP_DF 0x4000 /* of an IPv4 header's flags and fragment offset */

enum message_kind {
	MESSAGE_ECHO = 1,
	MESSAGE_FLOW_ERROR,   /* about a packet of a backend to its client: goes to the backend */
	MESSAGE_TUNNEL_ERROR, /* about a packet of the balancer to a backend: goes to the client */
};

/* What is read of an ICMP message; addresses as in struct packet, and as the client's packets have them. */
struct message {
	__u64 src_hi;
	__u64 src_lo;
	__u64 dst_hi; /* beforehand: the message's own destination */
	__u64 dst_lo;
	__u64 end_hi; /* tunnel error: the outer destination */
	__u64 end_lo;
	__u32 ports;
	__u16 quote; /* tunnel error: offset of the client's packet in the frame */
	__u16 quote_len;
	__u16 told;    /* tunnel error about its size: the MTU that it tells; else 0 */
	__u16 mtu;     /* and what is left of it for the client's packet */
	__u8 kind;     /* enum message_kind */
	__u8 protocol; /* of the flow; 0: a tunnel's packet of which no client is to be told */
	_Bool is_ipv6; /* the flow */
};

/* The one that this CPU is at: too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32)); /* not by type: user space does not see it */
	__uint(value_size, sizeof(struct message));
} messages SEC(".maps");

/* Of a packet that is a message: written by parse_message(). Never NULL, but the verifier wants to be told. */
static __always_inline struct message *this_message(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&messages, &key);
}

/* What a packet is to its flow: in bits 0-7 the TCP header's byte 13, of UDP and messages 0; and this. */
enum packet_kind {
	/* ICMP or ICMPv6; but for echo requests, addresses, ports and protocol are its flow's */
	PACKET_IS_MESSAGE = 1 << 9,
	/* its flow begins anew: a connection that its tuple has had makes way */
	PACKET_REOPENS = 1 << 10,
};

struct packet {
	struct xdp_md *ctx;
	void *frame; /* its bytes: from here ... */
	void *end;   /* ... to here */
	void *l3;
	void *l4;
	__u32 bytes;  /* of the frame, as received */
	__u32 l4_len; /* bytes from the L4 header on, as the IP header has it; the frame may hold fewer */
	__u64 src_hi; /* addresses: their bytes as they lie in memory; IPv4 is ::ffff:a.b.c.d */
	__u64 src_lo;
	__u64 dst_hi;
	__u64 dst_lo;
	__u32 ports; /* the L4 header's first four bytes: source, then destination */
	__u8 protocol;
	_Bool is_ipv6;
	__u16 kind; /* enum packet_kind */

	struct service *service;
	struct backend *backend;
	__u32 backend_id;
	__u32 slot;
	__u32 slot_index; /* of all slots */
	__u32 connection; /* its index; NO_ID: none is known. Only where config.connections */
	__u64 slot_word;  /* enum slot_layout */
	__u64 hash;
};

/* TCP: SYN without ACK, the packet that opens a flow. */
static __always_inline _Bool is_syn(const struct packet *pkt)
{
	return (pkt->kind & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline _Bool is_message_of(const struct packet *pkt, enum message_kind kind)
{
	const struct message *message;

	if (!(pkt->kind & PACKET_IS_MESSAGE))
		return 0;
	message = this_message();
	return message && message->kind == kind;
}

static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *frame_end(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* `value`, which is at most `mask`, in a form that the verifier can see; clang would drop a mask that it knows
 * needless. */
static __always_inline __u32 bounded(__u32 value, __u32 mask)
{
	barrier_var(value);
	return value & mask;
}

/* end - frame: 64 bits wide, as the verifier wants the difference of two packet pointers. */
static __always_inline __u32 length(const void *frame, const void *end)
{
	long bytes = (long)end;

	asm volatile("%0 -= %1" : "+r"(bytes) : "r"(frame));
	return bytes;
}

/* Eight bytes as they lie in memory; by a void pointer, for clang splits the load where it knows of less alignment. */
static __always_inline __u64 load_u64(const void *from)
{
	return *(const __u64 *)from;
}

static __always_inline _Bool is_ipv4_mapped(const struct in6_addr *addr)
{
	return !load_u64(addr->s6_addr) && *(const __u32 *)&addr->s6_addr[8] == bpf_htonl(0xffff);
}

/* What the stages may find that none has set; all else is written before it is read. */
static __always_inline void begin(struct packet *pkt, struct xdp_md *ctx)
{
	pkt->ctx = ctx;
	pkt->frame = frame_start(ctx);
	pkt->end = frame_end(ctx);
	pkt->bytes = length(pkt->frame, pkt->end);
	pkt->src_hi = 0;
	pkt->dst_hi = 0;
	pkt->is_ipv6 = 0;
	pkt->kind = 0;
	pkt->service = NULL;
	pkt->backend_id = 0;
	pkt->slot = 0;
	pkt->slot_word = 0;
	pkt->hash = 0;
}
