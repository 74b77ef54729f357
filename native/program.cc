// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <vector>

#include "arguments.h"
#include "classes.h"
#include "error.h"
#include "task.h"
#include "test_run.h"

Napi::Function BpfProgram::Define(Napi::Env env) {
  return DefineClass(env, "BpfProgram",
                     {
                         StaticMethod<&BpfProgram::OpenPinned>("openPinned"),
                         StaticMethod<&BpfProgram::OpenById>("openById"),
                         InstanceAccessor<&BpfProgram::Info>("info"),
                         InstanceAccessor<&BpfProgram::MapIds>("mapIds"),
                         InstanceMethod<&BpfProgram::TestRun>("testRun"),
                         InstanceMethod<&BpfProgram::TestRunSync>("testRunSync"),
                         InstanceMethod<&BpfProgram::Pin>("pin"),
                         InstanceMethod<&BpfProgram::Unpin>("unpin"),
                         InstanceMethod<&BpfProgram::Close>("close"),
                     });
}

Napi::Object BpfProgram::New(Napi::Env env, std::shared_ptr<Descriptor> descriptor) {
  return Adopt(env, Classes::Of(env).program, std::move(descriptor));
}

BpfProgram::BpfProgram(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfProgram>(info) {
  descriptor_ = TakeAdopted(info.Env());
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

Napi::Value BpfProgram::OpenPinned(const Napi::CallbackInfo& info) {
  return New(info.Env(),
             Descriptor::OpenPinned(info.Env(), StringArgument(info[0], "path"), Descriptor::kProgram));
}

Napi::Value BpfProgram::OpenById(const Napi::CallbackInfo& info) {
  int fd = bpf_prog_get_fd_by_id(Uint32Argument(info[0], "id"));
  if (fd < 0) throw SystemError(info.Env(), fd, "bpf_prog_get_fd_by_id");
  return New(info.Env(), std::make_shared<Descriptor>(fd));
}

Napi::Value BpfProgram::MapIds(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_obj_get_info_by_fd")->fd();
  std::vector<uint32_t> ids(64);  // the most that a program may use: MAX_USED_MAPS
  bpf_prog_info program = {};
  uint32_t size = sizeof(program);
  program.nr_map_ids = ids.size();
  program.map_ids = reinterpret_cast<uintptr_t>(ids.data());
  int err = bpf_obj_get_info_by_fd(fd, &program, &size);
  if (err) throw SystemError(info.Env(), err, "bpf_obj_get_info_by_fd");
  ids.resize(std::min<size_t>(ids.size(), program.nr_map_ids));
  auto result = Napi::Array::New(info.Env(), ids.size());
  for (size_t i = 0; i < ids.size(); i++) result[i] = ids[i];
  return result;
}

Napi::Value BpfProgram::Info(const Napi::CallbackInfo& info) {
  bpf_prog_info program = {};
  uint32_t size = sizeof(program);
  int err = bpf_obj_get_info_by_fd(Open(info.Env(), "bpf_obj_get_info_by_fd")->fd(), &program, &size);
  if (err) throw SystemError(info.Env(), err, "bpf_obj_get_info_by_fd");

  std::string tag;
  for (uint8_t byte : program.tag)
    for (uint8_t digit : {byte >> 4, byte & 15}) tag += "0123456789abcdef"[digit];
  auto result = Napi::Object::New(info.Env());
  result["name"] = std::string(program.name);
  result["type"] = program.type;
  result["id"] = program.id;
  result["tag"] = tag;
  result["xlatedSize"] = program.xlated_prog_len;
  result["jitedSize"] = program.jited_prog_len;
  result["verifiedInstructions"] = program.verified_insns;
  return result;
}

Napi::Value BpfProgram::TestRun(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto descriptor = Open(info.Env(), "bpf_prog_test_run_opts");
    return [descriptor, request = TestRequestArgument(info[0])]() -> Answer {
      auto result = std::make_shared<TestResult>(RunTest(descriptor->fd(), request));
      return [result](Napi::Env env) { return result->ToObject(env); };
    };
  });
}

Napi::Value BpfProgram::TestRunSync(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_prog_test_run_opts")->fd();
  try {
    return RunTest(fd, TestRequestArgument(info[0])).ToObject(info.Env());
  } catch (const SystemFailure& failure) {
    throw failure.ToError(info.Env());
  }
}

void BpfProgram::Pin(const Napi::CallbackInfo& info) { PinAt(info.Env(), info[0]); }
void BpfProgram::Unpin(const Napi::CallbackInfo& info) { UnpinAt(info.Env(), info[0]); }
void BpfProgram::Close(const Napi::CallbackInfo&) { descriptor_.reset(); }
