// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <napi.h>

// tryLock(fd): boolean
Napi::Value TryLock(const Napi::CallbackInfo& info);
