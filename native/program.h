// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

#include "descriptor.h"

class BpfProgram : public Napi::ObjectWrap<BpfProgram>, public Holder {
 public:
  static constexpr napi_type_tag kTag = {0x4c696e696d6f0001, 0x70726f6700000001};
  static Napi::Function Define(Napi::Env env);
  static Napi::Object New(Napi::Env env, std::shared_ptr<Descriptor> descriptor);

  explicit BpfProgram(const Napi::CallbackInfo& info);

 private:
  static Napi::Value OpenPinned(const Napi::CallbackInfo& info);
  static Napi::Value OpenById(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value MapIds(const Napi::CallbackInfo& info);
  Napi::Value TestRun(const Napi::CallbackInfo& info);
  Napi::Value TestRunSync(const Napi::CallbackInfo& info);
  void Pin(const Napi::CallbackInfo& info);
  void Unpin(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
};
