#ifndef COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_
#define COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"

namespace cowherd {

// Where keys were seen first, within a fixed memory budget. Keeps only anchors: keys that are 0 modulo 2^k. k
// starts at 0 and grows as the budget fills, so an equal run of some 2^k keys still holds an anchor wherever
// it starts. Keys must be well mixed and not 0. One thread.
class AnchorTable {
 public:
  // In bytes, of which a power of two is used; at least 1 MiB.
  explicit AnchorTable(size_t budget);

  // The value kept for `key`. None: not an anchor, or not seen before; an anchor is then kept with `value`.
  absl::optional<uint64_t> FindOrInsert(uint64_t key, uint64_t value);

  // The value kept for `key`; keeps nothing.
  absl::optional<uint64_t> Find(uint64_t key);

  // Keeps an anchor with `value`, whatever it had.
  void Put(uint64_t key, uint64_t value);

  // All entries, in no order.
  void ForEach(absl::FunctionRef<void(uint64_t key, uint64_t value)> entry) const;

  // Makes room for so many entries and keeps only keys that are 0 modulo 2^sampling, before the first is put.
  void Prepare(size_t entries, int sampling);

  void Clear();

  size_t bytes() const { return slots_.size() * sizeof(Slot); }
  size_t entries() const { return entries_; }
  // About how many different keys were ever seen, if some were not kept. 0: all were.
  uint64_t keys_seen() const { return mask_ == 0 ? 0 : uint64_t{entries_} << std::min(sampling(), 32); }
  // k.
  int sampling() const { return __builtin_popcountll(mask_); }

 private:
  struct Slot {
    uint64_t key = 0;  // 0: empty
    uint64_t value = 0;
  };

  // The slot of the key, or the empty one where it belongs.
  Slot& SlotOf(uint64_t key);
  void Fill(Slot& slot, uint64_t key, uint64_t value);
  void Double();
  void Thin();
  // Probing ends at an empty slot: brings each entry to where it is found.
  void Settle();

  size_t max_slots_ = 0;
  std::vector<Slot> slots_;  // grows within its capacity
  size_t entries_ = 0;
  uint64_t mask_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_
