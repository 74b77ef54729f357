// SPDX-License-Identifier: Apache-2.0
#include "rtnetlink.h"

#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>

namespace {

// The attributes of a message or a nest, by type.
class Attributes {
 public:
  static constexpr size_t kTypes = 128;  // above IFLA_MAX, RTA_MAX, NDA_MAX, FRA_MAX

  Attributes(const nlmsghdr* message, size_t header_size) {
    mnl_attr_parse(message, header_size, &Attributes::Take, this);
  }
  explicit Attributes(const nlattr* nest) {
    if (nest) mnl_attr_parse_nested(nest, &Attributes::Take, this);
  }
  Attributes(const void* payload, size_t size) {
    mnl_attr_parse_payload(payload, size, &Attributes::Take, this);
  }

  const nlattr* operator[](size_t type) const { return found_[type]; }

  uint32_t U32(size_t type, uint32_t otherwise = 0) const {
    const nlattr* attribute = found_[type];
    return attribute && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0 ? mnl_attr_get_u32(attribute)
                                                                        : otherwise;
  }

  // Of the payload, without the first `skip` bytes.
  ByteString Bytes(size_t type, size_t skip = 0) const {
    const nlattr* attribute = found_[type];
    if (!attribute || mnl_attr_get_payload_len(attribute) < skip) return {};
    auto* payload = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
    return {payload + skip, payload + mnl_attr_get_payload_len(attribute)};
  }

  std::string Text(size_t type) const {
    const nlattr* attribute = found_[type];
    return attribute && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(attribute)
                                                                               : "";
  }

 private:
  static int Take(const nlattr* attribute, void* self) {
    auto& found = static_cast<Attributes*>(self)->found_;
    size_t type = mnl_attr_get_type(attribute);
    if (type < found.size()) found[type] = attribute;
    return MNL_CB_OK;
  }

