// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

#include <memory>

#include "netlink_events.h"
#include "netlink_socket.h"

class Netlink : public Napi::ObjectWrap<Netlink> {
 public:
  static Napi::Function Define(Napi::Env env);

  explicit Netlink(const Napi::CallbackInfo& info);

 private:
  const std::shared_ptr<NetlinkSocket>& Open(Napi::Env env, const char* call) const;
  template <typename Row>
  Napi::Value Dump(const Napi::CallbackInfo& info, const char* call,
                   std::vector<Row> (NetlinkSocket::*dump)());

  Napi::Value Links(const Napi::CallbackInfo& info);
  Napi::Value Addresses(const Napi::CallbackInfo& info);
  Napi::Value Routes(const Napi::CallbackInfo& info);
  Napi::Value Neighbours(const Napi::CallbackInfo& info);
  Napi::Value Rules(const Napi::CallbackInfo& info);
  Napi::Value RouteTo(const Napi::CallbackInfo& info);
  Napi::Value Resolve(const Napi::CallbackInfo& info);
  Napi::Value DumpMessages(const Napi::CallbackInfo& info);
  Napi::Value Request(const Napi::CallbackInfo& info);
  void Subscribe(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<NetlinkSocket> socket_;
  std::unique_ptr<NetlinkEvents> events_;
};
