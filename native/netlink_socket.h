// SPDX-License-Identifier: Apache-2.0
// Requests to rtnetlink, one at a time. Any thread may ask; throws SystemFailure.
#pragma once
#include <libmnl/libmnl.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "rtnetlink.h"

class NetlinkSocket {
 public:
  // Opened in the network namespace of the calling thread, and stays in it.
  NetlinkSocket();
  ~NetlinkSocket();
  NetlinkSocket(const NetlinkSocket&) = delete;

  std::vector<NetlinkLink> Links();
  std::vector<NetlinkAddress> Addresses();
  // Of each family so many at most.
  std::vector<NetlinkRoute> Routes(size_t limit);
  std::vector<NetlinkNeighbour> Neighbours();
  std::vector<NetlinkRule> Rules();
  NetlinkRoute RouteTo(const ByteString& address);
  // Asks a neighbour for its MAC address now, also when it is known, unless its entry is permanent.
  void Resolve(uint32_t ifindex, const ByteString& address);

  // Messages as the kernel has them, header and attributes: what a dump of `type` (RTM_GET*) answers.
  std::vector<ByteString> DumpMessages(uint16_t type, int family);
  // A request of any type with the body given; waits until the kernel has done it.
  void Request(uint16_t type, uint16_t flags, const ByteString& body);

 private:
  using OnMessage = std::function<void(const nlmsghdr*)>;

  // NUD_* bits; NUD_NONE when there is no entry.
  uint16_t NeighbourState(uint32_t ifindex, const ByteString& address);
  // Sends `request` and takes its answers up to the last. `call` names the request in errors.
  void Exchange(nlmsghdr* request, const char* call, const OnMessage& on_message);
  template <typename Row>
  std::vector<Row> Dump(uint16_t type, const char* call, int family,
                        std::optional<Row> (*parse)(const nlmsghdr*), size_t limit = SIZE_MAX);

  std::mutex mutex_;
  mnl_socket* socket_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_;
};
