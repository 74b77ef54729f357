// SPDX-License-Identifier: Apache-2.0
#include "map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arguments.h"
#include "classes.h"
#include "error.h"
#include "map_batch.h"
#include "task.h"

static constexpr uint64_t RoundUp(uint64_t size, uint64_t unit) { return (size + unit - 1) / unit * unit; }

static bool IsPerCpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

Napi::Function BpfMap::Define(Napi::Env env) {
  return DefineClass(env, "BpfMap",
                     {
                         StaticMethod<&BpfMap::OpenPinned>("openPinned"),
                         StaticMethod<&BpfMap::OpenById>("openById"),
                         StaticMethod<&BpfMap::FromFd>("fromFd"),
                         InstanceAccessor<&BpfMap::Fd>("fd"),
                         InstanceAccessor<&BpfMap::Info>("info"),
                         InstanceAccessor<&BpfMap::LookupSize>("lookupSize"),
                         InstanceMethod<&BpfMap::Lookup>("lookup"),
                         InstanceMethod<&BpfMap::Update>("update"),
                         InstanceMethod<&BpfMap::Delete>("delete"),
                         InstanceMethod<&BpfMap::NextKey>("nextKey"),
                         InstanceMethod<&BpfMap::LookupBatch>("lookupBatch"),
                         InstanceMethod<&BpfMap::UpdateBatch>("updateBatch"),
                         InstanceMethod<&BpfMap::Mmap>("mmap"),
                         InstanceMethod<&BpfMap::Pin>("pin"),
                         InstanceMethod<&BpfMap::Unpin>("unpin"),
                         InstanceMethod<&BpfMap::Close>("close"),
                     });
}

Napi::Object BpfMap::New(Napi::Env env, std::shared_ptr<Descriptor> descriptor) {
  return Adopt(env, Classes::Of(env).map, std::move(descriptor));
}

BpfMap::BpfMap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfMap>(info) {
  descriptor_ = TakeAdopted(info.Env());
  uint32_t size = sizeof(info_);
  int err = bpf_obj_get_info_by_fd(descriptor_->fd(), &info_, &size);
  if (err) throw SystemError(info.Env(), err, "bpf_obj_get_info_by_fd");
  lookup_size_ =
      IsPerCpu(info_.type) ? RoundUp(info_.value_size, 8) * libbpf_num_possible_cpus() : info_.value_size;
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

Napi::Value BpfMap::OpenPinned(const Napi::CallbackInfo& info) {
  return New(info.Env(),
             Descriptor::OpenPinned(info.Env(), StringArgument(info[0], "path"), Descriptor::kMap));
}

Napi::Value BpfMap::OpenById(const Napi::CallbackInfo& info) {
  int fd = bpf_map_get_fd_by_id(Uint32Argument(info[0], "id"));
  if (fd < 0) throw SystemError(info.Env(), fd, "bpf_map_get_fd_by_id");
  return New(info.Env(), std::make_shared<Descriptor>(fd));
}

Napi::Value BpfMap::FromFd(const Napi::CallbackInfo& info) {
  auto descriptor = Descriptor::Duplicate(info.Env(), Uint32Argument(info[0], "fd"));
  descriptor->Expect(info.Env(), Descriptor::kMap, "fcntl");
  return New(info.Env(), std::move(descriptor));
}

Napi::Value BpfMap::Fd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Open(info.Env(), "fd")->fd());
}

Napi::Value BpfMap::Info(const Napi::CallbackInfo& info) {
  Open(info.Env(), "bpf_obj_get_info_by_fd");
  auto result = Napi::Object::New(info.Env());
  result["name"] = std::string(info_.name);
  result["type"] = info_.type;
  result["keySize"] = info_.key_size;
  result["valueSize"] = info_.value_size;
  result["maxEntries"] = info_.max_entries;
  result["flags"] = info_.map_flags;
  result["id"] = info_.id;
  return result;
}

Napi::Value BpfMap::LookupSize(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), lookup_size_);
}

Napi::Value BpfMap::Lookup(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_map_lookup_elem")->fd();
  const uint8_t* key = ExactBytes(info[0], info_.key_size, "key");
  auto value = Napi::Uint8Array::New(info.Env(), lookup_size_);
  int err = bpf_map_lookup_elem(fd, key, value.Data());
  if (err) throw SystemError(info.Env(), err, "bpf_map_lookup_elem");
  return value;
}

void BpfMap::Update(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_map_update_elem")->fd();
  const uint8_t* key = ExactBytes(info[0], info_.key_size, "key");
  const uint8_t* value = ExactBytes(info[1], lookup_size_, "value");
  int err = bpf_map_update_elem(fd, key, value, OptionalUint32(info[2], "flags", BPF_ANY));
  if (err) throw SystemError(info.Env(), err, "bpf_map_update_elem");
}

