// SPDX-License-Identifier: Apache-2.0
#include "netlink_events.h"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "netlink_values.h"

// Room for some ten thousand notifications.
static constexpr int kReceiveBuffer = 8 << 20;
// Handed over at once at most; more than the second while JavaScript is busy counts as an overrun.
static constexpr int kDatagramsAtOnce = 256;
static constexpr size_t kMostEvents = 65536;

static constexpr int kGroups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                  RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                                  RTNLGRP_IPV6_RULE,  RTNLGRP_NEIGH};

NetlinkEvents::NetlinkEvents()
    : socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (socket_ && wake_ >= 0 && mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) == 0) return;
  int error = errno;
  if (socket_) mnl_socket_close(socket_);
  if (wake_ >= 0) close(wake_);
  throw SystemFailure(error, "socket");
}

NetlinkEvents::~NetlinkEvents() {
  Stop();
  mnl_socket_close(socket_);
  close(wake_);
}

static void StopHook(void* events) { static_cast<NetlinkEvents*>(events)->Stop(); }

void NetlinkEvents::Start(Napi::Env env, Napi::Function on_events) {
  int fd = mnl_socket_get_fd(socket_);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(kReceiveBuffer)))
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof(kReceiveBuffer));  // as much as is allowed
  for (int group : kGroups)
    if (mnl_socket_setsockopt(socket_, NETLINK_ADD_MEMBERSHIP, const_cast<int*>(&group), sizeof(group)))
      throw SystemFailure(errno, "setsockopt");

  on_events_ = Napi::ThreadSafeFunction::New(env, on_events, "linimo netlink events", 0, 1);
  on_events_.Unref(env);
  // Hooks run last in, first out: the thread ends before the function it calls is taken away.
  env_ = env;
  napi_add_env_cleanup_hook(env_, StopHook, this);
  thread_ = std::thread(&NetlinkEvents::Run, this);
}

void NetlinkEvents::Stop() {
  if (!is_started()) return;
  eventfd_write(wake_, 1);
  thread_.join();
  queue_->is_stopped = true;
  on_events_.Release();
  napi_remove_env_cleanup_hook(env_, StopHook, this);
}

static int TakeEvent(const nlmsghdr* message, void* events) {
  if (auto event = ParseEvent(message))
    static_cast<std::vector<NetlinkEvent>*>(events)->push_back(std::move(*event));
  return MNL_CB_OK;
}

void NetlinkEvents::Read(std::vector<NetlinkEvent>& events) {
  alignas(nlmsghdr) uint8_t buffer[32768];
  for (int i = 0; i < kDatagramsAtOnce; i++) {
    ssize_t size = mnl_socket_recvfrom(socket_, buffer, sizeof(buffer));
    if (size >= 0)
      mnl_cb_run(buffer, size, 0, 0, TakeEvent, &events);
    else if (errno == EAGAIN)
      return;
    else if (errno != EINTR)  // ENOBUFS, or ENOSPC for a truncated message: something was lost
      events.push_back({false, NetlinkOverrun{}});
  }
}

// False when the JavaScript environment is going away.
bool NetlinkEvents::HandOver(std::vector<NetlinkEvent>&& events) {
  std::lock_guard lock(queue_->mutex);
  if (queue_->events.size() + events.size() > kMostEvents) {
    queue_->events.clear();
    queue_->events.push_back({false, NetlinkOverrun{}});
  } else {
    std::move(events.begin(), events.end(), std::back_inserter(queue_->events));
  }
  if (queue_->is_call_pending) return true;
  queue_->is_call_pending = true;
  return on_events_.NonBlockingCall([queue = queue_](Napi::Env env, Napi::Function call) {
    std::vector<NetlinkEvent> taken;
    {
      std::lock_guard lock(queue->mutex);
      taken.swap(queue->events);
      queue->is_call_pending = false;
    }
    if (queue->is_stopped) return;
    try {
      call.Call({ToArray(env, taken)});
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env, error.Value());  // an 'uncaughtException'; Node itself would only warn
    }
  }) == napi_ok;
}

void NetlinkEvents::Run() {
  pollfd watched[] = {{mnl_socket_get_fd(socket_), POLLIN, 0}, {wake_, POLLIN, 0}};
  for (;;) {
    if (poll(watched, 2, -1) < 0) continue;  // EINTR
    if (watched[1].revents) return;
    std::vector<NetlinkEvent> events;
    Read(events);
    if (!events.empty() && !HandOver(std::move(events))) return;
  }
}
