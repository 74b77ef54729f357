// SPDX-License-Identifier: Apache-2.0
// The addon's own data, one per JavaScript environment: how C++ makes instances of the classes.
#pragma once
#include <napi.h>

#include <memory>

#include "descriptor.h"

struct Classes {
  Napi::FunctionReference map, program, link;
  // What the constructor that runs next takes over; none when JavaScript called it.
  std::shared_ptr<Descriptor> adopted;

  static Classes& Of(Napi::Env env) { return *env.GetInstanceData<Classes>(); }
};

// An instance of one of the classes, around an open descriptor.
inline Napi::Object Adopt(Napi::Env env, const Napi::FunctionReference& constructor,
                          std::shared_ptr<Descriptor> descriptor) {
  Classes::Of(env).adopted = std::move(descriptor);
  return constructor.New({});
}

// In the constructor: the descriptor. Throws TypeError when JavaScript called `new`.
inline std::shared_ptr<Descriptor> TakeAdopted(Napi::Env env) {
  auto descriptor = std::move(Classes::Of(env).adopted);
  if (!descriptor) throw Napi::TypeError::New(env, "not a constructor: see the class's static methods");
  return descriptor;
}

// Argument as an instance of T, which is tagged with T::kTag: a wrong class never reaches Unwrap().
template <typename T>
T* InstanceArgument(Napi::Value value, const char* name, const char* wanted) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag))
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a " + wanted);
  return T::Unwrap(value.As<Napi::Object>());
}
