// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "classes.h"
#include "error.h"
#include "program.h"
#include "task.h"

static constexpr uint32_t kMostPrograms = 64;  // the kernel's BPF_CGROUP_MAX_PROGS

static bpf_attach_type HookArgument(Napi::Value value) {
  std::string hook = StringArgument(value, "hook");
  if (hook == "sockops") return BPF_CGROUP_SOCK_OPS;
  if (hook == "getpeername4") return BPF_CGROUP_INET4_GETPEERNAME;
  if (hook == "getpeername6") return BPF_CGROUP_INET6_GETPEERNAME;
  throw Napi::RangeError::New(value.Env(),
                              "hook must be 'sockops', 'getpeername4' or 'getpeername6', not '" + hook + "'");
}

static std::shared_ptr<Descriptor> OpenCgroup(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw SystemFailure(errno, "open", path);
  return std::make_shared<Descriptor>(fd);
}

Napi::Value AttachCgroup(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    static constexpr char kCall[] = "bpf_prog_attach";
    auto program = InstanceArgument<BpfProgram>(info[0], "program", "BpfProgram")->Open(info.Env(), kCall);
    std::string path = StringArgument(info[1], "path");
    bpf_attach_type hook = HookArgument(info[2]);
    std::shared_ptr<Descriptor> replaced;
    if (!info[3].IsUndefined())
      replaced = InstanceArgument<BpfProgram>(info[3], "replaced", "BpfProgram")->Open(info.Env(), kCall);
    return [=]() -> Answer {
      LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
      if (replaced) {
        options.flags |= BPF_F_REPLACE;
        options.replace_prog_fd = replaced->fd();
      }
      int err = bpf_prog_attach_opts(program->fd(), OpenCgroup(path)->fd(), hook, &options);
      if (err) throw SystemFailure(err, kCall, path);
      return Nothing();
    };
  });
}

Napi::Value DetachCgroup(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    static constexpr char kCall[] = "bpf_prog_detach2";
    std::string path = StringArgument(info[0], "path");
    bpf_attach_type hook = HookArgument(info[1]);
    auto program = InstanceArgument<BpfProgram>(info[2], "program", "BpfProgram")->Open(info.Env(), kCall);
    return [=]() -> Answer {
      int err = bpf_prog_detach2(program->fd(), OpenCgroup(path)->fd(), hook);
      if (err) throw SystemFailure(err, kCall, path);
      return Nothing();
    };
  });
}

Napi::Value QueryCgroup(const Napi::CallbackInfo& info) {
  std::string path = StringArgument(info[0], "path");
  bpf_attach_type hook = HookArgument(info[1]);
  std::vector<uint32_t> ids(kMostPrograms);
  uint32_t count = ids.size();
  try {
    int err = bpf_prog_query(OpenCgroup(path)->fd(), hook, 0, nullptr, ids.data(), &count);
    if (err) throw SystemFailure(err, "bpf_prog_query", path);
  } catch (const SystemFailure& failure) {
    throw failure.ToError(info.Env());
  }
  auto result = Napi::Array::New(info.Env(), count);
  for (uint32_t i = 0; i < count; i++) result[i] = ids[i];
  return result;
}
