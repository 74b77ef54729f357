// SPDX-License-Identifier: Apache-2.0
#include "netlink.h"

#include <linux/rtnetlink.h>

#include "arguments.h"
#include "error.h"
#include "netlink_values.h"
#include "task.h"

// What can be dumped so far: links, addresses, routes, neighbours.
static constexpr uint32_t kLastDump = RTM_GETNEIGH;

Napi::Function Netlink::Define(Napi::Env env) {
  return DefineClass(env, "Netlink",
                     {
                         InstanceMethod<&Netlink::Links>("links"),
                         InstanceMethod<&Netlink::Addresses>("addresses"),
                         InstanceMethod<&Netlink::Routes>("routes"),
                         InstanceMethod<&Netlink::Neighbours>("neighbours"),
                         InstanceMethod<&Netlink::Rules>("rules"),
                         InstanceMethod<&Netlink::RouteTo>("routeTo"),
                         InstanceMethod<&Netlink::Resolve>("resolve"),
                         InstanceMethod<&Netlink::DumpMessages>("dumpMessages"),
                         InstanceMethod<&Netlink::Request>("request"),
                         InstanceMethod<&Netlink::Subscribe>("subscribe"),
                         InstanceMethod<&Netlink::Close>("close"),
                     });
}

Netlink::Netlink(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Netlink>(info) {
  try {
    socket_ = std::make_shared<NetlinkSocket>();
    events_ = std::make_unique<NetlinkEvents>();
  } catch (const SystemFailure& failure) {
    throw failure.ToError(info.Env());
  }
}

const std::shared_ptr<NetlinkSocket>& Netlink::Open(Napi::Env env, const char* call) const {
  if (!socket_) throw SystemError(env, EBADF, call, "closed");
  return socket_;
}

template <typename Row>
Napi::Value Netlink::Dump(const Napi::CallbackInfo& info, const char* call,
                          std::vector<Row> (NetlinkSocket::*dump)()) {
  return Offload(info.Env(), [&]() -> Work {
    return [socket = Open(info.Env(), call), dump]() -> Answer {
      auto rows = std::make_shared<std::vector<Row>>((*socket.*dump)());
      return [rows](Napi::Env env) { return ToArray(env, *rows); };
    };
  });
}

Napi::Value Netlink::Links(const Napi::CallbackInfo& info) {
  return Dump(info, "RTM_GETLINK", &NetlinkSocket::Links);
}

Napi::Value Netlink::Addresses(const Napi::CallbackInfo& info) {
  return Dump(info, "RTM_GETADDR", &NetlinkSocket::Addresses);
}

Napi::Value Netlink::Routes(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto socket = Open(info.Env(), "RTM_GETROUTE");
    size_t limit = info[0].IsUndefined() ? SIZE_MAX : Uint32Argument(info[0], "limit", 1, UINT32_MAX);
    return [socket, limit]() -> Answer {
      auto rows = std::make_shared<std::vector<NetlinkRoute>>(socket->Routes(limit));
      return [rows](Napi::Env env) { return ToArray(env, *rows); };
    };
  });
}

Napi::Value Netlink::Rules(const Napi::CallbackInfo& info) {
  return Dump(info, "RTM_GETRULE", &NetlinkSocket::Rules);
}

Napi::Value Netlink::Neighbours(const Napi::CallbackInfo& info) {
  return Dump(info, "RTM_GETNEIGH", &NetlinkSocket::Neighbours);
}

static ByteString AddressOf(Napi::Value value) {
  Bytes address = AddressArgument(value, "address");
  return {address.data, address.data + address.size};
}

Napi::Value Netlink::RouteTo(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto socket = Open(info.Env(), "RTM_GETROUTE");
    return [socket, address = AddressOf(info[0])]() -> Answer {
      auto route = std::make_shared<NetlinkRoute>(socket->RouteTo(address));
      return [route](Napi::Env env) { return ToObject(env, *route); };
    };
  });
}

Napi::Value Netlink::Resolve(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto socket = Open(info.Env(), "RTM_NEWNEIGH");
    return [socket, ifindex = IfindexArgument(info[0]), address = AddressOf(info[1])]() -> Answer {
      socket->Resolve(ifindex, address);
      return Nothing();
    };
  });
}

Napi::Value Netlink::DumpMessages(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto socket = Open(info.Env(), "netlink dump");
    uint16_t type = Uint32Argument(info[0], "type", RTM_BASE, kLastDump);
    int family = Uint32Argument(info[1], "family", 0, UINT8_MAX);
    return [=]() -> Answer {
      auto messages = std::make_shared<std::vector<ByteString>>(socket->DumpMessages(type, family));
      return [messages](Napi::Env env) {
        auto array = Napi::Array::New(env, messages->size());
        for (uint32_t i = 0; i < messages->size(); i++)
          array[i] = CopyOf(env, (*messages)[i].data(), (*messages)[i].size());
        return array;
      };
    };
  });
}

Napi::Value Netlink::Request(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto socket = Open(info.Env(), "netlink request");
    uint16_t type = Uint32Argument(info[0], "type", RTM_BASE, UINT16_MAX);
    uint16_t flags = Uint32Argument(info[1], "flags", 0, UINT16_MAX);
    Bytes body = BytesArgument(info[2], "body");
    return [=, copy = ByteString(body.data, body.data + body.size)]() -> Answer {
      socket->Request(type, flags, copy);
      return Nothing();
    };
  });
}

void Netlink::Subscribe(const Napi::CallbackInfo& info) {
  Open(info.Env(), "setsockopt");
  if (!info[0].IsFunction()) throw Napi::TypeError::New(info.Env(), "onEvents must be a function");
  if (events_->is_started()) throw SystemError(info.Env(), EBUSY, "setsockopt", "subscribed already");
  try {
    events_->Start(info.Env(), info[0].As<Napi::Function>());
  } catch (const SystemFailure& failure) {
    throw failure.ToError(info.Env());
  }
  Ref();  // a subscription lasts until close(), whoever still holds this object
}

void Netlink::Close(const Napi::CallbackInfo&) {
  if (events_ && events_->is_started()) Unref();
  events_.reset();
  socket_.reset();
}
