// SPDX-License-Identifier: Apache-2.0
#include "arguments.h"

#include <cmath>
#include <cstring>

static Napi::TypeError WrongType(Napi::Value value, const char* name, const char* wanted) {
  return Napi::TypeError::New(value.Env(), std::string(name) + " must be " + wanted);
}

Bytes BytesArgument(Napi::Value value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw WrongType(value, name, "a Uint8Array");
  auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

const uint8_t* ExactBytes(Napi::Value value, size_t size, const char* name) {
  Bytes bytes = BytesArgument(value, name);
  if (bytes.size != size)
    throw Napi::RangeError::New(value.Env(), std::string(name) + " has " + std::to_string(bytes.size) +
                                                 " bytes, not " + std::to_string(size));
  return bytes.data;
}

Bytes AddressArgument(Napi::Value value, const char* name) {
  Bytes bytes = BytesArgument(value, name);
  if (bytes.size != 4 && bytes.size != 16)
    throw Napi::RangeError::New(
        value.Env(), std::string(name) + " has " + std::to_string(bytes.size) + " bytes, not 4 or 16");
  return bytes;
}

uint32_t Uint32Argument(Napi::Value value, const char* name, uint32_t least, uint32_t most) {
  if (!value.IsNumber()) throw WrongType(value, name, "a number");
  double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= least && number <= most) || std::trunc(number) != number)
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must be an integer from " +
                                                 std::to_string(least) + " to " + std::to_string(most));
  return static_cast<uint32_t>(number);
}

uint32_t OptionalUint32(Napi::Value value, const char* name, uint32_t otherwise, uint32_t least) {
  return value.IsUndefined() ? otherwise : Uint32Argument(value, name, least);
}

uint32_t IfindexArgument(Napi::Value value) { return Uint32Argument(value, "ifindex", 1, INT32_MAX); }

bool BooleanArgument(Napi::Value value, const char* name) {
  if (!value.IsBoolean()) throw WrongType(value, name, "a boolean");
  return value.As<Napi::Boolean>();
}

std::string StringArgument(Napi::Value value, const char* name) {
  if (!value.IsString()) throw WrongType(value, name, "a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos)
    throw Napi::RangeError::New(value.Env(), std::string(name) + " contains a NUL character");
  return text;
}

Napi::Uint8Array CopyOf(Napi::Env env, const void* data, size_t size) {
  auto copy = Napi::Uint8Array::New(env, size);
  if (size) memcpy(copy.Data(), data, size);
  return copy;
}
