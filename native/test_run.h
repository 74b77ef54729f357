// SPDX-License-Identifier: Apache-2.0
// BPF_PROG_TEST_RUN of an XDP program.
#pragma once
#include <napi.h>

#include <cstdint>
#include <vector>

struct TestRequest {
  std::vector<uint8_t> data;
  std::vector<uint8_t> context;  // struct xdp_md, or empty
  uint32_t repeat;
  uint32_t batch_size;
  bool live_frames;
};

struct TestResult {
  uint32_t return_value;
  uint32_t duration_ns;
  uint64_t cpu_ns;
  std::vector<uint8_t> data, context;
  bool live_frames;

  Napi::Value ToObject(Napi::Env env) const;
};

TestRequest TestRequestArgument(Napi::Value options);

// May run on any thread; throws SystemFailure.
TestResult RunTest(int fd, const TestRequest& request);
