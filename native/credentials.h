// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

// peerCredentials(fd): { pid, uid, gid }
Napi::Value PeerCredentials(const Napi::CallbackInfo& info);
