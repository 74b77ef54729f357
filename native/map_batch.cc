// SPDX-License-Identifier: Apache-2.0
#include "map_batch.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

#include "error.h"

static constexpr uint32_t kFirstBatch = 4096;

Entries LookupAll(int fd, const BatchShape& shape) {
  Entries entries;
  // Where the kernel goes on: a key for arrays, a 4-byte bucket number for hash maps.
  std::vector<uint8_t> from(std::max<size_t>(shape.key_size, 4)), next(from.size());
  uint32_t batch = std::min({kFirstBatch, shape.max_entries, shape.most});
  bool is_first = shape.first == 0;
  if (!is_first) {
    uint32_t before = shape.first - 1;
    std::memcpy(from.data(), &before, sizeof(before));
  }

  // A map that is written meanwhile may hand out entries twice, but not for ever.
  while (entries.count < std::min<uint64_t>(2ull * shape.max_entries, shape.most)) {
    batch = std::min(batch, shape.most - entries.count);
    entries.keys.resize((entries.count + size_t{batch}) * shape.key_size);
    entries.values.resize((entries.count + size_t{batch}) * shape.value_size);
    uint32_t count = batch;
    int err = bpf_map_lookup_batch(fd, is_first ? nullptr : from.data(), next.data(),
                                   &entries.keys[entries.count * shape.key_size],
                                   &entries.values[entries.count * shape.value_size], &count, nullptr);
    if (err == -ENOSPC && batch < shape.max_entries) {  // a hash bucket holds more entries than the batch
      batch = std::min<uint64_t>(2ull * batch, shape.max_entries);
      continue;
    }
    if (err && err != -ENOENT) throw SystemFailure(err, "bpf_map_lookup_batch");
    entries.count += count;
    if (err) break;  // ENOENT: that was the last batch
    from.swap(next);
    is_first = false;
  }
  entries.keys.resize(entries.count * shape.key_size);
  entries.values.resize(entries.count * shape.value_size);
  return entries;
}

void UpdateAll(int fd, const uint8_t* keys, const uint8_t* values, uint32_t count, uint32_t flags) {
  if (count == 0) return;
  LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = flags);
  uint32_t done = count;
  int err = bpf_map_update_batch(fd, keys, values, &done, &options);
  if (err)
    throw SystemFailure(err, "bpf_map_update_batch",
                        std::to_string(done) + " of " + std::to_string(count) + " done");
}
