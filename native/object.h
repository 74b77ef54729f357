// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bpf/libbpf.h>
#include <napi.h>

#include <memory>

class BpfObject : public Napi::ObjectWrap<BpfObject> {
 public:
  static Napi::Function Define(Napi::Env env);

  explicit BpfObject(const Napi::CallbackInfo& info);

 private:
  // libbpf's object is not thread-safe: while a worker loads it nothing else may touch it.
  struct State {
    explicit State(bpf_object* object) : object(object) {}
    ~State() { bpf_object__close(object); }
    State(const State&) = delete;
    bpf_object* object;
    bool is_loading = false;  // the event loop's alone
  };

  bpf_object* Use(Napi::Env env, const char* call) const;
  bpf_map* FindMap(Napi::Env env, const std::string& name, const char* call) const;
  bpf_program* FindProgram(Napi::Env env, const std::string& name, const char* call) const;

  Napi::Value MapNames(const Napi::CallbackInfo& info);
  Napi::Value ProgramNames(const Napi::CallbackInfo& info);
  void SetMaxEntries(const Napi::CallbackInfo& info);
  void ReuseMap(const Napi::CallbackInfo& info);
  Napi::Value InitialValue(const Napi::CallbackInfo& info);
  void SetInitialValue(const Napi::CallbackInfo& info);
  void SetAutoload(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value Map(const Napi::CallbackInfo& info);
  Napi::Value Program(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<State> state_;
};
