// SPDX-License-Identifier: Apache-2.0
// rtnetlink's values as index.d.ts describes them.
#pragma once
#include <napi.h>

#include "rtnetlink.h"

Napi::Object ToObject(Napi::Env env, const NetlinkLink& link);
Napi::Object ToObject(Napi::Env env, const NetlinkAddress& address);
Napi::Object ToObject(Napi::Env env, const NetlinkRoute& route);
Napi::Object ToObject(Napi::Env env, const NetlinkNeighbour& neighbour);
Napi::Object ToObject(Napi::Env env, const NetlinkRule& rule);
Napi::Object ToObject(Napi::Env env, const NetlinkEvent& event);

template <typename Row>
Napi::Array ToArray(Napi::Env env, const std::vector<Row>& rows) {
  auto array = Napi::Array::New(env, rows.size());
  for (size_t i = 0; i < rows.size(); i++) {
    Napi::HandleScope scope(env);
    array.Set(i, ToObject(env, rows[i]));
  }
  return array;
}
