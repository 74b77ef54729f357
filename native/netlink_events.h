// SPDX-License-Identifier: Apache-2.0
// rtnetlink's notifications, read by a thread of its own and handed to JavaScript in batches.
#pragma once
#include <libmnl/libmnl.h>
#include <napi.h>

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "rtnetlink.h"

class NetlinkEvents {
 public:
  // Opens the socket, in the network namespace of the calling thread. Throws SystemFailure.
  NetlinkEvents();
  ~NetlinkEvents();
  NetlinkEvents(const NetlinkEvents&) = delete;

  bool is_started() const { return thread_.joinable(); }
  // Does not keep the process alive. Throws SystemFailure.
  void Start(Napi::Env env, Napi::Function on_events);
  // No call of `on_events` follows. Waits for the thread: microseconds. On the event loop only.
  void Stop();

 private:
  // What was read and not yet handed over; outlives this object while a call is on its way.
  struct Queue {
    std::mutex mutex;
    std::vector<NetlinkEvent> events;
    bool is_call_pending = false;
    bool is_stopped = false;
  };

  void Run();
  void Read(std::vector<NetlinkEvent>& events);
  bool HandOver(std::vector<NetlinkEvent>&& events);

  mnl_socket* socket_;
  int wake_;  // eventfd: stop
  napi_env env_ = nullptr;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
  Napi::ThreadSafeFunction on_events_;
  std::thread thread_;
};
