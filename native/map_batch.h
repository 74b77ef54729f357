// SPDX-License-Identifier: Apache-2.0
// All of a map's entries with few system calls. May run on any thread; throws SystemFailure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

struct BatchShape {
  size_t key_size;
  size_t value_size;
  uint32_t max_entries;
  // Of an array: the index to begin with, and no more entries than so many.
  uint32_t first = 0;
  uint32_t most = UINT32_MAX;
};

// Keys and values, each one after the other.
struct Entries {
  uint32_t count = 0;
  std::vector<uint8_t> keys, values;
};

Entries LookupAll(int fd, const BatchShape& shape);
void UpdateAll(int fd, const uint8_t* keys, const uint8_t* values, uint32_t count, uint32_t flags);
