// SPDX-License-Identifier: Apache-2.0
#include "link.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>

#include "arguments.h"
#include "classes.h"
#include "error.h"
#include "program.h"
#include "task.h"

Napi::Function XdpLink::Define(Napi::Env env) {
  return DefineClass(env, "XdpLink",
                     {
                         StaticMethod<&XdpLink::Attach>("attach"),
                         StaticMethod<&XdpLink::OpenPinned>("openPinned"),
                         InstanceAccessor<&XdpLink::Info>("info"),
                         InstanceMethod<&XdpLink::Update>("update"),
                         InstanceMethod<&XdpLink::Detach>("detach"),
                         InstanceMethod<&XdpLink::Pin>("pin"),
                         InstanceMethod<&XdpLink::Unpin>("unpin"),
                         InstanceMethod<&XdpLink::Close>("close"),
                     });
}

Napi::Object XdpLink::New(Napi::Env env, std::shared_ptr<Descriptor> descriptor) {
  return Adopt(env, Classes::Of(env).link, std::move(descriptor));
}

XdpLink::XdpLink(const Napi::CallbackInfo& info) : Napi::ObjectWrap<XdpLink>(info) {
  descriptor_ = TakeAdopted(info.Env());
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

static BpfProgram* ProgramArgument(Napi::Value value, const char* name) {
  return InstanceArgument<BpfProgram>(value, name, "BpfProgram");
}

static uint32_t ModeArgument(Napi::Value value) {
  std::string mode = StringArgument(value, "mode");
  if (mode == "native") return XDP_FLAGS_DRV_MODE;
  if (mode == "generic") return XDP_FLAGS_SKB_MODE;
  throw Napi::RangeError::New(value.Env(), "mode must be 'native' or 'generic', not '" + mode + "'");
}

Napi::Value XdpLink::Attach(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto program = ProgramArgument(info[0], "program")->Open(info.Env(), "bpf_link_create");
    int ifindex = IfindexArgument(info[1]);
    uint32_t flags = ModeArgument(info[2]);
    return [=]() -> Answer {
      LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
      int fd = bpf_link_create(program->fd(), ifindex, BPF_XDP, &options);
      if (fd < 0) throw SystemFailure(fd, "bpf_link_create", "ifindex " + std::to_string(ifindex));
      auto link = std::make_shared<Descriptor>(fd);
      return [link](Napi::Env env) { return New(env, link); };
    };
  });
}

static bpf_link_info InfoOf(Napi::Env env, int fd) {
  bpf_link_info link = {};
  uint32_t size = sizeof(link);
  int err = bpf_obj_get_info_by_fd(fd, &link, &size);
  if (err) throw SystemError(env, err, "bpf_obj_get_info_by_fd");
  return link;
}

Napi::Value XdpLink::OpenPinned(const Napi::CallbackInfo& info) {
  std::string path = StringArgument(info[0], "path");
  auto descriptor = Descriptor::OpenPinned(info.Env(), path, Descriptor::kLink);
  if (InfoOf(info.Env(), descriptor->fd()).type != BPF_LINK_TYPE_XDP)
    throw SystemError(info.Env(), EINVAL, "bpf_obj_get", path + " is not an XDP link");
  return New(info.Env(), descriptor);
}

Napi::Value XdpLink::Info(const Napi::CallbackInfo& info) {
  bpf_link_info link = InfoOf(info.Env(), Open(info.Env(), "bpf_obj_get_info_by_fd")->fd());
  auto result = Napi::Object::New(info.Env());
  result["id"] = link.id;
  result["programId"] = link.prog_id;
  result["ifindex"] = link.xdp.ifindex;
  return result;
}

Napi::Value XdpLink::Update(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto link = Open(info.Env(), "bpf_link_update");
    auto program = ProgramArgument(info[0], "program")->Open(info.Env(), "bpf_link_update");
    std::shared_ptr<Descriptor> expected;
    if (!info[1].IsUndefined())
      expected = ProgramArgument(info[1], "expected")->Open(info.Env(), "bpf_link_update");
    return [=]() -> Answer {
      LIBBPF_OPTS(bpf_link_update_opts, options);
      if (expected) {
        options.flags = BPF_F_REPLACE;
        options.old_prog_fd = expected->fd();
      }
      int err = bpf_link_update(link->fd(), program->fd(), &options);
      if (err) throw SystemFailure(err, "bpf_link_update");
      return Nothing();
    };
  });
}

Napi::Value XdpLink::Detach(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    return [link = Open(info.Env(), "bpf_link_detach")]() -> Answer {
      int err = bpf_link_detach(link->fd());
      if (err) throw SystemFailure(err, "bpf_link_detach");
      return Nothing();
    };
  });
}

void XdpLink::Pin(const Napi::CallbackInfo& info) { PinAt(info.Env(), info[0]); }
void XdpLink::Unpin(const Napi::CallbackInfo& info) { UnpinAt(info.Env(), info[0]); }

Napi::Value XdpLink::Close(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    return [link = std::move(descriptor_)]() mutable -> Answer {
      link.reset();
      return Nothing();
    };
  });
}

Napi::Value QueryXdp(const Napi::CallbackInfo& info) {
  LIBBPF_OPTS(bpf_xdp_query_opts, options);
  int ifindex = IfindexArgument(info[0]);
  char name[IF_NAMESIZE];
  if (!if_indextoname(ifindex, name))
    throw SystemError(info.Env(), ENODEV, "bpf_xdp_query");  // which says "none"
  int err = bpf_xdp_query(ifindex, 0, &options);
  if (err) throw SystemError(info.Env(), err, "bpf_xdp_query");

  bool is_generic = options.attach_mode == XDP_ATTACHED_SKB;
  uint32_t id = options.attach_mode == XDP_ATTACHED_MULTI ? options.drv_prog_id : options.prog_id;
  auto result = Napi::Object::New(info.Env());
  result["programId"] = id;
  result["mode"] = id == 0
                       ? info.Env().Null()
                       : Napi::String::New(info.Env(), is_generic ? "generic" : "native").As<Napi::Value>();
  return result;
}

// Sets what is attached without a link: by rtnetlink, it lasts as long as the interface. `program` null:
// none.
static Work SetXdp(int ifindex, std::shared_ptr<Descriptor> program, uint32_t mode,
                   std::shared_ptr<Descriptor> expected) {
  return [=]() -> Answer {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    if (expected) options.old_prog_fd = expected->fd();
    uint32_t flags = mode | (expected ? 0 : XDP_FLAGS_UPDATE_IF_NOEXIST);
    int err = bpf_xdp_attach(ifindex, program ? program->fd() : -1, flags, &options);
    if (err) throw SystemFailure(err, "bpf_xdp_attach", "ifindex " + std::to_string(ifindex));
    return Nothing();
  };
}

Napi::Value AttachXdp(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto program = ProgramArgument(info[0], "program")->Open(info.Env(), "bpf_xdp_attach");
    std::shared_ptr<Descriptor> expected;
    if (!info[3].IsUndefined())
      expected = ProgramArgument(info[3], "expected")->Open(info.Env(), "bpf_xdp_attach");
    return SetXdp(IfindexArgument(info[1]), program, ModeArgument(info[2]), expected);
  });
}

Napi::Value DetachXdp(const Napi::CallbackInfo& info) {
  return Offload(info.Env(), [&]() -> Work {
    auto expected = ProgramArgument(info[2], "expected")->Open(info.Env(), "bpf_xdp_attach");
    return SetXdp(IfindexArgument(info[0]), nullptr, ModeArgument(info[1]), expected);
  });
}
