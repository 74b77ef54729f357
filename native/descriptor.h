// SPDX-License-Identifier: Apache-2.0
// A file descriptor of a BPF map, program or link, shared by the JavaScript object and the tasks that use it.
#pragma once
#include <napi.h>

#include <memory>
#include <string>

class Descriptor {
 public:
  enum Kind { kMap, kProgram, kLink };

  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }
  // EINVAL when it is of another kind.
  void Expect(Napi::Env env, Kind kind, const char* syscall) const;

  // bpf_obj_get; EINVAL when the pin is of another kind.
  static std::shared_ptr<Descriptor> OpenPinned(Napi::Env env, const std::string& path, Kind kind);
  // A descriptor of its own for one that libbpf owns.
  static std::shared_ptr<Descriptor> Duplicate(Napi::Env env, int fd);

 private:
  int fd_;
};

// The part that maps, programs and links have in common: open until close().
class Holder {
 public:
  // Throws EBADF after close(), in the name of the call that was to be made.
  const std::shared_ptr<Descriptor>& Open(Napi::Env env, const char* syscall) const;

 protected:
  void PinAt(Napi::Env env, Napi::Value path) const;
  void UnpinAt(Napi::Env env, Napi::Value path) const;

  std::shared_ptr<Descriptor> descriptor_;
};
