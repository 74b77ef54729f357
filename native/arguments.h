// SPDX-License-Identifier: Apache-2.0
// Checked arguments: TypeError for a wrong type, RangeError for a wrong length or value.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>

struct Bytes {
  const uint8_t* data;
  size_t size;
};

Bytes BytesArgument(Napi::Value value, const char* name);

// The kernel reads as many bytes as the map or struct has, whatever JavaScript passed.
const uint8_t* ExactBytes(Napi::Value value, size_t size, const char* name);

// 4 or 16 bytes.
Bytes AddressArgument(Napi::Value value, const char* name);

uint32_t Uint32Argument(Napi::Value value, const char* name, uint32_t least = 0, uint32_t most = UINT32_MAX);

// `otherwise` when it is undefined.
uint32_t OptionalUint32(Napi::Value value, const char* name, uint32_t otherwise, uint32_t least = 0);

uint32_t IfindexArgument(Napi::Value value);

bool BooleanArgument(Napi::Value value, const char* name);

// A string for C: without NUL.
std::string StringArgument(Napi::Value value, const char* name);

// A Uint8Array with a copy of the bytes.
Napi::Uint8Array CopyOf(Napi::Env env, const void* data, size_t size);
