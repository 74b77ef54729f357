// SPDX-License-Identifier: Apache-2.0
#include "task.h"

#include <optional>

#include "error.h"

namespace {

class Task : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, Napi::Promise::Deferred deferred, Work work, const std::vector<Napi::Object>& keep)
      : Napi::AsyncWorker(env, "linimo"), deferred_(deferred), work_(std::move(work)) {
    for (const Napi::Object& object : keep) kept_.push_back(Napi::Persistent(object));
  }

  void Execute() override {
    try {
      answer_ = work_();
    } catch (const SystemFailure& failure) {
      failure_ = failure;
    } catch (const std::exception& error) {
      SetError(error.what());
    }
    work_ = nullptr;
  }

  void OnOK() override {
    try {
      if (failure_)
        deferred_.Reject(failure_->ToError(Env()).Value());
      else
        deferred_.Resolve(answer_(Env()));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Answer answer_;
  std::optional<SystemFailure> failure_;
  std::vector<Napi::ObjectReference> kept_;
};

}  // namespace

Napi::Value Offload(Napi::Env env, const std::function<Work()>& prepare,
                    const std::vector<Napi::Object>& keep) {
  auto deferred = Napi::Promise::Deferred::New(env);
  try {
    (new Task(env, deferred, prepare(), keep))->Queue();  // deletes itself when done
  } catch (const Napi::Error& error) {
    deferred.Reject(error.Value());
  }
  return deferred.Promise();
}

Answer Nothing() {
  return [](Napi::Env env) { return env.Undefined(); };
}
