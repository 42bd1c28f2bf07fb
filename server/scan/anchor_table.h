#ifndef COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_
#define COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_

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
  // In bytes, held to also while the table grows; at least 1 MiB is used.
  explicit AnchorTable(size_t budget);

  // The value kept for `key`. None: not an anchor, or not seen before; an anchor is then kept with `value`.
  absl::optional<uint64_t> FindOrInsert(uint64_t key, uint64_t value);

  // Keeps an anchor with `value`, whatever it had.
  void Put(uint64_t key, uint64_t value);

  // All entries, in no order.
  void ForEach(absl::FunctionRef<void(uint64_t key, uint64_t value)> entry) const;

  // Makes room for so many entries and keeps only keys that are 0 modulo 2^sampling, before the first is put.
  void Prepare(size_t entries, int sampling);

  void Clear();

  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }
  size_t entries() const { return entries_; }
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

  size_t max_slots_ = 0;
  std::vector<Slot> slots_;
  size_t entries_ = 0;
  uint64_t mask_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_ANCHOR_TABLE_H_
