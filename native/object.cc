// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <linux/bpf.h>

#include "arguments.h"
#include "classes.h"
#include "error.h"
#include "libbpf_output.h"
#include "map.h"
#include "program.h"
#include "task.h"

// Prefix of the names of the data sections' maps ('linimo.rodata').
static constexpr char kObjectName[] = "linimo";

Napi::Function BpfObject::Define(Napi::Env env) {
  return DefineClass(env, "BpfObject",
                     {
                         InstanceAccessor<&BpfObject::MapNames>("mapNames"),
                         InstanceAccessor<&BpfObject::ProgramNames>("programNames"),
                         InstanceMethod<&BpfObject::SetMaxEntries>("setMaxEntries"),
                         InstanceMethod<&BpfObject::ReuseMap>("reuseMap"),
                         InstanceMethod<&BpfObject::InitialValue>("initialValue"),
                         InstanceMethod<&BpfObject::SetInitialValue>("setInitialValue"),
                         InstanceMethod<&BpfObject::SetAutoload>("setAutoload"),
                         InstanceMethod<&BpfObject::Load>("load"),
                         InstanceMethod<&BpfObject::Map>("map"),
                         InstanceMethod<&BpfObject::Program>("program"),
                         InstanceMethod<&BpfObject::Close>("close"),
                     });
}

BpfObject::BpfObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfObject>(info) {
  Bytes elf = BytesArgument(info[0], "elf");
  LibbpfOutput output;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = kObjectName);
  bpf_object* object = bpf_object__open_mem(elf.data, elf.size, &options);
  if (!object) throw SystemError(info.Env(), errno, "bpf_object__open_mem", output.Messages());
  state_ = std::make_shared<State>(object);
}

bpf_object* BpfObject::Use(Napi::Env env, const char* call) const {
  if (!state_) throw SystemError(env, EBADF, call, "closed");
  if (state_->is_loading) throw SystemError(env, EBUSY, call, "the object is being loaded");
  return state_->object;
}

// Finds data sections by their section's name too ('.rodata').
bpf_map* BpfObject::FindMap(Napi::Env env, const std::string& name, const char* call) const {
  bpf_map* map = bpf_object__find_map_by_name(Use(env, call), name.c_str());
  if (!map) throw SystemError(env, ENOENT, call, "no map '" + name + "'");
  return map;
}

bpf_program* BpfObject::FindProgram(Napi::Env env, const std::string& name, const char* call) const {
  bpf_program* program = bpf_object__find_program_by_name(Use(env, call), name.c_str());
  if (!program) throw SystemError(env, ENOENT, call, "no program '" + name + "'");
  return program;
}

Napi::Value BpfObject::MapNames(const Napi::CallbackInfo& info) {
  bpf_object* object = Use(info.Env(), "bpf_object__next_map");
  auto names = Napi::Array::New(info.Env());
  bpf_map* map;
  bpf_object__for_each_map(map, object) names[names.Length()] = std::string(bpf_map__name(map));
  return names;
}

Napi::Value BpfObject::ProgramNames(const Napi::CallbackInfo& info) {
  bpf_object* object = Use(info.Env(), "bpf_object__next_program");
  auto names = Napi::Array::New(info.Env());
  bpf_program* program;
  bpf_object__for_each_program(program, object) names[names.Length()] =
      std::string(bpf_program__name(program));
  return names;
}

void BpfObject::SetMaxEntries(const Napi::CallbackInfo& info) {
  auto* map = FindMap(info.Env(), StringArgument(info[0], "map"), "bpf_map__set_max_entries");
  int err = bpf_map__set_max_entries(map, Uint32Argument(info[1], "entries", 1));
  if (err) throw SystemError(info.Env(), err, "bpf_map__set_max_entries");
}

void BpfObject::ReuseMap(const Napi::CallbackInfo& info) {
  static constexpr char kCall[] = "bpf_map__reuse_fd";
  std::string name = StringArgument(info[0], "map");
  auto* map = FindMap(info.Env(), name, kCall);
  auto* present = InstanceArgument<BpfMap>(info[1], "present", "BpfMap");
  int fd = present->Open(info.Env(), kCall)->fd();
  const bpf_map_info& is = present->kernel_info();
  // libbpf takes over whatever it is given, and the verifier would then see other sizes than the compiler.
  if (is.type != bpf_map__type(map) || is.key_size != bpf_map__key_size(map) ||
      is.value_size != bpf_map__value_size(map))
    throw SystemError(info.Env(), EINVAL, kCall, "type, key or value of '" + name + "' differ");
  int err = bpf_map__reuse_fd(map, fd);
  if (err) throw SystemError(info.Env(), err, kCall);
}

Napi::Value BpfObject::InitialValue(const Napi::CallbackInfo& info) {
  static constexpr char kCall[] = "bpf_map__initial_value";
  size_t size = 0;
  const void* value =
      bpf_map__initial_value(FindMap(info.Env(), StringArgument(info[0], "section"), kCall), &size);
  if (!value) throw SystemError(info.Env(), EINVAL, kCall, "not a data section");
  return CopyOf(info.Env(), value, size);
}

void BpfObject::SetInitialValue(const Napi::CallbackInfo& info) {
  static constexpr char kCall[] = "bpf_map__set_initial_value";
  auto* map = FindMap(info.Env(), StringArgument(info[0], "section"), kCall);
  size_t size = 0;
  if (!bpf_map__initial_value(map, &size)) throw SystemError(info.Env(), EINVAL, kCall, "not a data section");
  int err = bpf_map__set_initial_value(map, ExactBytes(info[1], size, "bytes"), size);
  if (err) throw SystemError(info.Env(), err, kCall);
}

void BpfObject::SetAutoload(const Napi::CallbackInfo& info) {
  auto* program = FindProgram(info.Env(), StringArgument(info[0], "program"), "bpf_program__set_autoload");
  int err = bpf_program__set_autoload(program, BooleanArgument(info[1], "load"));
  if (err) throw SystemError(info.Env(), err, "bpf_program__set_autoload");
}

Napi::Value BpfObject::Load(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    Use(info.Env(), "bpf_object__load");
    state_->is_loading = true;
    return [state = state_]() -> Answer {
      LibbpfOutput output;
      int err = bpf_object__load(state->object);
      SystemFailure failure(err, "bpf_object__load", output.Messages(), output.VerifierLog());
      return [=](Napi::Env env) {
        state->is_loading = false;
        if (err) throw failure.ToError(env);
        return env.Undefined();
      };
    };
  });
}

Napi::Value BpfObject::Map(const Napi::CallbackInfo& info) {
  std::string name = StringArgument(info[0], "name");
  int fd = bpf_map__fd(FindMap(info.Env(), name, "bpf_map__fd"));
  if (fd < 0) throw SystemError(info.Env(), EINVAL, "bpf_map__fd", "'" + name + "' is not loaded");
  return BpfMap::New(info.Env(), Descriptor::Duplicate(info.Env(), fd));
}

Napi::Value BpfObject::Program(const Napi::CallbackInfo& info) {
  std::string name = StringArgument(info[0], "name");
  int fd = bpf_program__fd(FindProgram(info.Env(), name, "bpf_program__fd"));
  if (fd < 0) throw SystemError(info.Env(), EINVAL, "bpf_program__fd", "'" + name + "' is not loaded");
  return BpfProgram::New(info.Env(), Descriptor::Duplicate(info.Env(), fd));
}

void BpfObject::Close(const Napi::CallbackInfo&) { state_.reset(); }
