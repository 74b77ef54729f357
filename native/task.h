// SPDX-License-Identifier: Apache-2.0
// Work off the event loop, answered by a promise.
#pragma once
#include <napi.h>

#include <functional>
#include <vector>

// Builds the promise's value, on the event loop.
using Answer = std::function<Napi::Value(Napi::Env)>;
// Runs on a thread of libuv's pool, may throw SystemFailure. Holds what it uses by shared_ptr, so that a
// close() or the garbage collector cannot take it away; is destroyed on that thread, so that a last close()
// may wait for the kernel.
using Work = std::function<Answer()>;

// `prepare` checks the arguments at once; what it throws rejects the promise. `keep` must not be collected
// meanwhile.
Napi::Value Offload(Napi::Env env, const std::function<Work()>& prepare,
                    const std::vector<Napi::Object>& keep = {});

// The answer of work without a result.
Answer Nothing();