  std::array<const nlattr*, kTypes> found_ = {};
};

template <typename Header>
const Header* HeaderOf(const nlmsghdr* message) {
  return mnl_nlmsg_get_payload_len(message) < sizeof(Header)
             ? nullptr
             : static_cast<const Header*>(mnl_nlmsg_get_payload(message));
}

bool IsIp(int family) { return family == AF_INET || family == AF_INET6; }

NetlinkNextHop NextHop(const Attributes& attributes, uint32_t ifindex, uint32_t weight, uint32_t flags) {
  ByteString gateway = attributes.Bytes(RTA_GATEWAY);
  if (gateway.empty()) gateway = attributes.Bytes(RTA_VIA, sizeof(rtvia));  // of the other family
  return {ifindex, weight, flags, gateway, attributes[RTA_ENCAP_TYPE] != nullptr};
}

// `flags` (RTNH_F_*) are those of the one next hop that has no header of its own.
std::vector<NetlinkNextHop> NextHops(const Attributes& attributes, uint32_t flags) {
  std::vector<NetlinkNextHop> next_hops;
  if (const nlattr* multipath = attributes[RTA_MULTIPATH]) {
    auto* hop = static_cast<const rtnexthop*>(mnl_attr_get_payload(multipath));
    int left = mnl_attr_get_payload_len(multipath);
    for (; left >= static_cast<int>(sizeof(*hop)) && RTNH_OK(hop, left);
         left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
      next_hops.push_back(NextHop(Attributes(RTNH_DATA(hop), hop->rtnh_len - sizeof(*hop)), hop->rtnh_ifindex,
                                  hop->rtnh_hops + 1u, hop->rtnh_flags));
  } else if (attributes[RTA_OIF]) {
    next_hops.push_back(NextHop(attributes, attributes.U32(RTA_OIF), 1, flags));
  }
  return next_hops;
}

template <typename Value>
std::optional<NetlinkEvent> Event(bool is_delete, std::optional<Value>&& value) {
  if (!value) return std::nullopt;
  return NetlinkEvent{is_delete, std::move(*value)};
}

}  // namespace

std::optional<NetlinkLink> ParseLink(const nlmsghdr* message) {
  auto* header = HeaderOf<ifinfomsg>(message);
  if (!header || header->ifi_family != AF_UNSPEC) return std::nullopt;
  Attributes attributes(message, sizeof(*header));
  NetlinkLink link;
  link.ifindex = header->ifi_index;
  link.lower = attributes[IFLA_LINK_NETNSID] ? 0 : attributes.U32(IFLA_LINK);
  link.mtu = attributes.U32(IFLA_MTU);
  link.flags = header->ifi_flags;
  link.type = header->ifi_type;
  link.name = attributes.Text(IFLA_IFNAME);
  link.kind = Attributes(attributes[IFLA_LINKINFO]).Text(IFLA_INFO_KIND);
  link.mac = attributes.Bytes(IFLA_ADDRESS);
  return link;
}

std::optional<NetlinkAddress> ParseAddress(const nlmsghdr* message) {
  auto* header = HeaderOf<ifaddrmsg>(message);
  if (!header || !IsIp(header->ifa_family)) return std::nullopt;
  Attributes attributes(message, sizeof(*header));
  // On a point-to-point link IFA_ADDRESS is the peer's.
  return NetlinkAddress{header->ifa_index, header->ifa_prefixlen, header->ifa_scope,
                        attributes.U32(IFA_FLAGS, header->ifa_flags),
                        attributes.Bytes(attributes[IFA_LOCAL] ? IFA_LOCAL : IFA_ADDRESS)};
}

std::optional<NetlinkRoute> ParseRoute(const nlmsghdr* message) {
  auto* header = HeaderOf<rtmsg>(message);
  if (!header || !IsIp(header->rtm_family)) return std::nullopt;
  Attributes attributes(message, sizeof(*header));
  NetlinkRoute route;
  route.prefix_length = header->rtm_dst_len;
  route.table = attributes.U32(RTA_TABLE, header->rtm_table);
  route.type = header->rtm_type;
  route.priority = attributes.U32(RTA_PRIORITY);
  route.destination = attributes.Bytes(RTA_DST);
  route.destination.resize(header->rtm_family == AF_INET ? 4
                                                         : 16);  // zeros where it is left out: the default
  route.source = attributes.Bytes(RTA_PREFSRC);
  route.mtu = Attributes(attributes[RTA_METRICS]).U32(RTAX_MTU);
  route.tos = header->rtm_tos;
  route.source_length = header->rtm_src_len;
  route.next_hops = NextHops(attributes, header->rtm_flags & 0xff);
  route.is_cloned = header->rtm_flags & RTM_F_CLONED;
  return route;
}

std::optional<NetlinkNeighbour> ParseNeighbour(const nlmsghdr* message) {
  auto* header = HeaderOf<ndmsg>(message);
  if (!header || !IsIp(header->ndm_family) || header->ndm_flags & NTF_PROXY) return std::nullopt;
  Attributes attributes(message, sizeof(*header));
  return NetlinkNeighbour{static_cast<uint32_t>(header->ndm_ifindex), header->ndm_state,
                          attributes.Bytes(NDA_DST), attributes.Bytes(NDA_LLADDR)};
}

std::optional<NetlinkRule> ParseRule(const nlmsghdr* message) {
  auto* header = HeaderOf<fib_rule_hdr>(message);
  if (!header || !IsIp(header->family)) return std::nullopt;
  Attributes attributes(message, sizeof(*header));
  constexpr uint32_t kNone = -1;
  NetlinkRule rule;
  rule.family = header->family;
  rule.priority = attributes.U32(FRA_PRIORITY);
  rule.table = attributes.U32(FRA_TABLE, header->table);
  rule.action = header->action;
  rule.is_selective = header->dst_len || header->src_len || header->tos ||
                      header->flags & ~static_cast<uint32_t>(FIB_RULE_PERMANENT) ||
                      attributes.U32(FRA_SUPPRESS_PREFIXLEN, kNone) != kNone;
  // Whatever a rule goes by is an attribute; these are not.
  for (size_t type = 1; type < Attributes::kTypes; type++)
    if (attributes[type] && type != FRA_PRIORITY && type != FRA_TABLE && type != FRA_SUPPRESS_PREFIXLEN &&
        type != FRA_PROTOCOL && type != FRA_PAD)
      rule.is_selective = true;
  return rule;
}

std::optional<NetlinkEvent> ParseEvent(const nlmsghdr* message) {
  uint16_t type = message->nlmsg_type;
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return Event(type == RTM_DELLINK, ParseLink(message));
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return Event(type == RTM_DELADDR, ParseAddress(message));
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      auto route = ParseRoute(message);
      if (route && route->is_cloned) return std::nullopt;
      return Event(type == RTM_DELROUTE, std::move(route));
    }
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return NetlinkEvent{type == RTM_DELRULE, NetlinkRule{}};
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return Event(type == RTM_DELNEIGH, ParseNeighbour(message));
  }
  return std::nullopt;
}
