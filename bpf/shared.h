/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct and enum that user space sees: keys, values, configuration, verdicts. No logic.
 * __be* is wire order, __u* host order. tools/btf-layout.ts turns this into src/dataplane/layout.ts.
 */
#pragma once

/* How a packet's journey ends: the action, then the reason. The upper four bits are the action. */
enum verdict {
	CONTINUE = 0x00, /* the next stage decides; never the end */

	PASS_NOT_IP = 0x01,	       /* not IPv4 or IPv6: ARP, a third VLAN tag, a wrong version */
	PASS_NOT_A_SERVICE = 0x02,     /* the host's own traffic */
	PASS_OTHER_HOST = 0x03,	       /* a service's, but not to this interface's MAC address */
	PASS_FRAGMENT = 0x04,	       /* an IP fragment */
	PASS_TRUNCATED = 0x05,	       /* cut before the service is known */
	PASS_EXTENSION_HEADERS = 0x06, /* more IPv6 extension headers than are followed, or a source route */
	PASS_PING = 0x07,	       /* an echo request to a VIP that leaves it to the host */
	PASS_TUNNEL_ERROR = 0x08,      /* an ICMP error about a tunnel's packet, of which no client is to be told */

	DROP_TRUNCATED = 0x10,	    /* a service's, but its L4 header is cut */
	DROP_NO_BACKEND = 0x11,	    /* no backend alive, and the policy or the packet allows no answer */
	DROP_NO_NEXT_HOP = 0x12,    /* the backend's next hop is not resolved */
	DROP_REJECT_LIMITED = 0x13, /* no backend alive, and the answer exceeds the rate limit */
	DROP_TOO_BIG = 0x14,	    /* longer than the path takes, and not to be answered: DF is clear, an ICMP error */
	DROP_TOO_BIG_LIMITED = 0x15, /* longer than the path takes, and the answer exceeds the rate limit */
	DROP_AGGREGATED = 0x16,	     /* longer than its interface's MTU: packets that were merged (GSO, GRO, LRO) */
	DROP_NO_HEADROOM = 0x17,     /* the driver leaves no room ahead of the frame for the tunnel's headers */
	DROP_PING = 0x18,	     /* an echo request to a VIP that answers none */
	DROP_PING_LIMITED = 0x19,    /* an echo request whose answer exceeds the rate limit */

	TX_DR = 0x20,		      /* to the backend, by the interface it came in */
	TX_REJECT_RST = 0x21,	      /* no backend alive: TCP reset to the client */
	TX_REJECT_UNREACHABLE = 0x22, /* no backend alive: ICMP port unreachable to the client */
	TX_TOO_BIG = 0x23,	/* longer than the path takes: fragmentation needed or packet too big to the client */
	TX_PING = 0x24,		/* echo reply to the client */
	TX_TUNNEL_ERROR = 0x25, /* an ICMP error about a tunnel's packet, told to its client */
	TX_IPIP = 0x26,		/* to the backend through a tunnel, by the interface it came in */
	TX_GRE = 0x27,
	TX_GUE = 0x28,

	REDIRECT_DR = 0x30, /* to the backend, by another interface */
	REDIRECT_IPIP = 0x31,
	REDIRECT_GRE = 0x32,
	REDIRECT_GUE = 0x33,
};

enum forward_mode {
	FORWARD_NONE = 0,
	FORWARD_DR = 1,
	FORWARD_IPIP = 2, /* RFC 2003, 2473, 4213: the outer header's family is that of the backend's address */
	FORWARD_GRE = 3,  /* RFC 2784, 2890 */
	FORWARD_GUE = 4,  /* draft-ietf-intarea-gue */
};

enum service_state {
	SERVICE_EMPTY = 0, /* ends the probing */
	SERVICE_USED = 1,
	SERVICE_GONE = 2, /* removed: probing goes on past it */
};

