// SPDX-License-Identifier: Apache-2.0
#include "netlink_socket.h"

#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "error.h"

// A dump is interrupted when the table changes meanwhile.
static constexpr int kDumpTries = 5;
// The kernel answers within the call; only a defect makes anyone wait.
static constexpr timeval kAnswerTimeout = {10, 0};

// Every rtnetlink header starts with its family (struct rtgenmsg); all are smaller than this.
static constexpr size_t kHeaderSize[] = {sizeof(ifinfomsg), sizeof(ifaddrmsg), sizeof(rtmsg), sizeof(ndmsg),
                                         sizeof(fib_rule_hdr)};
static constexpr size_t kRequestSize = 256;

NetlinkSocket::NetlinkSocket() : socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)), buffer_(65536) {
  if (!socket_) throw SystemFailure(errno, "socket");
  if (mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) ||
      setsockopt(mnl_socket_get_fd(socket_), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout,
                 sizeof(kAnswerTimeout))) {
    int error = errno;
    mnl_socket_close(socket_);
    throw SystemFailure(error, "bind");
  }
}

NetlinkSocket::~NetlinkSocket() { mnl_socket_close(socket_); }

static nlmsghdr* Put(void* buffer, uint16_t type, uint16_t flags, int family) {
  nlmsghdr* request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = type;
  request->nlmsg_flags = NLM_F_REQUEST | flags;
  // The requests' types come in fours per kind: link, address, route, neighbour, rule.
  void* header = mnl_nlmsg_put_extra_header(request, kHeaderSize[(type - RTM_BASE) / 4]);
  static_cast<rtgenmsg*>(header)->rtgen_family = family;
  return request;
}

template <typename Header>
static Header* HeaderOf(nlmsghdr* request) {
  return static_cast<Header*>(mnl_nlmsg_get_payload(request));
}

static int CallOnMessage(const nlmsghdr* message, void* on_message) {
  (*static_cast<const std::function<void(const nlmsghdr*)>*>(on_message))(message);
  return message->nlmsg_flags & NLM_F_MULTI ? MNL_CB_OK : MNL_CB_STOP;
}

void NetlinkSocket::Exchange(nlmsghdr* request, const char* call, const OnMessage& on_message) {
  std::lock_guard lock(mutex_);
  uint32_t sequence = request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_, request, request->nlmsg_len) < 0) throw SystemFailure(errno, "sendto", call);

  for (int result = MNL_CB_OK; result > MNL_CB_STOP;) {
    ssize_t size = mnl_socket_recvfrom(socket_, buffer_.data(), buffer_.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw SystemFailure(errno, "recvmsg", call);
    auto* first = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    if (!mnl_nlmsg_ok(first, size) || first->nlmsg_seq != sequence)
      continue;  // of a request that was given up
    result = mnl_cb_run(buffer_.data(), size, sequence, mnl_socket_get_portid(socket_), CallOnMessage,
                        const_cast<OnMessage*>(&on_message));
    if (result < 0) throw SystemFailure(errno, call);
  }
}

template <typename Row>
std::vector<Row> NetlinkSocket::Dump(uint16_t type, const char* call, int family,
                                     std::optional<Row> (*parse)(const nlmsghdr*), size_t limit) {
  for (int tries = 1;; tries++) {
    alignas(nlmsghdr) char buffer[kRequestSize];
    nlmsghdr* request = Put(buffer, type, NLM_F_DUMP, family);
    if (type == RTM_GETLINK) mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::vector<Row> rows;
    try {
      Exchange(request, call, [&](const nlmsghdr* message) {
        // Without IPv6 the kernel answers a request for it with all families.
        if (family && static_cast<const rtgenmsg*>(mnl_nlmsg_get_payload(message))->rtgen_family != family)
          return;
        if (rows.size() == limit) return;
        if (auto row = parse(message)) rows.push_back(std::move(*row));
      });
      return rows;
    } catch (const SystemFailure& failure) {
      if (failure.error != EINTR || tries == kDumpTries) throw;
    }
  }
}

template <typename Row>
static std::vector<Row> Joined(std::vector<Row> rows, std::vector<Row> more) {
  std::move(more.begin(), more.end(), std::back_inserter(rows));
  return rows;
}

std::vector<NetlinkLink> NetlinkSocket::Links() {
  return Dump(RTM_GETLINK, "RTM_GETLINK", AF_UNSPEC, ParseLink);
}

std::vector<NetlinkAddress> NetlinkSocket::Addresses() {
  return Joined(Dump(RTM_GETADDR, "RTM_GETADDR", AF_INET, ParseAddress),
                Dump(RTM_GETADDR, "RTM_GETADDR", AF_INET6, ParseAddress));
}

static std::optional<NetlinkRoute> ParseEntry(const nlmsghdr* message) {
  auto route = ParseRoute(message);
  return route && route->is_cloned ? std::nullopt : std::move(route);
}