void BpfMap::Delete(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_map_delete_elem")->fd();
  int err = bpf_map_delete_elem(fd, ExactBytes(info[0], info_.key_size, "key"));
  if (err) throw SystemError(info.Env(), err, "bpf_map_delete_elem");
}

Napi::Value BpfMap::NextKey(const Napi::CallbackInfo& info) {
  int fd = Open(info.Env(), "bpf_map_get_next_key")->fd();
  const uint8_t* key = info[0].IsUndefined() ? nullptr : ExactBytes(info[0], info_.key_size, "key");
  auto next = Napi::Uint8Array::New(info.Env(), info_.key_size);
  int err = bpf_map_get_next_key(fd, key, next.Data());
  if (err == -ENOENT) return info.Env().Null();
  if (err) throw SystemError(info.Env(), err, "bpf_map_get_next_key");
  return next;
}

// A Uint8Array that takes over the vector's memory.
static Napi::Value Adopted(Napi::Env env, std::vector<uint8_t>&& bytes) {
  if (bytes.empty()) return Napi::Uint8Array::New(env, 0);
  auto* owner = new std::vector<uint8_t>(std::move(bytes));
  auto buffer = Napi::ArrayBuffer::New(
      env, owner->data(), owner->size(),
      [](Napi::Env, void*, std::vector<uint8_t>* vector) { delete vector; }, owner);
  return Napi::Uint8Array::New(env, owner->size(), buffer, 0);
}

Napi::Value BpfMap::LookupBatch(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    BatchShape shape = {info_.key_size, lookup_size_, info_.max_entries};
    if (!info[0].IsUndefined() || !info[1].IsUndefined()) {
      if (info_.type != BPF_MAP_TYPE_ARRAY && info_.type != BPF_MAP_TYPE_PERCPU_ARRAY)
        throw Napi::TypeError::New(info.Env(), "only the entries of an array have an order");
      shape.first = info[0].IsUndefined() ? 0 : Uint32Argument(info[0], "first", 0, info_.max_entries - 1);
      shape.most = OptionalUint32(info[1], "most", UINT32_MAX, 1);
    }
    return [descriptor = Open(info.Env(), "bpf_map_lookup_batch"), shape]() -> Answer {
      auto entries = std::make_shared<Entries>(LookupAll(descriptor->fd(), shape));
      return [entries](Napi::Env env) {
        auto result = Napi::Object::New(env);
        result["count"] = entries->count;
        result["keys"] = Adopted(env, std::move(entries->keys));
        result["values"] = Adopted(env, std::move(entries->values));
        return result;
      };
    };
  });
}

Napi::Value BpfMap::UpdateBatch(const Napi::CallbackInfo& info) {
  std::vector<Napi::Object> keep;
  for (size_t i = 0; i < 2; i++)
    if (info[i].IsObject()) keep.push_back(info[i].As<Napi::Object>());
  return Offload(
      info.Env(),
      [&]() -> Work {
        auto descriptor = Open(info.Env(), "bpf_map_update_batch");
        Bytes keys = BytesArgument(info[0], "keys");
        size_t count = info_.key_size ? keys.size / info_.key_size : 0;
        ExactBytes(info[0], count * info_.key_size, "keys");
        const uint8_t* values = ExactBytes(info[1], count * lookup_size_, "values");
        uint32_t flags = OptionalUint32(info[2], "flags", BPF_ANY);
        return [=, keys = keys.data]() -> Answer {
          UpdateAll(descriptor->fd(), keys, values, count, flags);
          return Nothing();
        };
      },
      keep);
}

namespace {

// A map's memory in this process, unmapped with it.
struct Mapping {
  Mapping(int fd, size_t length) : length(length) {
    start = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) throw SystemFailure(errno, "mmap");
  }
  ~Mapping() { munmap(start, length); }
  Mapping(const Mapping&) = delete;

  void* start;
  size_t length;
};

}  // namespace

// The kernel enters every page at once: 3 ms for 32 MB.
Napi::Value BpfMap::Mmap(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    size_t size = RoundUp(info_.value_size, 8) * info_.max_entries;  // elements are padded to 8 bytes
    return [descriptor = Open(info.Env(), "mmap"), size]() -> Answer {
      auto mapping = std::make_shared<Mapping>(descriptor->fd(), RoundUp(size, getpagesize()));
      return [mapping, size](Napi::Env env) {
        auto* kept = new std::shared_ptr<Mapping>(mapping);
        return Napi::ArrayBuffer::New(
            env, mapping->start, size, [](Napi::Env, void*, std::shared_ptr<Mapping>* hint) { delete hint; },
            kept);
      };
    };
  });
}

void BpfMap::Pin(const Napi::CallbackInfo& info) { PinAt(info.Env(), info[0]); }
void BpfMap::Unpin(const Napi::CallbackInfo& info) { UnpinAt(info.Env(), info[0]); }
void BpfMap::Close(const Napi::CallbackInfo&) { descriptor_.reset(); }
