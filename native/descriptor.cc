// SPDX-License-Identifier: Apache-2.0
#include "descriptor.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fstream>

#include "arguments.h"
#include "error.h"

Descriptor::~Descriptor() { close(fd_); }

// By what /proc tells of the descriptor; there is no system call for it.
static bool IsKind(int fd, Descriptor::Kind kind) {
  std::ifstream lines("/proc/self/fdinfo/" + std::to_string(fd));
  bool is_map = false, is_program = false, is_link = false;
  for (std::string line; std::getline(lines, line);) {
    is_map |= line.rfind("map_id:", 0) == 0;
    is_link |= line.rfind("link_id:", 0) == 0;
    is_program |= line.rfind("prog_id:", 0) == 0;  // a link has one too
  }
  return kind == Descriptor::kMap ? is_map : kind == Descriptor::kLink ? is_link : is_program && !is_link;
}

void Descriptor::Expect(Napi::Env env, Kind kind, const char* syscall) const {
  if (!IsKind(fd_, kind)) throw SystemError(env, EINVAL, syscall, "the descriptor is of another kind");
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
