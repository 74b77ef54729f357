import type { Fault } from './faults.js'

/** Of address translation that needs no connections: seen by the differential test. */
export const natFaults: readonly Fault[] = [
  {
    description: 'a TTL of 1 goes on as 0',
    file: 'rewrite.h',
    search: 'ip->ttl <= 1',
    replace: 'ip->ttl < 1',
  },
  {
    description: 'a hop limit of 1 goes on as 0',
    file: 'rewrite.h',
    search: 'ip6->hop_limit <= 1',
    replace: 'ip6->hop_limit < 1',
  },
  {
    description: 'the IPv4 header’s checksum does not know of the TTL',
    file: 'rewrite.h',
    search: '(__u64)l3_delta + TTL_DELTA',
    replace: '(__u64)l3_delta',
  },
  {
    description: 'UDP without a checksum gets a wrong one',
    file: 'rewrite.h',
    search: 'if (udp->check)',
    replace: 'if (1)',
  },
  {
    description: 'the hop limit stays',
    file: 'rewrite.h',
    search: 'ip->hop_limit--;',
    replace: '',
  },
  {
    description: 'a quoted checksum is looked for beyond the message’s end',
    file: 'translate_message.h',
    search: 'quoted->l4_offset + (quoted->protocol == IPPROTO_TCP ? 18 : 8) > message_end',
    replace: '0',
  },
  {
    description: 'a quoted UDP checksum of 0 is taken for one',
    file: 'translate_message.h',
    search: 'quoted->protocol == IPPROTO_UDP && !before',
    replace: '0',
  },
  {
    description: 'the quoted packet’s checksum stays as it was',
    file: 'translate_message.h',
    search: '*check = adjust_checksum(before, inside + ports_delta);',
    replace: '*check = before;',
  },
  {
    description: 'a backend’s own connection is taken for a reply',
    file: 'come_back.h',
    search: "return PASS_NOT_A_SERVICE; /* a connection of the backend's own */",
    replace: ';',
  },
]
