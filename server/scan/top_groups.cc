#include "server/scan/top_groups.h"

#include <algorithm>
#include <utility>

namespace cowherd {

void TopGroups::Add(const Duplicate& duplicate) {
  Key key(duplicate.source_path, duplicate.source_offset, duplicate.length);
  auto found = counts_.find(key);
  if (found == counts_.end()) {
    uint64_t missed = 0;
    if (counts_.size() >= kCounted) {
      const auto least = by_weight_.begin();
      missed = least->first;
      counts_.erase(least->second);
      by_weight_.erase(least);
    }
    found = counts_.emplace(std::move(key), Count{0, 0, missed, by_weight_.end()}).first;
  } else {
    by_weight_.erase(found->second.place);
  }
  Count& count = found->second;
  ++count.copies;
  count.freeable += duplicate.freeable;
  count.place = by_weight_.emplace(count.freeable + count.missed, found);
}

std::vector<DuplicateGroup> TopGroups::Largest(size_t max) const {
  std::vector<DuplicateGroup> groups;
  groups.reserve(counts_.size());
  for (const auto& [key, count] : counts_) {
    const auto& [path, offset, length] = key;
    groups.push_back({path, offset, length, count.copies, count.freeable});
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const DuplicateGroup& a, const DuplicateGroup& b) { return a.freeable > b.freeable; });
  if (groups.size() > max) groups.resize(max);
  return groups;
}

}  // namespace cowherd
