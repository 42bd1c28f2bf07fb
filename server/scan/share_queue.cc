#include "server/scan/share_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace cowherd {
namespace {

// So much is read ahead of what is shared: one after the other, each range would take the disk's latency.
constexpr uint64_t kReadyBytes = 64 << 20;
constexpr size_t kReadyPlaces = 256;

auto KeyOf(const ShareQueue::Range& range) {
  return std::tie(range.storage, range.file.subvolume, range.file.inode, range.offset, range.length);
}

}  // namespace

ShareQueue::ShareQueue(std::vector<ShareGroup> groups)
    : groups_(std::move(groups)), ranges_of_(groups_.size()), unread_(groups_.size()) {
  struct Use {
    Range range;
    size_t group = 0;
    size_t at = 0;  // in ranges_of_
    bool source = false;
  };
  std::vector<Use> uses;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const ShareGroup& group = groups_[g];
    const auto add = [&](const FilePosition& position, uint64_t storage, bool source) {
      const Range range = {position.file, position.offset, group.length(), storage};
      uses.push_back({range, g, ranges_of_[g].size(), source});
      ranges_of_[g].push_back(0);
    };
    const Share& first = group.places.front();
    if (!group.move) add(first.source, first.source_storage, /*source=*/true);
    for (const Share& place : group.places) {
      add(place.destination, place.storage, /*source=*/false);
      // The others have the same storage.
      if (group.move) break;
    }
    unread_[g] = ranges_of_[g].size();
  }
  std::sort(uses.begin(), uses.end(),
            [](const Use& a, const Use& b) { return KeyOf(a.range) < KeyOf(b.range); });
  for (const Use& use : uses) {
    if (ranges_.empty() || KeyOf(ranges_.back().range) != KeyOf(use.range)) {
      ranges_.emplace_back();
      ranges_.back().range = use.range;
    }
    ranges_.back().groups.push_back(use.group);
    ranges_.back().users += use.source && !ranges_.back().kept ? 2 : 1;
    ranges_.back().kept |= use.source;
    ranges_of_[use.group][use.at] = ranges_.size() - 1;
  }
}

ShareQueue::Step ShareQueue::Next() {
  std::lock_guard<std::mutex> lock(mutex_);
  const bool enough = ready_bytes_ >= kReadyBytes || ready_places_ >= kReadyPlaces;
  if (next_range_ < ranges_.size() && !enough) {
    return {Step::Kind::kRead, next_range_++};
  }
  if (ready_.empty()) return {};
  const size_t group = ready_.front();
  ready_.pop_front();
  ready_bytes_ -= BytesOf(groups_[group]);
  ready_places_ -= groups_[group].places.size();
  return {Step::Kind::kShare, group};
}

void ShareQueue::Opened(size_t range, std::shared_ptr<const OpenFile> file, bool brought_in) {
  std::lock_guard<std::mutex> lock(mutex_);
  RangeState& state = ranges_[range];
  state.file = std::move(file);
  state.brought_in = brought_in;
  for (const size_t group : state.groups) {
    if (--unread_[group] > 0) continue;
    ready_.push_back(group);
    ready_bytes_ += BytesOf(groups_[group]);
    ready_places_ += groups_[group].places.size();
  }
}

std::shared_ptr<const OpenFile> ShareQueue::FileOf(size_t range) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return ranges_[range].file;
}

std::vector<CachedRange> ShareQueue::Done(size_t group) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<CachedRange> cached;
  for (const size_t range : ranges_of_[group]) {
    if (--ranges_[range].users == 0) LetGo(ranges_[range], cached);
  }
  return cached;
}

std::vector<CachedRange> ShareQueue::AllDone() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<CachedRange> cached;
  for (RangeState& state : ranges_) LetGo(state, cached);
  return cached;
}

void ShareQueue::LetGo(RangeState& state, std::vector<CachedRange>& cached) {
  if (state.brought_in) cached.push_back({state.file, state.range.offset, state.range.length});
  state.file.reset();
  state.brought_in = false;
}

}  // namespace cowherd
