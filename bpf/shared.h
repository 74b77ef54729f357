/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct and enum that user space sees: keys, values, configuration, verdicts. No logic.
 * __be* is wire order, __u* host order. tools/btf-layout.ts turns this into src/dataplane/layout.ts.
 */
#pragma once

/* How a packet's journey ends: the action, then the reason. Bits 5 and 6 are the action. */
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

	DROP_TRUNCATED = 0x20,	    /* a service's, but its L4 header is cut */
	DROP_NO_BACKEND = 0x21,	    /* no backend alive, and the policy or the packet allows no answer */
	DROP_NO_NEXT_HOP = 0x22,    /* the next hop is not resolved: the backend's, or that of a reply to its client */
	DROP_REJECT_LIMITED = 0x23, /* to be refused, and the answer exceeds the rate limit */
	DROP_TOO_BIG = 0x24,	    /* longer than the path takes, and not to be answered: DF is clear, an ICMP error */
	DROP_TOO_BIG_LIMITED = 0x25, /* longer than the path takes, and the answer exceeds the rate limit */
	DROP_AGGREGATED = 0x26,	     /* longer than its interface's MTU: packets that were merged (GSO, GRO, LRO) */
	DROP_NO_HEADROOM = 0x27,     /* the driver leaves no room ahead of the frame for the tunnel's headers */
	DROP_PING = 0x28,	     /* an echo request to a VIP that answers none */
	DROP_PING_LIMITED = 0x29,    /* an echo request whose answer exceeds the rate limit */
	DROP_NO_CONNECTION = 0x2a,   /* to be translated, but of no connection that is known here */
	DROP_EXHAUSTED = 0x2b,	     /* a new connection, and no local port or no entry is free */
	DROP_TTL_EXPIRED = 0x2c,     /* its TTL ends here, and not to be answered */
	DROP_TTL_LIMITED = 0x2d,     /* its TTL ends here, and the answer exceeds the rate limit */
	DROP_UNTRANSLATABLE = 0x2e,  /* an ICMP message that the other address family has no counterpart of */

	TX_DR = 0x40,		      /* to the backend, by the interface it came in */
	TX_REJECT_RST = 0x41,	      /* no backend alive: TCP reset to the client */
	TX_REJECT_UNREACHABLE = 0x42, /* no backend alive: ICMP port unreachable to the client */
	TX_TOO_BIG = 0x43,	/* longer than the path takes: fragmentation needed or packet too big to its sender */
	TX_PING = 0x44,		/* echo reply to the client */
	TX_TUNNEL_ERROR = 0x45, /* an ICMP error about a tunnel's packet, told to its client */
	TX_IPIP = 0x46,		/* to the backend through a tunnel, by the interface it came in */
	TX_GRE = 0x47,
	TX_GUE = 0x48,
	TX_NAT = 0x49, /* to the backend, translated */
	TX_FULLNAT = 0x4a,
	TX_NAT_REPLY = 0x4b, /* to the client, translated back */
	TX_FULLNAT_REPLY = 0x4c,
	TX_SNAT = 0x4d, /* a backend's own connection, from a local address */
	TX_SNAT_REPLY = 0x4e,
	TX_TIME_EXCEEDED = 0x4f, /* its TTL ends here: ICMP time exceeded to its sender */
	TX_EXHAUSTED = 0x50,	 /* a new connection without a free port: reset or port unreachable to its sender */
	TX_NO_CONNECTION =
		0x51, /* of no connection that is known here, or of one that was dropped: reset to its sender */

	REDIRECT_DR = 0x60, /* to the backend, by another interface */
	REDIRECT_IPIP = 0x61,
	REDIRECT_GRE = 0x62,
	REDIRECT_GUE = 0x63,
	REDIRECT_NAT = 0x64,
	REDIRECT_FULLNAT = 0x65,
	REDIRECT_NAT_REPLY = 0x66,
	REDIRECT_FULLNAT_REPLY = 0x67,
	REDIRECT_SNAT = 0x68,
	REDIRECT_SNAT_REPLY = 0x69,
};

enum verdict_layout {
	VERDICT_ACTION_SHIFT = 5, /* bits 5-6: pass, drop, tx, redirect */
};

