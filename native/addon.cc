// SPDX-License-Identifier: Apache-2.0
// What the addon exports, nothing else. The types are in index.d.ts.
#include <bpf/libbpf.h>
#include <napi.h>
#include <time.h>

#include "arguments.h"
#include "cgroup.h"
#include "classes.h"
#include "credentials.h"
#include "file_lock.h"
#include "libbpf_output.h"
#include "link.h"
#include "map.h"
#include "netlink.h"
#include "network_namespace.h"
#include "object.h"
#include "program.h"

// embedded_object.S
extern "C" const uint8_t linimo_object[], linimo_object_end[];
extern "C" const uint8_t linimo_decap_object[], linimo_decap_object_end[];
extern "C" const uint8_t linimo_toa_object[], linimo_toa_object_end[];

// Exports a class whose instances C++ makes too.
static Napi::FunctionReference Export(Napi::Object exports, const char* name, Napi::Function constructor) {
  exports.Set(name, constructor);
  return Napi::Persistent(constructor);
}

static double TickNs() {
  timespec resolution;
  clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
  return resolution.tv_sec * 1e9 + resolution.tv_nsec;
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  LibbpfOutput::Install();
  auto* classes = new Classes;  // freed with the environment
  env.SetInstanceData(classes);
  classes->map = Export(exports, "BpfMap", BpfMap::Define(env));
  classes->program = Export(exports, "BpfProgram", BpfProgram::Define(env));
  classes->link = Export(exports, "XdpLink", XdpLink::Define(env));
  exports.Set("BpfObject", BpfObject::Define(env));
  exports.Set("Netlink", Netlink::Define(env));
  exports.Set("embeddedObject", CopyOf(env, linimo_object, linimo_object_end - linimo_object));
  exports.Set("embeddedDecap",
              CopyOf(env, linimo_decap_object, linimo_decap_object_end - linimo_decap_object));
  exports.Set("embeddedToa", CopyOf(env, linimo_toa_object, linimo_toa_object_end - linimo_toa_object));
  exports.Set("possibleCpus", Napi::Number::New(env, libbpf_num_possible_cpus()));
  exports.Set("tickNs", Napi::Number::New(env, TickNs()));
  exports.Set("queryXdp", Napi::Function::New(env, QueryXdp, "queryXdp"));
  exports.Set("attachXdp", Napi::Function::New(env, AttachXdp, "attachXdp"));
  exports.Set("detachXdp", Napi::Function::New(env, DetachXdp, "detachXdp"));
  exports.Set("queryCgroup", Napi::Function::New(env, QueryCgroup, "queryCgroup"));
  exports.Set("attachCgroup", Napi::Function::New(env, AttachCgroup, "attachCgroup"));
  exports.Set("detachCgroup", Napi::Function::New(env, DetachCgroup, "detachCgroup"));
  exports.Set("networkNamespace", Napi::Function::New(env, NetworkNamespace, "networkNamespace"));
  exports.Set("tryLock", Napi::Function::New(env, TryLock, "tryLock"));
  exports.Set("peerCredentials", Napi::Function::New(env, PeerCredentials, "peerCredentials"));
  return exports;
}

NODE_API_MODULE(linimo, Init)