std::vector<NetlinkRoute> NetlinkSocket::Routes(size_t limit) {
  return Joined(Dump(RTM_GETROUTE, "RTM_GETROUTE", AF_INET, ParseEntry, limit),
                Dump(RTM_GETROUTE, "RTM_GETROUTE", AF_INET6, ParseEntry, limit));
}

std::vector<NetlinkRule> NetlinkSocket::Rules() {
  try {
    return Joined(Dump(RTM_GETRULE, "RTM_GETRULE", AF_INET, ParseRule),
                  Dump(RTM_GETRULE, "RTM_GETRULE", AF_INET6, ParseRule));
  } catch (const SystemFailure& failure) {
    if (failure.error == EOPNOTSUPP) return {};  // a kernel without them
    throw;
  }
}

std::vector<NetlinkNeighbour> NetlinkSocket::Neighbours() {
  return Joined(Dump(RTM_GETNEIGH, "RTM_GETNEIGH", AF_INET, ParseNeighbour),
                Dump(RTM_GETNEIGH, "RTM_GETNEIGH", AF_INET6, ParseNeighbour));
}

static int FamilyOf(const ByteString& address) { return address.size() == 4 ? AF_INET : AF_INET6; }

NetlinkRoute NetlinkSocket::RouteTo(const ByteString& address) {
  alignas(nlmsghdr) char buffer[kRequestSize];
  nlmsghdr* request = Put(buffer, RTM_GETROUTE, 0, FamilyOf(address));
  HeaderOf<rtmsg>(request)->rtm_dst_len = address.size() * 8;
  HeaderOf<rtmsg>(request)->rtm_flags = RTM_F_LOOKUP_TABLE;  // say which table it came from
  mnl_attr_put(request, RTA_DST, address.size(), address.data());
  std::optional<NetlinkRoute> route;
  Exchange(request, "RTM_GETROUTE", [&](const nlmsghdr* message) { route = ParseRoute(message); });
  if (!route) throw SystemFailure(EPROTO, "RTM_GETROUTE");
  return *route;
}

// A request about one neighbour.
static nlmsghdr* PutNeighbour(void* buffer, uint16_t type, uint16_t flags, uint32_t ifindex,
                              const ByteString& address) {
  nlmsghdr* request = Put(buffer, type, flags, FamilyOf(address));
  HeaderOf<ndmsg>(request)->ndm_ifindex = ifindex;
  mnl_attr_put(request, NDA_DST, address.size(), address.data());
  return request;
}

uint16_t NetlinkSocket::NeighbourState(uint32_t ifindex, const ByteString& address) {
  alignas(nlmsghdr) char buffer[kRequestSize];
  std::optional<NetlinkNeighbour> present;
  try {
    Exchange(PutNeighbour(buffer, RTM_GETNEIGH, 0, ifindex, address), "RTM_GETNEIGH",
             [&](const nlmsghdr* message) { present = ParseNeighbour(message); });
  } catch (const SystemFailure& failure) {
    if (failure.error != ENOENT) throw;
  }
  return present ? present->state : NUD_NONE;
}

void NetlinkSocket::Resolve(uint32_t ifindex, const ByteString& address) {
  uint16_t state = NeighbourState(ifindex, address);
  // Nothing to ask for. NTF_USE would even take the permanence away from a static entry, and with it the
  // operator's MAC address: __neigh_update() in net/core/neighbour.c.
  if (state & (NUD_PERMANENT | NUD_NOARP)) return;
  if (state & (NUD_INCOMPLETE | NUD_PROBE)) return;  // asked already

  alignas(nlmsghdr) char buffer[kRequestSize];
  uint16_t flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
  nlmsghdr* request = PutNeighbour(buffer, RTM_NEWNEIGH, flags, ifindex, address);
  if (state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY)) {
    HeaderOf<ndmsg>(request)->ndm_state =
        NUD_PROBE;  // as NTF_USE would not: the entry is believed for a while
  } else {
    HeaderOf<ndmsg>(request)->ndm_state = NUD_NONE;
    HeaderOf<ndmsg>(request)->ndm_flags = NTF_USE;  // as if a packet were sent to it
  }
  Exchange(request, "RTM_NEWNEIGH", [](const nlmsghdr*) {});
}

static std::optional<ByteString> BodyOf(const nlmsghdr* message) {
  auto* body = static_cast<const uint8_t*>(mnl_nlmsg_get_payload(message));
  return ByteString(body, body + mnl_nlmsg_get_payload_len(message));
}

std::vector<ByteString> NetlinkSocket::DumpMessages(uint16_t type, int family) {
  return Dump(type, "netlink dump", family, BodyOf);
}

void NetlinkSocket::Request(uint16_t type, uint16_t flags, const ByteString& body) {
  std::vector<uint32_t> buffer((MNL_NLMSG_HDRLEN + body.size()) / sizeof(uint32_t) + 1);
  nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = type;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  std::copy(body.begin(), body.end(), static_cast<uint8_t*>(mnl_nlmsg_get_payload(request)));
  request->nlmsg_len += body.size();
  Exchange(request, "netlink request", [](const nlmsghdr*) {});
}