enum service_flags {
	SERVICE_REJECT = 1,	 /* no backend alive: answer instead of dropping */
	SERVICE_SYN_OPENS = 2,	 /* a SYN marks a new flow: TCP, hashed by the whole tuple */
	SERVICE_CLAMP_MSS = 4,	 /* a SYN's MSS option is lowered to what the backend's path takes */
	SERVICE_PING_ANSWER = 8, /* of a VIP's entry: echo requests are answered */
	SERVICE_PING_DROP = 16,	 /* of a VIP's entry: they are dropped; neither: left to the host */
};

enum backend_flags {
	BACKEND_RESOLVED = 1, /* its next hop is known: MAC addresses and way out are valid */
	BACKEND_DEAD = 2,     /* gets no packets but those of slots whose current owner it is */
	BACKEND_NO_NEW = 4,   /* draining: its old flows stay, no new one comes */
	BACKEND_GONE = 8,     /* removed for good, no slot names it: its id waits until no flow holds it */
	BACKEND_KEYED = 16,   /* GRE: the header has a key */
	BACKEND_BARE = 32,    /* GUE: variant 1, the inner packet right behind the UDP header */
};

/* What of a slot is what: one u64 per slot, written with a single store. */
enum slot_layout {
	SLOT_CURRENT_BITS = 20, /* bits 0-19: the id of the backend that owns the slot; 0 = none */
	SLOT_STATE_SHIFT = 20,	/* bits 20-21: enum slot_state */
	SLOT_HOME_SHIFT = 32,	/* bits 32-51: the id of the backend that owns the flows without an entry */
};

/*
 * In a tracked slot a flow either has an entry in the flow cache, or belongs to the one backend that a miss yields.
 * No rule may make a new flow that has neither, and none may take the entry away from a live flow.
 */
enum slot_state {
	SLOT_UNTRACKED = 0, /* everything goes to `current`; nothing is looked up */
	SLOT_GRACE = 1,	    /* as learning, but SYNs go to `home` too: handshakes are under way */
	SLOT_LEARNING = 2,  /* a miss goes to `home`, a new flow to `current`; both are remembered */
	SLOT_KEEPING = 3,   /* a miss goes to `current`; the entries are exceptions, and only decline */
};

/* What of a flow cache entry is what: one u64 a flow, 0 = empty. */
enum flow_layout {
	FLOW_SEEN_SHIFT = 20,	     /* bits 0-19: backend id; 20-33: last seen, in units of the flow clock */
	FLOW_CLASS_SHIFT = 34,	     /* bits 34-35: enum flow_class */
	FLOW_FINGERPRINT_SHIFT = 36, /* bits 36-63 */
	FLOW_SEEN_BITS = 14,
	FLOW_FINGERPRINT_BITS = 28,
	FLOW_SECONDS_PER_UNIT = 4, /* of the flow clock */
	FLOWS_PER_BUCKET = 8,
};

enum flow_class {
	FLOW_HALF_OPEN = 1, /* a SYN has been seen, nothing else */
	FLOW_OPEN = 2,
	FLOW_CLOSED = 3, /* the client's FIN or RST has been seen */
};

/*
 * A bucket of the service table: 64 bytes, one cache line. A VIP has an entry of its own for echo requests, of protocol
 * ICMP or ICMPv6 and port 0: it has flags, and neither ring nor counters (id = ~0).
 */
struct service {
	struct in6_addr addr; /* the VIP; IPv4 as ::ffff:a.b.c.d */
	__be16 port;	      /* 0: every port */
	__u8 protocol;	      /* IPPROTO_TCP, IPPROTO_UDP; a VIP's entry: IPPROTO_ICMP, IPPROTO_ICMPV6 */
	__u8 state;	      /* enum service_state; written last, with its whole aligned u64 */
	__u8 flags;	      /* enum service_flags */
	__u8 pad;
	__u16 idle;	 /* a flow that is silent for longer is forgotten; in units of the flow clock */
	__u32 ring_base; /* index of the ring's first slot; one aligned u64 with ring_size */
	__u32 ring_size; /* slots; 0 = no backend was ever there */
	__u64 hash_seed; /* the flow hash's key, the service's identity folded in */
	__u64 hash_mask; /* bits 0-31: source address (all or none), 32-47 source port, 48-63 destination port */
	__u32 id;	 /* index of its counters */
	__u32 pad2[3];
};

