// SPDX-License-Identifier: Apache-2.0
#include "libbpf_output.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <sstream>
#include <vector>

static constexpr size_t kLogLines = 20;
static constexpr char kLogBegins[] = "-- BEGIN PROG LOAD LOG --\n";
static constexpr char kLogEnds[] = "-- END PROG LOAD LOG --";

static thread_local LibbpfOutput* collector = nullptr;

static int Collect(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN || !collector) return 0;
  va_list again;
  va_copy(again, arguments);
  int size = vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (size <= 0) return 0;
  std::vector<char> line(size + 1);
  vsnprintf(line.data(), line.size(), format, arguments);
  collector->text.append(line.data(), size);
  return size;
}

void LibbpfOutput::Install() { libbpf_set_print(Collect); }
LibbpfOutput::LibbpfOutput() { collector = this; }
LibbpfOutput::~LibbpfOutput() { collector = nullptr; }

std::string LibbpfOutput::Messages() const {
  std::istringstream lines(text);
  std::string line, result;
  bool in_log = false;
  while (std::getline(lines, line)) {
    if (line.find("-- BEGIN PROG LOAD LOG --") != line.npos) in_log = true;
    if (!in_log) {
      if (line.rfind("libbpf: ", 0) == 0) line.erase(0, 8);
      if (!result.empty()) result += "; ";
      result += line;
    }
    if (line.find(kLogEnds) != line.npos) in_log = false;
  }
  return result;
}

std::string LibbpfOutput::VerifierLog() const {
  size_t begin = text.find(kLogBegins);
  if (begin == text.npos) return "";
  begin += sizeof(kLogBegins) - 1;
  size_t end = std::min(text.find(kLogEnds, begin), text.size());
  while (end > begin && text[end - 1] == '\n') end--;

  size_t start = end;
  for (size_t lines = 0; start > begin; start--)
    if (text[start - 1] == '\n' && ++lines == kLogLines) break;
  return text.substr(start, end - start);
}
