// SPDX-License-Identifier: Apache-2.0
#include "network_namespace.h"

#include <sys/socket.h>
#include <unistd.h>

#include "error.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

Napi::Value NetworkNamespace(const Napi::CallbackInfo& info) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw SystemError(info.Env(), errno, "socket");
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  int error = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) ? errno : 0;
  close(fd);
  if (error) throw SystemError(info.Env(), error, "getsockopt");
  return Napi::String::New(info.Env(), std::to_string(cookie));
}