enum forward_mode {
	FORWARD_NONE = 0,
	FORWARD_DR = 1,
	FORWARD_IPIP = 2,    /* RFC 2003, 2473, 4213: the outer header's family is that of the backend's address */
	FORWARD_GRE = 3,     /* RFC 2784, 2890 */
	FORWARD_GUE = 4,     /* draft-ietf-intarea-gue */
	FORWARD_NAT = 5,     /* destination address and port change; the backend's replies come back through here */
	FORWARD_FULLNAT = 6, /* source and destination change: to the backend it comes from a local address and port */
};

enum service_state {
	SERVICE_EMPTY = 0, /* ends the probing */
	SERVICE_USED = 1,
	SERVICE_GONE = 2, /* removed: probing goes on past it */
};

enum service_flags {
	SERVICE_REJECT = 1,	  /* no backend alive: answer instead of dropping */
	SERVICE_SYN_OPENS = 2,	  /* a SYN marks a new flow: TCP, hashed by the whole tuple */
	SERVICE_CLAMP_MSS = 4,	  /* a SYN's MSS option is lowered to what the backend's path takes */
	SERVICE_PING_ANSWER = 8,  /* of a VIP's entry: echo requests are answered */
	SERVICE_PING_DROP = 16,	  /* of a VIP's entry: they are dropped; neither: left to the host */
	SERVICE_CONNECTIONS = 32, /* some backend is FULLNAT, or NAT by flow: connections are looked up */
	SERVICE_TOA = 64,	  /* FULLNAT over TCP: the client's address goes along, as option 254 */
};

enum backend_flags {
	BACKEND_RESOLVED = 1, /* its next hop is known: MAC addresses and way out are valid */
	BACKEND_DEAD = 2,     /* gets no packets but those of slots whose current owner it is */
	BACKEND_NO_NEW = 4,   /* draining: its old flows stay, no new one comes */
	BACKEND_GONE = 8,     /* removed for good, no slot names it: its id waits until no flow holds it */
	BACKEND_KEYED = 16,   /* GRE: the header has a key */
	BACKEND_BARE = 32,    /* GUE: variant 1, the inner packet right behind the UDP header */
	BACKEND_BY_FLOW = 64, /* NAT: its replies do not tell their service (a port of two services, or every port) */
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
	__u8 pool;	      /* FULLNAT: index of its pool of IPv4 local addresses; + 1: of IPv6 */
	__u16 idle;	      /* a flow that is silent for longer is forgotten; in units of the flow clock */
	__u32 ring_base;      /* index of the ring's first slot; one aligned u64 with ring_size */
	__u32 ring_size;      /* slots; 0 = no backend was ever there */
	__u64 hash_seed;      /* the flow hash's key, the service's identity folded in */
	__u64 hash_mask;      /* bits 0-31: source address (all or none), 32-47 source port, 48-63 destination port */
	__u32 id;	      /* index of its counters */
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
	__be16 port;   /* with addr: which backend this is; what NAT and FULLNAT write, 0: the packet's own */
	/*
	 * GRE: the key. GUE: the destination port, in the first two bytes. NAT: what a request's VIP and port becoming
	 * the backend's add to the one's-complement sums: of the L4 checksum, in the first two bytes, and of the IPv4
	 * header.
	 */
	__be32 key;
	struct in6_addr addr;	/* also the outer destination; IPv4 as ::ffff:a.b.c.d */
	struct in6_addr source; /* the outer source */
} __attribute__((aligned(8)));	/* its MAC addresses are read as words */

