/**
 * libbpf and netlink for Node. One class per libbpf noun, one method per libbpf call; no policy, no retries.
 *
 * Every failure of the kernel or of libbpf is an `Error` with `code` ('EEXIST'), `errno` (positive) and `syscall`
 * ('bpf_map_update_elem'); a failed load also carries `log`, the last 20 lines of the verifier's output. Wrong
 * arguments are `TypeError` (type) or `RangeError` (length, value). Methods that may wait for an RCU grace period, or
 * run long, return a promise and work on a thread of libuv's pool; all others take well under 1 ms. `close()` may be
 * called twice; any other call after it throws `code: 'EBADF'`.
 */

export type Bytes = Uint8Array

/** The BPF object that is embedded in the addon (a copy of the ELF file's bytes). */
export declare const embeddedObject: Bytes

/** The decapsulator's, likewise. */
export declare const embeddedDecap: Bytes

/** The one that reads TCP option 254, likewise. */
export declare const embeddedToa: Bytes

/** Possible CPUs: how many values a lookup in a per-CPU map returns. */
export declare const possibleCpus: number

/** Nanoseconds of a jiffy: the resolution of CLOCK_MONOTONIC_COARSE. */
export declare const tickNs: number

export interface MapInfo {
  readonly name: string
  readonly type: number
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly flags: number
  readonly id: number
}

export interface ProgramInfo {
  readonly name: string
  readonly type: number
  readonly id: number
  /** The kernel's hash of the program's instructions, 16 hex digits. */
  readonly tag: string
  /** Bytes of translated and of JITed code. */
  readonly xlatedSize: number
  readonly jitedSize: number
  readonly verifiedInstructions: number
}

/** An ELF object: opened (parsed), changed, then loaded. */
export declare class BpfObject {
  /** Parses an ELF object. @throws code EINVAL and the like when it is none. */
  constructor(elf: Bytes)
  readonly mapNames: readonly string[]
  readonly programNames: readonly string[]
  /** Before load: the size of a map. */
  setMaxEntries(map: string, entries: number): void
  /** Before load: use this map instead of creating one. Key, value and type must agree. */
  reuseMap(map: string, present: BpfMap): void
  /** Before load: reads and writes the initial value of a global data section, such as '.rodata'. */
  initialValue(section: string): Uint8Array
  setInitialValue(section: string, bytes: Bytes): void
  /** Before load: leave a program out. */
  setAutoload(program: string, load: boolean): void
  /** Creates the maps and verifies the programs, on a worker thread; until then all but `close()` throws EBUSY. */
  load(): Promise<void>
  /** After load. The map or program stays open when the object is closed. */
  map(name: string): BpfMap
  program(name: string): BpfProgram
  close(): void
}

export declare class BpfMap {
  /** Opens a pinned map. */
  static openPinned(path: string): BpfMap
  /** Opens any map of the kernel's. Needs CAP_SYS_ADMIN. @throws code ENOENT */
  static openById(id: number): BpfMap
  /** A map that is open in this process, in another thread of it: by the number that `fd` says there. */
  static fromFd(fd: number): BpfMap
  /** The descriptor's number, valid until `close()`. */
  readonly fd: number
  readonly info: MapInfo
  /** Bytes of one value as `lookup` returns it: for a per-CPU map roundUp(valueSize, 8) * possibleCpus. */
  readonly lookupSize: number
  /** @throws code ENOENT */
  lookup(key: Bytes): Uint8Array
  /** flags: 0 BPF_ANY, 1 BPF_NOEXIST, 2 BPF_EXIST */
  update(key: Bytes, value: Bytes, flags?: number): void
  delete(key: Bytes): void
  /** The key after `key`, or the first; null at the end. */
  nextKey(key?: Bytes): Uint8Array | null
  /**
   * All entries, by batches (BPF_MAP_LOOKUP_BATCH): keys and values one after the other. Off the event loop.
   *
   * @param first of an array: the first index, less than maxEntries
   * @param most  of an array: no more entries than so many
   */
  lookupBatch(
    first?: number,
    most?: number,
  ): Promise<{ readonly count: number; readonly keys: Uint8Array; readonly values: Uint8Array }>
  /**
   * `count` keys and values one after the other. Off the event loop; the arrays must not change meanwhile.
   * flags: 0, or 4 BPF_F_LOCK; the kernel takes no others here.
   */
  updateBatch(keys: Bytes, values: Bytes, flags?: number): Promise<void>
  /**
   * The memory of a BPF_F_MMAPABLE array, shared with the data plane: stride roundUp(valueSize, 8) bytes.
   * Lives until it is garbage, also after `close()`.
   */
  mmap(): Promise<ArrayBuffer>
  pin(path: string): void
  unpin(path: string): void
  close(): void
}

export interface TestRunOptions {
  /** The frame, from 14 bytes on. */
  readonly data: Bytes
  /** struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; u32 each, host order. */
  readonly context?: Bytes
  /** How often to run; default 1. */
  readonly repeat?: number
  /** Really send the frames of XDP_TX, XDP_REDIRECT, XDP_PASS (BPF_F_TEST_XDP_LIVE_FRAMES). */
  readonly liveFrames?: boolean
  /** Frames a batch, with liveFrames. */
  readonly batchSize?: number
}

