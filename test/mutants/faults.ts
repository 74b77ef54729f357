/** Faults that a wrong edit of the data plane could make: each must be seen by the differential test. */
export interface Fault {
  readonly description: string
  /** In bpf/, or in src/. */
  readonly file: string
  /** Occurs in the file exactly once. */
  readonly search: string
  readonly replace: string
}

export const faults: readonly Fault[] = [
  {
    description: 'a third VLAN tag is followed',
    file: 'parse.h',
    search: 'i < VLAN_TAGS_MAX',
    replace: 'i < VLAN_TAGS_MAX + 1',
  },
  {
    description: 'IPv4 options are taken for the L4 header',
    file: 'parse.h',
    search: 'header_len = ip->ihl * 4;',
    replace: 'header_len = 20;',
  },
  {
    description: 'first fragments, with MF alone, are no fragments',
    file: 'parse.h',
    search: 'bpf_htons(0x3fff)',
    replace: 'bpf_htons(0x1fff)',
  },
  {
    description: 'ports are read beyond the end of the packet',
    file: 'parse.h',
    search: ' || pkt->l4_len < sizeof(pkt->ports)',
    replace: '',
  },
  {
    description: 'an authentication header’s length counts in units of 8',
    file: 'parse.h',
    search: '(header->length + 2) * 4',
    replace: '(header->length + 2) * 8',
  },
  {
    description: 'the fourth extension header is not followed',
    file: 'parse.h',
    search: 'if (i == EXTENSION_HEADERS_MAX)',
    replace: 'if (i == EXTENSION_HEADERS_MAX - 1)',
  },
  {
    description: 'segments left of a routing header are not looked at',
    file: 'parse.h',
    search: 'pkt->protocol == IPPROTO_ROUTING && header->segments_left',
    replace: '0 && header->segments_left',
  },
  {
    description: 'the service of every port goes before the one of the port',
    file: 'service.h',
    search: 'if (!pkt->service && config.any_port)',
    replace: 'if (config.any_port && lookup_service(pkt->dst_hi, pkt->dst_lo, pkt->protocol, 0))',
  },
  {
    description: 'the last byte of the destination MAC address is not compared',
    file: 'service.h',
    search: '<< 16 ? PASS_OTHER_HOST',
    replace: '<< 24 ? PASS_OTHER_HOST',
  },
  {
    description: 'the flow hash mixes less',
    file: 'ring.h',
    search: 'word ^= word >> 32',
    replace: 'word ^= word >> 40',
  },
  {
    description: 'IPv6 ports are hashed whether the service names them or not',
    file: 'ring.h',
    search: '(ports & mask & ~0ULL << 32)',
    replace: '(ports & ~0ULL << 32)',
  },
  {
    description: 'the last slot of a ring is never chosen',
    file: 'ring.h',
    search: '(pkt->hash >> 32) * size >> 32',
    replace: '(pkt->hash >> 32) * (size - 1) >> 32',
  },
  {
    description: 'the last two bytes of the source MAC address stay as they came',
    file: 'forward_dr.h',
    search: '*(__u32 *)(pkt->frame + 8) = *(__u32 *)',
    replace: '*(__u16 *)(pkt->frame + 8) = *(__u16 *)',
  },
  {
    description: 'a backend without a next hop gets packets',
    file: 'forward.h',
    search: '!(pkt->backend->flags & BACKEND_RESOLVED)',
    replace: '0',
  },
  {
    description: 'resets are answered',
    file: 'reset.h',
    search: 'flags & TCP_RST || ',
    replace: '',
  },
  {
    description: 'a FIN does not count for the segment’s length',
    file: 'reset.h',
    search: ' + !!(flags & TCP_FIN)',
    replace: '',
  },
  {
    description: 'multicast sources are answered',
    file: 'answer.h',
    search: 'first < 224',
    replace: 'first < 240',
  },
  {
    description: 'the odd last byte of a quote is summed up in the wrong half',
    file: 'checksum.h',
    search: 'bpf_htons(*(__u8 *)next << 8)',
    replace: '(__u16)(*(__u8 *)next << 8)',
  },
  {
    description: 'an ICMP answer is 4 bytes longer than 576',
    file: 'icmp_error.h',
    search: '(it, ICMP_ERROR_MAX - room)',
    replace: '(it, ICMP_ERROR_MAX + 4 - room)',
  },
]
