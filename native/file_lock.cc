// SPDX-License-Identifier: Apache-2.0
#include "file_lock.h"

#include <sys/file.h>

#include "arguments.h"
#include "error.h"

Napi::Value TryLock(const Napi::CallbackInfo& info) {
  int fd = Uint32Argument(info[0], "fd", 0, INT32_MAX);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(info.Env(), true);
  if (errno != EWOULDBLOCK) throw SystemError(info.Env(), errno, "flock");
  return Napi::Boolean::New(info.Env(), false);
}
