#include "server/scan/anchor_table.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace cowherd {
namespace {

constexpr size_t kFirstSlots = 1 << 12;

constexpr size_t kHugePage = 2 << 20;

// Each look at a large table is at another page: with pages of 4 KiB, to find that takes the processor longer
// than the memory's answer. Only a hint.
void PreferHugePages(void* begin, size_t bytes) {
  if (std::align(kHugePage, 1, begin, bytes) != nullptr) ::madvise(begin, bytes, MADV_HUGEPAGE);
}

}  // namespace

AnchorTable::AnchorTable(size_t budget) {
  budget = std::max<size_t>(budget, 1 << 20);
  max_slots_ = kFirstSlots;
  while (max_slots_ * 2 * sizeof(Slot) <= budget) max_slots_ *= 2;
  // Only addresses: what is not used yet takes no memory but for a part of a page, and the table grows where
  // it is.
  slots_.reserve(max_slots_);
  PreferHugePages(slots_.data(), max_slots_ * sizeof(Slot));
  slots_.resize(kFirstSlots);
}

absl::optional<uint64_t> AnchorTable::FindOrInsert(uint64_t key, uint64_t value) {
  if ((key & mask_) != 0) return absl::nullopt;
  Slot& slot = SlotOf(key);
  if (slot.key == key) return slot.value;
  Fill(slot, key, value);
  return absl::nullopt;
}

absl::optional<uint64_t> AnchorTable::Find(uint64_t key) {
  if ((key & mask_) != 0) return absl::nullopt;
  const Slot& slot = SlotOf(key);
  return slot.key == key ? absl::make_optional(slot.value) : absl::nullopt;
}

void AnchorTable::Put(uint64_t key, uint64_t value) {
  if ((key & mask_) != 0) return;
  Slot& slot = SlotOf(key);
  if (slot.key == key) {
    slot.value = value;
  } else {
    Fill(slot, key, value);
  }
}

void AnchorTable::ForEach(absl::FunctionRef<void(uint64_t key, uint64_t value)> entry) const {
  for (const Slot& slot : slots_) {
    if (slot.key != 0) entry(slot.key, slot.value);
  }
}

void AnchorTable::Prepare(size_t entries, int sampling) {
  size_t slots = kFirstSlots;
  while (slots < max_slots_ && entries * 4 >= slots * 3) slots *= 2;
  Clear();
  slots_.resize(slots);
  mask_ = sampling >= 64 ? UINT64_MAX : (uint64_t{1} << sampling) - 1;
}

void AnchorTable::Clear() {
  slots_.clear();
  slots_.resize(kFirstSlots);
  entries_ = 0;
  mask_ = 0;
}

AnchorTable::Slot& AnchorTable::SlotOf(uint64_t key) {
  // The low bits choose the anchors: the high ones choose the slot.
  const size_t last = slots_.size() - 1;
  size_t at = static_cast<size_t>(key >> 24) & last;
  while (slots_[at].key != 0 && slots_[at].key != key) at = (at + 1) & last;
  return slots_[at];
}

void AnchorTable::Fill(Slot& slot, uint64_t key, uint64_t value) {
  slot = {key, value};
  ++entries_;
  if (entries_ * 4 < slots_.size() * 3) return;
  if (slots_.size() < max_slots_) {
    Double();
  } else {
    Thin();
  }
}

void AnchorTable::Double() {
  slots_.resize(slots_.size() * 2);
  Settle();
}

void AnchorTable::Thin() {
  while (entries_ * 4 >= slots_.size() * 3 && mask_ != UINT64_MAX) {
    mask_ = mask_ * 2 + 1;
    for (Slot& slot : slots_) {
      if ((slot.key & mask_) == 0) continue;
      slot = {};
      --entries_;
    }
    Settle();
  }
}

void AnchorTable::Settle() {
  // Each entry moves up to the first slot that is free for it.
  const auto settle = [this](Slot& slot) {
    const Slot entry = std::exchange(slot, Slot());
    SlotOf(entry.key) = entry;
  };
  for (Slot& slot : slots_) {
    if (slot.key != 0) settle(slot);
  }
  // Those that belong to the table's end and found it full are its first ones, up to an empty slot; there may
  // be room for them by now.
  for (size_t at = 0; at < slots_.size() && slots_[at].key != 0; ++at) settle(slots_[at]);
}

}  // namespace cowherd
