// SPDX-License-Identifier: Apache-2.0
#include "test_run.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <time.h>

#include "arguments.h"
#include "error.h"

// What a program may add: XDP_PACKET_HEADROOM in front, and as much behind.
static constexpr size_t kGrowth = 512;

static std::vector<uint8_t> Copy(Bytes bytes) { return {bytes.data, bytes.data + bytes.size}; }

TestRequest TestRequestArgument(Napi::Value value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "options must be an object");
  auto options = value.As<Napi::Object>();
  Napi::Value context = options["context"], live_frames = options["liveFrames"];

  TestRequest request;
  request.data = Copy(BytesArgument(options["data"], "data"));
  if (!context.IsUndefined()) {
    ExactBytes(context, sizeof(xdp_md), "context");
    request.context = Copy(BytesArgument(context, "context"));
  }
  request.repeat = OptionalUint32(options["repeat"], "repeat", 1, 1);
  request.batch_size = OptionalUint32(options["batchSize"], "batchSize", 0, 1);
  request.live_frames = !live_frames.IsUndefined() && BooleanArgument(live_frames, "liveFrames");
  return request;
}

static uint64_t ThreadCpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

TestResult RunTest(int fd, const TestRequest& request) {
  TestResult result = {};
  result.live_frames = request.live_frames;

  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = request.data.data();
  options.data_size_in = request.data.size();
  if (!request.context.empty()) {
    options.ctx_in = request.context.data();
    options.ctx_size_in = request.context.size();
  }
  if (request.live_frames) {
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  } else {
    result.data.resize(request.data.size() + kGrowth);
    options.data_out = result.data.data();
    options.data_size_out = result.data.size();
    if (!request.context.empty()) {
      result.context.resize(sizeof(xdp_md));
      options.ctx_out = result.context.data();
      options.ctx_size_out = result.context.size();
    }
  }
  options.repeat = request.repeat;
  options.batch_size = request.batch_size;

  uint64_t before = ThreadCpuNs();
  int err = bpf_prog_test_run_opts(fd, &options);
  result.cpu_ns = ThreadCpuNs() - before;
  if (err) throw SystemFailure(err, "bpf_prog_test_run_opts");

  result.return_value = options.retval;
  result.duration_ns = options.duration;
  if (!request.live_frames) result.data.resize(options.data_size_out);
  return result;
}

Napi::Value TestResult::ToObject(Napi::Env env) const {
  auto result = Napi::Object::New(env);
  result["returnValue"] = return_value;
  if (!live_frames) result["data"] = CopyOf(env, data.data(), data.size());
  if (!context.empty()) result["context"] = CopyOf(env, context.data(), context.size());
  result["durationNs"] = duration_ns;
  result["cpuNs"] = static_cast<double>(cpu_ns);
  return result;
}