export interface TestRunResult {
  /** The program's return value: the XDP action. */
  readonly returnValue: number
  /** The frame afterwards; absent with liveFrames. */
  readonly data?: Uint8Array
  readonly context?: Uint8Array
  /** Mean time of a run by the kernel's own clock. */
  readonly durationNs: number
  /** CPU time of the calling thread (CLOCK_THREAD_CPUTIME_ID) around the system call, for all repeats. */
  readonly cpuNs: number
}

export declare class BpfProgram {
  static openPinned(path: string): BpfProgram
  /** Opens any program of the kernel's. Needs CAP_SYS_ADMIN. @throws code ENOENT */
  static openById(id: number): BpfProgram
  readonly info: ProgramInfo
  /** Ids of the maps that it uses. */
  readonly mapIds: readonly number[]
  /** BPF_PROG_TEST_RUN. */
  testRun(options: TestRunOptions): Promise<TestRunResult>
  /**
   * The same on the event loop's own thread, for tests and for `explain`, where thousands of frames are run one by
   * one: the kernel may take some milliseconds for each call.
   */
  testRunSync(options: TestRunOptions): TestRunResult
  pin(path: string): void
  unpin(path: string): void
  close(): void
}

export type XdpMode = 'native' | 'generic'

/** An XDP link: detaches when its last reference (this, or a pin) goes. */
export declare class XdpLink {
  /** @throws code EBUSY when another XDP program is attached; EOPNOTSUPP when the driver has no native XDP. */
  static attach(program: BpfProgram, ifindex: number, mode: XdpMode): Promise<XdpLink>
  static openPinned(path: string): XdpLink
  readonly info: { readonly id: number; readonly programId: number; readonly ifindex: number }
  /** Replaces the program atomically; with `expected`, only if that one is there (EPERM otherwise). */
  update(program: BpfProgram, expected?: BpfProgram): Promise<void>
  /** Detaches now, though pins or other references remain. */
  detach(): Promise<void>
  pin(path: string): void
  unpin(path: string): void
  /** Closes the descriptor. Off the event loop: the last reference detaches, which waits for the kernel. */
  close(): Promise<void>
}

/** The program attached to an interface, whoever did it; id 0: none. */
export declare function queryXdp(ifindex: number): {
  readonly programId: number
  readonly mode: XdpMode | null
}

/**
 * Attaches without a link (rtnetlink): it stays when the process ends, until it is detached or the interface goes. Off
 * the event loop.
 *
 * @param expected the program to be replaced; absent: none may be there
 * @throws code EBUSY, EEXIST when another program is attached; EOPNOTSUPP when the driver has no native XDP
 */
export declare function attachXdp(
  program: BpfProgram,
  ifindex: number,
  mode: XdpMode,
  expected?: BpfProgram,
): Promise<void>
/** Detaches what attachXdp has attached, if it is `expected`. @throws code EBUSY, EEXIST when it is not */
export declare function detachXdp(ifindex: number, mode: XdpMode, expected: BpfProgram): Promise<void>

/** Where programs of a cgroup are called: BPF_CGROUP_SOCK_OPS, BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME. */
export type CgroupHook = 'sockops' | 'getpeername4' | 'getpeername6'

/** Ids of the programs that are attached to this very cgroup (v2), whoever did it. @throws code EBADF: no such cgroup */
export declare function queryCgroup(path: string, hook: CgroupHook): readonly number[]

/**
 * Attaches without a link, beside others (BPF_F_ALLOW_MULTI): it stays when the process ends, until it is detached or the
 * cgroup is removed. Off the event loop.
 *
 * @param path     of the cgroup's directory
 * @param replaced the program whose place it takes
 * @throws code EPERM when others are there that want to be alone; ENOENT when `replaced` is not there
 */
export declare function attachCgroup(
  program: BpfProgram,
  path: string,
  hook: CgroupHook,
  replaced?: BpfProgram,
): Promise<void>
/** Detaches what attachCgroup has attached. @throws code ENOENT when it is not there */
export declare function detachCgroup(path: string, hook: CgroupHook, program: BpfProgram): Promise<void>

/** The kernel's number (SO_NETNS_COOKIE) of the network namespace that the process is in: unique until the next boot. */
export declare function networkNamespace(): string

export interface NetlinkLink {
  readonly ifindex: number
  readonly name: string
  /** The lower device's ifindex (IFLA_LINK), of a VLAN for example; null when none, or when it is in another namespace. */
  readonly lower: number | null
  /** IFLA_INFO_KIND: 'veth', 'vlan', 'bridge' ... or null. */
  readonly kind: string | null
  readonly mac: Uint8Array | null
  readonly mtu: number
  /** IFF_* bits. */
  readonly flags: number
  /** ARPHRD_*: 1 Ethernet, 772 loopback. */
  readonly type: number
}

