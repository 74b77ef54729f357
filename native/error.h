// SPDX-License-Identifier: Apache-2.0
// Failures of the kernel and of libbpf, as Node's own system errors look: { code, errno, syscall }.
#pragma once
#include <napi.h>

#include <exception>
#include <string>

// A failure that can be thrown on any thread; becomes a JavaScript error on the event loop's.
struct SystemFailure : std::exception {
  SystemFailure(int error, const char* syscall, std::string detail = "", std::string log = "");
  Napi::Error ToError(Napi::Env env) const;
  const char* what() const noexcept override { return message.c_str(); }

  int error;  // positive errno
  const char* syscall;
  std::string message;
  std::string log;  // the verifier's last lines; empty: none
};

// The same on the event loop's thread. `error` may have either sign.
Napi::Error SystemError(Napi::Env env, int error, const char* syscall, const std::string& detail = "");

// 'EEXIST' for 17; 'UNKNOWN' for a number without a name.
const char* ErrorName(int error);
