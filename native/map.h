// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <linux/bpf.h>
#include <napi.h>

#include "descriptor.h"

class BpfMap : public Napi::ObjectWrap<BpfMap>, public Holder {
 public:
  static constexpr napi_type_tag kTag = {0x4c696e696d6f0001, 0x6d61700000000001};
  static Napi::Function Define(Napi::Env env);
  static Napi::Object New(Napi::Env env, std::shared_ptr<Descriptor> descriptor);

  explicit BpfMap(const Napi::CallbackInfo& info);

  const bpf_map_info& kernel_info() const { return info_; }
  // Bytes of one value in lookups and updates.
  size_t lookup_size() const { return lookup_size_; }

 private:
  static Napi::Value OpenPinned(const Napi::CallbackInfo& info);
  static Napi::Value OpenById(const Napi::CallbackInfo& info);
  static Napi::Value FromFd(const Napi::CallbackInfo& info);
  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value Info(const Napi::CallbackInfo& info);
  Napi::Value LookupSize(const Napi::CallbackInfo& info);
  Napi::Value Lookup(const Napi::CallbackInfo& info);
  void Update(const Napi::CallbackInfo& info);
  void Delete(const Napi::CallbackInfo& info);
  Napi::Value NextKey(const Napi::CallbackInfo& info);
  Napi::Value LookupBatch(const Napi::CallbackInfo& info);
  Napi::Value UpdateBatch(const Napi::CallbackInfo& info);
  Napi::Value Mmap(const Napi::CallbackInfo& info);
  void Pin(const Napi::CallbackInfo& info);
  void Unpin(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  bpf_map_info info_ = {};
  size_t lookup_size_;
};
