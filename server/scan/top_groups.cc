#include "server/scan/top_groups.h"

#include <algorithm>
#include <utility>

namespace cowherd {

void TopGroups::Add(const Duplicate& duplicate) {
  if (run_.length > 0 && run_.source_offset + run_.length == duplicate.source_offset &&
      run_.destination_offset + run_.length == duplicate.destination_offset &&
      run_.source_path == duplicate.source_path && run_.destination_path == duplicate.destination_path) {
    run_.length += duplicate.length;
    run_.freeable += duplicate.freeable;
    return;
  }
  EndRun();
  run_ = duplicate;
}

void TopGroups::EndRun() {
  const Duplicate run = std::exchange(run_, {});
  if (run.length == 0) return;
  Key key(run.source_path, run.source_offset, run.length);
  auto found = counts_.find(key);
  if (found == counts_.end()) {
    uint64_t missed = 0;
    if (counts_.size() >= kCounted) {
      const auto least = by_weight_.begin();
      missed = least->first;
      counts_.erase(least->second);
      by_weight_.erase(least);
    }
    found = counts_.emplace(std::move(key), Count{0, 0, missed, {}, by_weight_.end()}).first;
  } else {
    by_weight_.erase(found->second.place);
  }
  Count& count = found->second;
  ++count.copies;
  count.freeable += run.freeable;
  if (count.destinations.size() < kNamed)
    count.destinations.push_back({run.destination_path, run.destination_offset});
  count.place = by_weight_.emplace(count.freeable + count.missed, found);
}

std::vector<DuplicateGroup> TopGroups::Largest(size_t max) {
  EndRun();
  std::vector<DuplicateGroup> groups;
  groups.reserve(counts_.size());
  for (const auto& [key, count] : counts_) {
    const auto& [path, offset, length] = key;
    groups.push_back({path, offset, length, count.copies, count.freeable, count.destinations});
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const DuplicateGroup& a, const DuplicateGroup& b) { return a.freeable > b.freeable; });
  if (groups.size() > max) groups.resize(max);
  return groups;
}

}  // namespace cowherd
