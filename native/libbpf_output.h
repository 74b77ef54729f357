// SPDX-License-Identifier: Apache-2.0
// What libbpf would print to stderr, kept for the error instead.
#pragma once
#include <string>

// Collects the warnings of libbpf's calls on this thread while it exists.
class LibbpfOutput {
 public:
  LibbpfOutput();
  ~LibbpfOutput();
  LibbpfOutput(const LibbpfOutput&) = delete;

  // One line: all but the verifier's log.
  std::string Messages() const;
  // The last 20 lines of the verifier's output; empty when there is none.
  std::string VerifierLog() const;

  // Routes libbpf's printing here; once per process.
  static void Install();

  std::string text;
};
