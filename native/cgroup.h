// SPDX-License-Identifier: Apache-2.0
// Programs on a cgroup (v2), attached without a link: they stay until they are detached or the cgroup goes.
#pragma once
#include <napi.h>

// attachCgroup(program, path, hook, replaced?): Promise<void>
Napi::Value AttachCgroup(const Napi::CallbackInfo& info);

// detachCgroup(path, hook, program): Promise<void>
Napi::Value DetachCgroup(const Napi::CallbackInfo& info);

// queryCgroup(path, hook): ids
Napi::Value QueryCgroup(const Napi::CallbackInfo& info);
