// SPDX-License-Identifier: Apache-2.0
#include "descriptor.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>

#include "arguments.h"
#include "error.h"

Descriptor::~Descriptor() { close(fd_); }

// What /proc calls the descriptor; the kernel has no other way to tell.
static bool IsKind(int fd, Descriptor::Kind kind) {
  static const char* const names[] = {"bpf-map", "bpf-prog", "bpf_link"};
  char target[64] = {};
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (readlink(path.c_str(), target, sizeof(target) - 1) < 0) return false;
  return strstr(target, names[kind]) != nullptr;
}

std::shared_ptr<Descriptor> Descriptor::OpenPinned(Napi::Env env, const std::string& path, Kind kind) {
  int fd = bpf_obj_get(path.c_str());
  if (fd < 0) throw SystemError(env, fd, "bpf_obj_get", path);
  auto descriptor = std::make_shared<Descriptor>(fd);
  if (!IsKind(fd, kind)) throw SystemError(env, EINVAL, "bpf_obj_get", path + " is a pin of another kind");
  return descriptor;
}

std::shared_ptr<Descriptor> Descriptor::Duplicate(Napi::Env env, int fd) {
  int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) throw SystemError(env, errno, "fcntl");
  return std::make_shared<Descriptor>(own);
}

const std::shared_ptr<Descriptor>& Holder::Open(Napi::Env env, const char* syscall) const {
  if (!descriptor_) throw SystemError(env, EBADF, syscall, "closed");
  return descriptor_;
}

void Holder::PinAt(Napi::Env env, Napi::Value path) const {
  std::string where = StringArgument(path, "path");
  int err = bpf_obj_pin(Open(env, "bpf_obj_pin")->fd(), where.c_str());
  if (err) throw SystemError(env, err, "bpf_obj_pin", where);
}

void Holder::UnpinAt(Napi::Env env, Napi::Value path) const {
  std::string where = StringArgument(path, "path");
  Open(env, "unlink");
  struct statfs fs;
  if (statfs(where.c_str(), &fs)) throw SystemError(env, errno, "statfs", where);
  if (fs.f_type != BPF_FS_MAGIC) throw SystemError(env, EINVAL, "unlink", where + " is not on bpffs");
  if (unlink(where.c_str())) throw SystemError(env, errno, "unlink", where);
}
