#include "server/scan/storage_set.h"

#include <algorithm>
#include <iterator>

namespace cowherd {

std::map<uint64_t, uint64_t>::const_iterator StorageSet::FirstBehind(uint64_t address) const {
  auto range = ranges_.upper_bound(address);
  if (range != ranges_.begin() && std::prev(range)->second > address) --range;
  return range;
}

void StorageSet::Add(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  // One that ends where this begins is merged too.
  auto range = FirstBehind(begin == 0 ? 0 : begin - 1);
  const bool touches = range != ranges_.end() && range->first <= end;
  if (!touches && ranges_.size() >= most_) return;
  while (range != ranges_.end() && range->first <= end) {
    begin = std::min(begin, range->first);
    end = std::max(end, range->second);
    range = ranges_.erase(range);
  }
  ranges_.emplace(begin, end);
}

void StorageSet::Remove(uint64_t begin, uint64_t end) {
  auto range = FirstBehind(begin);
  while (range != ranges_.end() && range->first < end) {
    const Range old = *range;
    range = ranges_.erase(range);
    if (old.first < begin) ranges_.emplace(old.first, begin);
    if (old.second > end) ranges_.emplace(end, old.second);
  }
}

std::vector<StorageSet::Range> StorageSet::Missing(uint64_t begin, uint64_t end) const {
  std::vector<Range> missing;
  for (auto range = FirstBehind(begin); begin < end && range != ranges_.end() && range->first < end;
       ++range) {
    if (range->first > begin) missing.emplace_back(begin, range->first);
    begin = range->second;
  }
  if (begin < end) missing.emplace_back(begin, end);
  return missing;
}

uint64_t StorageSet::LengthWithin(uint64_t begin, uint64_t end) const {
  uint64_t length = 0;
  for (auto range = FirstBehind(begin); range != ranges_.end() && range->first < end; ++range)
    length += std::min(end, range->second) - std::max(begin, range->first);
  return length;
}

}  // namespace cowherd
