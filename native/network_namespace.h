// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

// networkNamespace(): string
Napi::Value NetworkNamespace(const Napi::CallbackInfo& info);
