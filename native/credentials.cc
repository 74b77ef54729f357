// SPDX-License-Identifier: Apache-2.0
#include "credentials.h"

#include <sys/socket.h>

#include "arguments.h"
#include "error.h"

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  int fd = Uint32Argument(info[0], "fd", 0, INT32_MAX);
  int domain;
  ucred peer;
  socklen_t domain_size = sizeof(domain), peer_size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) ||
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size))
    throw SystemError(info.Env(), errno, "getsockopt");
  // Other families answer too, with nobody.
  if (domain != AF_UNIX) throw SystemError(info.Env(), EINVAL, "getsockopt", "not a unix socket");
  if (peer.pid == 0) throw SystemError(info.Env(), ENOTCONN, "getsockopt");

  auto result = Napi::Object::New(info.Env());
  result["pid"] = peer.pid;
  result["uid"] = peer.uid;
  result["gid"] = peer.gid;
  return result;
}