export interface NetlinkAddress {
  readonly ifindex: number
  /** 4 or 16 bytes. */
  readonly address: Uint8Array
  readonly prefixLength: number
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number
  /** IFA_F_*: 1 secondary (IPv4) or temporary (IPv6), 8 duplicate, 32 deprecated, 64 tentative. */
  readonly flags: number
}

export interface NetlinkRoute {
  /** 4 or 16 bytes; all zero and prefixLength 0: the default route. */
  readonly destination: Uint8Array
  readonly prefixLength: number
  readonly table: number
  /** RTN_*: 1 unicast, 2 local, 6 blackhole, 7 unreachable, 8 prohibit. */
  readonly type: number
  readonly priority: number
  /** RTAX_MTU: what the route says, or what the kernel has learnt of the path (routeTo only); null: nothing. */
  readonly mtu: number | null
  /** RTA_PREFSRC, 4 or 16 bytes: the source that the kernel prefers; null: none is said. */
  readonly source: Uint8Array | null
  readonly tos: number
  /** IPv6: bits of the source's prefix that it applies to; 0: to every source. */
  readonly sourceLength: number
  readonly nextHops: readonly {
    readonly ifindex: number
    readonly gateway: Uint8Array | null
    readonly weight: number
    /** RTNH_F_*: 1 dead, 16 its link is down. */
    readonly flags: number
    /** By the route itself: MPLS, SRv6 and others. */
    readonly isEncapsulated: boolean
  }[]
}

/** Of policy routing (ip-rule(8)). */
export interface NetlinkRule {
  readonly family: 4 | 6
  readonly priority: number
  readonly table: number
  /** FR_ACT_*: 1 to the table. */
  readonly action: number
  /** It does not apply to every packet, or not to every route of its table. */
  readonly isSelective: boolean
}

export interface NetlinkNeighbour {
  readonly ifindex: number
  readonly address: Uint8Array
  readonly mac: Uint8Array | null
  /** NUD_* bits: 1 incomplete, 2 reachable, 4 stale, 8 delay, 16 probe, 32 failed, 64 noarp, 128 permanent. */
  readonly state: number
}

export type NetlinkEvent =
  | { readonly kind: 'link'; readonly change: 'new' | 'delete'; readonly link: NetlinkLink }
  | { readonly kind: 'address'; readonly change: 'new' | 'delete'; readonly address: NetlinkAddress }
  | { readonly kind: 'route'; readonly change: 'new' | 'delete'; readonly route: NetlinkRoute }
  /** Of policy routing (ip-rule(8)). */
  | { readonly kind: 'rule'; readonly change: 'new' | 'delete' }
  | { readonly kind: 'neighbour'; readonly change: 'new' | 'delete'; readonly neighbour: NetlinkNeighbour }
  /** The socket's buffer overran (ENOBUFS): what was known must be read again. */
  | { readonly kind: 'overrun' }

/** A rtnetlink socket, of the network namespace that the process is in when it is opened. */
export declare class Netlink {
  constructor()
  links(): Promise<NetlinkLink[]>
  addresses(): Promise<NetlinkAddress[]>
  /** @param limit of each family so many at most; default: all */
  routes(limit?: number): Promise<NetlinkRoute[]>
  /** None of a family that the kernel lacks. */
  rules(): Promise<NetlinkRule[]>
  neighbours(): Promise<NetlinkNeighbour[]>
  /**
   * The kernel's own choice of route for a destination (RTM_GETROUTE), its one next hop filled in.
   * @throws code ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL for unreachable, prohibit, blackhole routes.
   */
  routeTo(address: Bytes): Promise<NetlinkRoute>
  /**
   * Has the kernel ask a neighbour for its MAC address now (RTM_NEWNEIGH: NTF_USE, or NUD_PROBE where one is known
   * and believed); the answer comes as an event. A permanent entry is left as it is.
   */
  resolve(ifindex: number, address: Bytes): Promise<void>
  /**
   * A dump as the kernel answers it: of each message the body, a struct (rtmsg, ifaddrmsg, ...) and its attributes.
   *
   * @param type   RTM_GETLINK 18, RTM_GETADDR 22, RTM_GETROUTE 26, RTM_GETNEIGH 30
   * @param family AF_INET 2, AF_INET6 10
   */
  dumpMessages(type: number, family: number): Promise<Uint8Array[]>
  /** A request with such a body (RTM_NEWADDR 20 ...); `flags` (NLM_F_*) beyond NLM_F_REQUEST and NLM_F_ACK. */
  request(type: number, flags: number, body: Bytes): Promise<void>
  /**
   * Calls back with all that came together; links, addresses, routes, rules, neighbours of both families. Once per socket
   * (EBUSY); lasts until `close()`. The kernel does not tell of IPv4 routes that go with their link: read them again.
   */
  subscribe(onEvents: (events: readonly NetlinkEvent[]) => void): void
  close(): void
}

/** The peer of a connected unix socket (SO_PEERCRED). `fd` is the socket's descriptor. */
export declare function peerCredentials(fd: number): {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/**
 * Locks an open file or directory (flock, LOCK_EX | LOCK_NB), until its descriptor is closed, by whatever way.
 * @returns false when another descriptor has the lock.
 */
export declare function tryLock(fd: number): boolean
