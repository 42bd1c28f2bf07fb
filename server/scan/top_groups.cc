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

TopGroups::Weight TopGroups::WeightOf(Counts::reference counted) {
  const Count& count = counted.second;
  return {count.freeable + count.missed, count.begun, &counted};
}

void TopGroups::EndRun() {
  if (run_.length == 0) return;
  Key key(run_.source_path, run_.source_offset, run_.length);
  auto found = counts_.find(key);
  if (found == counts_.end()) {
    Count count;
    count.begun = begun_++;
    if (counts_.size() >= kCounted) {
      const auto [missed, begun, least] = *by_weight_.begin();
      count.missed = missed;
      by_weight_.erase(by_weight_.begin());
      counts_.erase(counts_.find(least->first));
    }
    found = counts_.emplace(std::move(key), std::move(count)).first;
  } else {
    by_weight_.erase(WeightOf(*found));
  }
  Count& count = found->second;
  ++count.copies;
  count.freeable += run_.freeable;
  if (count.destinations.size() < kNamed)
    count.destinations.push_back({run_.destination_path, run_.destination_offset});
  by_weight_.insert(WeightOf(*found));
  run_.length = 0;
}

std::vector<DuplicateGroup> TopGroups::Largest(size_t max) {
  EndRun();
  std::vector<DuplicateGroup> groups;
  groups.reserve(counts_.size());
  for (const auto& [key, count] : counts_) {
    const auto& [path, offset, length] = key;
    groups.push_back({path, offset, length, count.copies, count.freeable, count.destinations});
  }
  std::sort(groups.begin(), groups.end(), [](const DuplicateGroup& a, const DuplicateGroup& b) {
    return std::tie(b.freeable, a.source_path, a.source_offset, a.length) <
           std::tie(a.freeable, b.source_path, b.source_offset, b.length);
  });
  if (groups.size() > max) groups.resize(max);
  return groups;
}

}  // namespace cowherd
