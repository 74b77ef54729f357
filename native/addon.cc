// SPDX-License-Identifier: Apache-2.0
// What the addon exports, nothing else. The types are in index.d.ts.
#include <napi.h>

extern "C" const uint8_t linimo_object[], linimo_object_end[];

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  size_t size = linimo_object_end - linimo_object;
  exports.Set("embeddedObject", Napi::Buffer<uint8_t>::Copy(env, linimo_object, size));
  return exports;
}

NODE_API_MODULE(linimo, Init)
