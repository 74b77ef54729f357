// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

#include "descriptor.h"

class XdpLink : public Napi::ObjectWrap<XdpLink>, public Holder {
 public:
  static constexpr napi_type_tag kTag = {0x4c696e696d6f0001, 0x6c696e6b00000001};
  static Napi::Function Define(Napi::Env env);
  static Napi::Object New(Napi::Env env, std::shared_ptr<Descriptor> descriptor);

  explicit XdpLink(const Napi::CallbackInfo& info);

 private:
  static Napi::Value Attach(const Napi::CallbackInfo& info);
  static Napi::Value OpenPinned(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value Update(const Napi::CallbackInfo& info);
  Napi::Value Detach(const Napi::CallbackInfo& info);
  void Pin(const Napi::CallbackInfo& info);
  void Unpin(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
};

// queryXdp(ifindex): { programId, mode }
Napi::Value QueryXdp(const Napi::CallbackInfo& info);

// attachXdp(program, ifindex, mode, expected?): Promise<void>
Napi::Value AttachXdp(const Napi::CallbackInfo& info);

// detachXdp(ifindex, mode, expected): Promise<void>
Napi::Value DetachXdp(const Napi::CallbackInfo& info);