/* An interface that traffic enters by. Indexed by ifindex & config.interface_mask. */
struct interface {
	__u8 mac[6];
	__u8 pad[2];
	__u32 ifindex;
	__u32 mtu;    /* bytes of an IP packet */
	__be32 addr4; /* its own addresses, which ICMP errors of a router come from; 0: none */
	__u32 pad2;
	struct in6_addr addr6;
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

/*
 * Where replies come back: open addressing like the service table, and the same first 20 bytes. Either a NAT backend
 * (its address, port and protocol are a reply's source), or a local address (a reply's destination; port and protocol
 * 0).
 */
struct reply {
	struct in6_addr addr;
	__be16 port;   /* NAT: 0: every port */
	__u8 protocol; /* 0: a local address */
	__u8 state;    /* enum service_state; written last, with its whole aligned u64 */
	__u8 by_flow;  /* 1: only the connection tells the service: BACKEND_BY_FLOW */
	__u8 pad;
	__be16 vip_port; /* 0: the packet's own */
	struct in6_addr vip;
	__u32 id;	/* NAT: the backend's; a local address: its number, which connections are indexed by */
	__u16 l4_delta; /* what a reply's source becoming the VIP adds to the L4 checksum's sum */
	__u16 l3_delta; /* and to that of the IPv4 header */
	__u32 pad2[2];
};

/*
 * How replies, and SNAT, leave: a table for each address family, the longest prefix first, ended by one of length 0. In
 * place 0 stands an entry that matches nothing, or, while the table changes, everything, and asks the kernel.
 */
struct client_route {
	struct in6_addr net; /* IPv4 as ::ffff:a.b.c.d, its mask with 96 bits more */
	struct in6_addr mask;
	__u8 dst_mac[6]; /* as of struct backend */
	__u8 src_mac[6];
	__u32 ifindex;
	__u8 kind; /* enum client_route_kind */
	__u8 out_port;
	__u16 mtu;
	__u32 pad[3];
} __attribute__((aligned(8)));

enum client_route_kind {
	CLIENT_ROUTE_NONE = 0,	 /* no route: DROP_NO_NEXT_HOP */
	CLIENT_ROUTE_HOP = 1,	 /* by this next hop */
	CLIENT_ROUTE_KERNEL = 2, /* the kernel's tables are asked for each packet: on-link, several gateways, rules */
	CLIENT_ROUTE_LOCAL = 3,	 /* the host's own address: not a client's */
};

enum client_routes {
	CLIENT_ROUTES = 32, /* places of a table; IPv4's first, then IPv6's */
};

/* Local addresses by number: struct connection's index is number << 16 | port. */
struct local_address {
	struct in6_addr addr;
};

/* Numbers and ports that connections are made of. Pool 0 is that of NAT by flow: its numbers have no address. */
struct pool {
	__u32 first; /* number of its first address */
	__u32 count; /* addresses; 0: there is no pool */
	__u32 first_port;
	__u32 ports;  /* of each address, from first_port on */
	__u32 ranges; /* the ports are divided into so many ranges, and each CPU begins with one */
	__u32 pad[3];
};

/* Per CPU and pool: where the search for a free entry goes on. */
struct pool_cursor {
	__u32 next;	 /* in this CPU's range */
	__u32 anywhere;	 /* in the whole pool */
	__u32 exhausted; /* connection clock at which nothing was found; 0: never */
	__u32 failures;	 /* bits 4-31: of this second, bits 0-3: so many searches that found nothing */
};

/* Per CPU and pool. */
struct pool_count {
	__u64 opened;	/* new connections */
	__u64 reopened; /* of the same client's ports, in their old entry */
	__u64 refused;	/* exhausted */
};

/*
 * A connection is its local port: FULLNAT's and SNAT's index is that port, NAT's by flow is any place of pool 0.
 * Written by the CPU that claims the entry; `life` last. Addresses as in struct packet.
 */
struct connection {
	struct in6_addr client; /* who opened it: SNAT: the host inside */
	struct in6_addr server; /* whom it addressed: the VIP; SNAT: the host outside */
	__be16 client_port;
	__be16 server_port;
	__u32 backend; /* id; SNAT: 0 */
	__u32 expires; /* connection clock, seconds: its entry is free afterwards; with the next four one aligned u64 */
	__u8 client_seen; /* enum connection_seen: what its client's packets have said */
	__u8 server_seen; /* and the backend's */
	__u8 protocol;
	__u8 kind;	 /* enum connection_kind */
	__u16 l4_delta;	 /* what a request's translation adds to the L4 checksum's sum */
	__u16 l3_delta;	 /* and to that of the IPv4 header, where the family stays */
	__u8 hop_mac[6]; /* the source MAC address of the client's last frame: the way back, where routes tell none */
	__u16 packets;	 /* of the client, up to a few */
	__u32 ifindex;	 /* where it came in */
} __attribute__((aligned(64)));

enum connection_kind {
	CONNECTION_FREE = 0,
	CONNECTION_CLAIMED = 1, /* being written */
	CONNECTION_FULLNAT = 2,
	CONNECTION_SNAT = 3,
	CONNECTION_NAT = 4, /* NAT by flow */
	CONNECTION_KIND_MASK = 7,
	CONNECTION_DROPPED = 16,     /* by the operator: both ends get a reset with their next packets */
	CONNECTION_CLIENT_TOLD = 32, /* which the client has had */
	CONNECTION_SERVER_TOLD = 64,
};

enum connection_seen {
	SEEN_SYN = 1, /* TCP */
	SEEN_ACK = 2, /* TCP: a packet without SYN; UDP: a second packet */
	SEEN_FIN = 4,
	SEEN_FIN_FIRST = 8, /* its FIN came before the other end's */
	SEEN_RST = 16,
};

/* In the order of struct connection_times. */
enum connection_state {
	STATE_SYN_SENT = 0,
	STATE_SYN_RECEIVED = 1,
	STATE_ESTABLISHED = 2,
	STATE_FIN_WAIT = 3,   /* the backend's FIN alone */
	STATE_CLOSE_WAIT = 4, /* the client's alone */
	STATE_LAST_ACK = 5,   /* both, the client's first */
	STATE_TIME_WAIT = 6,  /* both, the backend's first */
	STATE_CLOSE = 7,      /* a reset */
	STATE_UDP = 8,
	STATE_UDP_ONCE = 9, /* one packet of the client so far */
};

/* Seconds without a packet after which an entry is free, by state. Indexed by service id; SNAT's come last. */
struct connection_times {
	__u16 syn_sent;
	__u16 syn_received;
	__u16 established;
	__u16 fin_wait;
	__u16 close_wait;
	__u16 last_ack;
	__u16 time_wait;
	__u16 close;
	__u16 udp;
	__u16 udp_once;
	__u16 pad[6];
};

/* What of a word of the connection index is what: 0 = empty. FLOWS_PER_BUCKET in a bucket, two buckets for each tuple.
 */
enum index_layout {
	INDEX_BITS = 28,       /* bits 0-27: index of the connection */
	INDEX_TAG_SHIFT = 28,  /* bits 28-62: of the hash of its tuple */
	INDEX_USED_SHIFT = 63, /* 1 */
};

/* By backend id, per CPU: replies that were translated back. */
struct reply_count {
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 redirect_packets;
	__u64 redirect_bytes;
};

/* Whose own connections are translated (SNAT). */
struct prefix {
	struct in6_addr net; /* IPv4 as ::ffff:a.b.c.d, its mask with 96 bits more */
	struct in6_addr mask;
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
	__u8 test_clock;	  /* 1: both clocks are read from the test_clock map, for tests */
	__u16 cache_bits;	  /* log2 of the flow cache's buckets, 4..28 */
	__u16 cache_grown;	  /* by so many bits since its first entries: they lack so many bits of the hash */
	__u8 nat;		  /* 1: some backend is NAT: replies are looked up by their source */
	__u8 connections;	  /* 1: FULLNAT, SNAT or NAT by flow: there are connections */
	__u8 snat_prefixes;	  /* so many sources of SNAT; 0 = none */
	__u8 snat_pool;		  /* as service.pool */
	__u8 connection_bits;	  /* log2 of the connection index's buckets, 4..24 */
	__u8 pad[3];
	__u32 reply_mask;    /* buckets of the replies - 1 */
	__u32 snat_times;    /* SNAT's place among the connection_times */
	__u64 local_net[4];  /* IPv4 (0, 1), IPv6 (2, 3): what all local addresses have in common */
	__u64 local_mask[4]; /* and which bits that is: nothing else is looked up */
};

/* By a tunnel's outer destination: what a router on the path has said. The control process lowers backend.mtu by it. */
struct path_mtu {
	__u32 mtu; /* of the outer packet */
	__u32 pad;
	__u64 heard; /* jiffies */
};

/* By address (IPv4 as ::ffff:a.b.c.d): an on-link client whose MAC address the kernel does not know. */
struct wanted_neighbour {
	__u32 ifindex; /* where it is */
	__u32 pad;
	__u64 asked; /* jiffies */
};

/* What the last packet met (config.trace). Ids, 0 or none = ~0. */
struct trace {
	__u32 verdict;
	__u32 service;
	__u32 backend;
	__u32 slot;
	__u64 hash;
};
