// SPDX-License-Identifier: Apache-2.0
// rtnetlink messages as values. libmnl reads the attributes; see rtnetlink(7).
#pragma once
#include <libmnl/libmnl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

using ByteString = std::vector<uint8_t>;  // an address, in wire order; empty: none

struct NetlinkLink {
  uint32_t ifindex, lower, mtu, flags, type;  // lower 0: none
  std::string name, kind;
  ByteString mac;
};

struct NetlinkAddress {
  uint32_t ifindex, prefix_length, scope, flags;
  ByteString address;
};

struct NetlinkNextHop {
  uint32_t ifindex, weight, flags;
  ByteString gateway;
  bool is_encapsulated;  // by the route itself: MPLS, SRv6 ...
};

struct NetlinkRoute {
  uint32_t prefix_length, table, type, priority, tos, source_length;
  uint32_t mtu;  // of the route's metrics, or of an exception that the kernel has learnt; 0: none
  ByteString destination, source;
  std::vector<NetlinkNextHop> next_hops;
  bool is_cloned;  // an answer or a cached exception, not an entry of the table
};

struct NetlinkNeighbour {
  uint32_t ifindex, state;
  ByteString address, mac;
};

struct NetlinkRule {
  uint32_t family, priority, table, action;
  bool is_selective;  // it does not apply to every packet, or not to every route of its table
};

struct NetlinkOverrun {};

struct NetlinkEvent {
  bool is_delete;
  std::variant<NetlinkOverrun, NetlinkLink, NetlinkAddress, NetlinkRoute, NetlinkNeighbour, NetlinkRule> what;
};

// None when the message is of another family than the value's (a bridge's view of its ports, for example).
std::optional<NetlinkLink> ParseLink(const nlmsghdr* message);
std::optional<NetlinkAddress> ParseAddress(const nlmsghdr* message);
std::optional<NetlinkRoute> ParseRoute(const nlmsghdr* message);
std::optional<NetlinkNeighbour> ParseNeighbour(const nlmsghdr* message);
std::optional<NetlinkRule> ParseRule(const nlmsghdr* message);

// A notification; none when it is about something else.
std::optional<NetlinkEvent> ParseEvent(const nlmsghdr* message);
