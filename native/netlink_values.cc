// SPDX-License-Identifier: Apache-2.0
#include "netlink_values.h"

#include <sys/socket.h>

#include "arguments.h"

static Napi::Value OrNull(Napi::Env env, const ByteString& bytes) {
  return bytes.empty() ? env.Null() : CopyOf(env, bytes.data(), bytes.size()).As<Napi::Value>();
}

static Napi::Value OrNull(Napi::Env env, const std::string& text) {
  return text.empty() ? env.Null() : Napi::String::New(env, text).As<Napi::Value>();
}

static Napi::Object ToObject(Napi::Env env, const NetlinkNextHop& next_hop) {
  auto object = Napi::Object::New(env);
  object["ifindex"] = next_hop.ifindex;
  object["gateway"] = OrNull(env, next_hop.gateway);
  object["weight"] = next_hop.weight;
  object["flags"] = next_hop.flags;
  object["isEncapsulated"] = next_hop.is_encapsulated;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkLink& link) {
  auto object = Napi::Object::New(env);
  object["ifindex"] = link.ifindex;
  object["name"] = link.name;
  object["lower"] = link.lower ? Napi::Number::New(env, link.lower).As<Napi::Value>() : env.Null();
  object["kind"] = OrNull(env, link.kind);
  object["mac"] = OrNull(env, link.mac);
  object["mtu"] = link.mtu;
  object["flags"] = link.flags;
  object["type"] = link.type;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkAddress& address) {
  auto object = Napi::Object::New(env);
  object["ifindex"] = address.ifindex;
  object["address"] = CopyOf(env, address.address.data(), address.address.size());
  object["prefixLength"] = address.prefix_length;
  object["scope"] = address.scope;
  object["flags"] = address.flags;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkRoute& route) {
  auto next_hops = Napi::Array::New(env, route.next_hops.size());
  for (size_t i = 0; i < route.next_hops.size(); i++) next_hops.Set(i, ToObject(env, route.next_hops[i]));
  auto object = Napi::Object::New(env);
  object["destination"] = CopyOf(env, route.destination.data(), route.destination.size());
  object["prefixLength"] = route.prefix_length;
  object["table"] = route.table;
  object["type"] = route.type;
  object["priority"] = route.priority;
  object["mtu"] = route.mtu ? Napi::Number::New(env, route.mtu).As<Napi::Value>() : env.Null();
  object["source"] = OrNull(env, route.source);
  object["tos"] = route.tos;
  object["sourceLength"] = route.source_length;
  object["nextHops"] = next_hops;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkRule& rule) {
  auto object = Napi::Object::New(env);
  object["family"] = rule.family == AF_INET ? 4 : 6;
  object["priority"] = rule.priority;
  object["table"] = rule.table;
  object["action"] = rule.action;
  object["isSelective"] = rule.is_selective;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkNeighbour& neighbour) {
  auto object = Napi::Object::New(env);
  object["ifindex"] = neighbour.ifindex;
  object["address"] = CopyOf(env, neighbour.address.data(), neighbour.address.size());
  object["mac"] = OrNull(env, neighbour.mac);
  object["state"] = neighbour.state;
  return object;
}

Napi::Object ToObject(Napi::Env env, const NetlinkEvent& event) {
  static constexpr const char* kKinds[] = {"overrun", "link", "address", "route", "neighbour", "rule"};
  const char* kind = kKinds[event.what.index()];
  auto object = Napi::Object::New(env);
  object["kind"] = kind;
  std::visit(
      [&](const auto& value) {
        using Value = std::decay_t<decltype(value)>;
        if constexpr (!std::is_same_v<Value, NetlinkOverrun>)
          object["change"] = event.is_delete ? "delete" : "new";
        if constexpr (!std::is_same_v<Value, NetlinkOverrun> && !std::is_same_v<Value, NetlinkRule>)
          object[kind] = ToObject(env, value);
      },
      event.what);
  return object;
}
