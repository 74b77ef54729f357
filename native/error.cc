// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <bpf/libbpf.h>
#include <string.h>

#include <cstdlib>

// Kernel-internal, but reaches user space from BPF's system calls; no libc knows it.
static constexpr int kNotSupported = 524;  // ENOTSUPP

const char* ErrorName(int error) {
  if (error == kNotSupported) return "ENOTSUPP";
  if (error == EOPNOTSUPP) return "EOPNOTSUPP";  // not its other name, ENOTSUP
  const char* name = strerrorname_np(error);
  return name ? name : "UNKNOWN";
}

static std::string Describe(int error) {
  if (error == kNotSupported) return "Operation not supported by the kernel";
  const char* text = strerrordesc_np(error);
  return text ? text : "Unknown error " + std::to_string(error);
}

SystemFailure::SystemFailure(int error, const char* syscall, std::string detail, std::string log)
    : error(std::abs(error)), syscall(syscall), log(std::move(log)) {
  if (this->error >= __LIBBPF_ERRNO__START)
    this->error = EINVAL;  // libbpf's own: the ELF file is none, or a bad one
  message = std::string(syscall) + ": " + Describe(this->error);
  if (!detail.empty()) message += " (" + detail + ")";
}

Napi::Error SystemFailure::ToError(Napi::Env env) const {
  Napi::Error result = Napi::Error::New(env, message);
  result.Set("code", Napi::String::New(env, ErrorName(error)));
  result.Set("errno", Napi::Number::New(env, error));
  result.Set("syscall", Napi::String::New(env, syscall));
  if (!log.empty()) result.Set("log", Napi::String::New(env, log));
  return result;
}

Napi::Error SystemError(Napi::Env env, int error, const char* syscall, const std::string& detail) {
  return SystemFailure(error, syscall, detail).ToError(env);
}