/* A backend of one service, by id: all that the rewrite needs, in one cache line. */
struct backend {
	__u8 dst_mac[6]; /* the next hop's */
	__u8 src_mac[6]; /* the outgoing interface's; the 12 bytes are a frame's first 12 */
	__u32 ifindex;	 /* the way out */

	__u8 mode;     /* enum forward_mode */
	__u8 flags;    /* enum backend_flags */
	__u16 mtu;     /* the longest packet that the path takes, from the IP header on, before it is encapsulated */
	__u8 out_port; /* the way out's index in the devmap */
	__u8 spread;   /* so many of the outer source address's last bits are the flow hash's */
	__u16 idle;    /* its service's: a flow of its that is silent for longer is forgotten */
	__u16 service; /* id of the service it belongs to */
	__be16 port;   /* with addr: which backend this is, for a control process that finds the maps */
	__be32 key;    /* GRE: the key; GUE: the destination port, in the first two bytes */
	struct in6_addr addr;	/* also the outer destination; IPv4 as ::ffff:a.b.c.d */
	struct in6_addr source; /* the outer source */
} __attribute__((aligned(8)));	/* its MAC addresses are read as words */

/* An interface that traffic enters by. Indexed by ifindex & config.interface_mask. */
struct interface {
	__u8 mac[6];
	__u8 pad[2];
	__u32 ifindex;
	__u32 mtu;	       /* bytes of an IP packet */
} __attribute__((aligned(8))); /* its MAC addresses are read as words */

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* Per backend id, per CPU. What was forwarded is counted here and nowhere else. */
struct backend_count {
	__u64 tx_packets; /* sent by the interface they came in */
	__u64 tx_bytes;
	__u64 redirect_packets; /* sent by another interface */
	__u64 redirect_bytes;
	__u64 syns; /* TCP packets that open a flow: SYN without ACK */
};

/* A bucket of the flow cache: one cache line. */
struct flow_bucket {
	__u64 entries[FLOWS_PER_BUCKET];
} __attribute__((aligned(64)));

/* By slot, a byte: 1 = a flow of this slot found no place since the sweep last looked. */
struct pressure_line {
	__u8 marked[64];
};

/* Per CPU: what the flow cache could not do. */
struct flow_count {
	__u64 inserted;
	__u64 deferred;	    /* a new flow went to `home` unremembered: no place */
	__u64 refused;	    /* an old flow was not remembered: no place; its slot goes on learning */
	__u64 unremembered; /* a new flow went to `current` unremembered: no place, and `home` is dead */
};

/* Fixed at load: what a configuration does not use is not in the program that runs. */
struct config {
	__u64 hash_keys[4]; /* secret, odd: the flow hash's multipliers */
	__u64 clock_scale;  /* flow clock = jiffies * this >> 32 */
	__u32 service_seed; /* of the service table's own hash */
	__u32 service_mask; /* buckets - 1 */
	__u32 interface_mask;
	__u32 answers_per_second; /* of each kind of answer (resets and unreachables, too big, pings), per CPU; 0 = no
				     limit */
	__u8 any_port;		  /* 1: some service takes every port */
	__u8 trace;		  /* 1: what the stages found is left in the trace map, for `explain` */
	__u8 tracking;		  /* 1: some service tracks flows */
	__u8 test_clock;	  /* 1: the flow clock is read from the test_clock map, for tests */
	__u16 cache_bits;	  /* log2 of the flow cache's buckets, 4..28 */
	__u16 cache_grown;	  /* by so many bits since its first entries: they lack so many bits of the hash */
};

/* By a tunnel's outer destination: what a router on the path has said. The control process lowers backend.mtu by it. */
struct path_mtu {
	__u32 mtu; /* of the outer packet */
	__u32 pad;
	__u64 heard; /* jiffies */
};

/* What the last packet met (config.trace). Ids, 0 or none = ~0. */
struct trace {
	__u32 verdict;
	__u32 service;
	__u32 backend;
	__u32 slot;
	__u64 hash;
};
