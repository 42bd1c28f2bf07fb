#include "server/scan/seen_files.h"

#include <xxhash.h>

#include <algorithm>
#include <iterator>

#include "server/base/status.h"

namespace cowherd {

uint64_t SeenFiles::HashOf(absl::string_view path, const FileFacts& facts) {
  const uint64_t words[] = {facts.inode, facts.size, static_cast<uint64_t>(facts.modified_ns),
                            static_cast<uint64_t>(facts.changed_ns)};
  return XXH3_64bits_withSeed(path.data(), path.size(), XXH3_64bits(words, sizeof(words)));
}

bool SeenFiles::Meet(uint64_t hash) {
  const auto found = std::lower_bound(last_.begin(), last_.end(), hash);
  if (found == last_.end() || *found != hash) return false;
  met_[static_cast<size_t>(std::distance(last_.begin(), found))] = true;
  return true;
}

void SeenFiles::Add(uint64_t hash) {
  ++added_;
  // Those of the last scan that are gone make room when this one is complete.
  if (last_.size() + new_.size() < most_) {
    new_.push_back(hash);
  } else {
    ++left_out_;
  }
}

void SeenFiles::Save(bool all, StateWriter& writer) const {
  std::vector<uint64_t> kept = new_;
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  const auto keeps = [&](size_t i) { return all || met_[i]; };
  size_t count = kept.size();
  for (size_t i = 0; i < last_.size(); ++i) count += keeps(i) ? 1 : 0;
  writer.AddNumber(count);
  // Merged, so that they come back in order.
  auto next = kept.begin();
  for (size_t i = 0; i < last_.size(); ++i) {
    if (!keeps(i)) continue;
    for (; next != kept.end() && *next <= last_[i]; ++next) writer.AddNumber(*next);
    writer.AddNumber(last_[i]);
  }
  for (; next != kept.end(); ++next) writer.AddNumber(*next);
}

void SeenFiles::Clear() {
  last_.clear();
  met_.clear();
  new_.clear();
}

absl::Status SeenFiles::Load(StateReader& reader) {
  Clear();
  ASSIGN_OR_RETURN(const uint64_t count, reader.TakeNumber());
  uint64_t before = 0;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const uint64_t hash, reader.TakeNumber());
    if (hash < before) return absl::DataLossError("files out of order");
    before = hash;
    // Of a scan that had more memory.
    if (last_.size() < most_) last_.push_back(hash);
  }
  met_.assign(last_.size(), false);
  return absl::OkStatus();
}

}  // namespace cowherd
