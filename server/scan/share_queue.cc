#include "server/scan/share_queue.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace cowherd {
namespace {

// So much is read ahead of what is shared.
constexpr uint64_t kReadyBytes = 64 << 20;
constexpr size_t kReadyPlaces = 256;
// So much is begun ahead of what is waited for: one after the other, each range would take the disk's
// latency. More would keep the disk from others for longer.
constexpr uint64_t kBegunBytes = 8 << 20;
constexpr size_t kBegunRanges = 128;
// A request of its own for each short range takes the processor longer.
constexpr uint64_t kMaxTogether = 1 << 20;
// Groups are read together until they are so much, and so much for each of their ranges: to go to and fro
// between windows costs a disk as much as to read some 1 MiB.
constexpr uint64_t kWindowBytes = 32 << 20;
constexpr uint64_t kWindowBytesOfRange = 1 << 20;

auto KeyOf(const ShareQueue::Range& range) {
  return std::tie(range.storage, range.file.subvolume, range.file.inode, range.offset, range.length);
}

}  // namespace

ShareQueue::ShareQueue(std::vector<ShareGroup> groups, uint64_t together)
    : groups_(std::move(groups)),
      together_(std::min(together, kMaxTogether)),
      ranges_of_(groups_.size()),
      unread_(groups_.size()) {
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
  std::sort(uses.begin(), uses.end(), [](const Use& a, const Use& b) {
    return std::tuple_cat(KeyOf(a.range), std::tie(a.group)) <
           std::tuple_cat(KeyOf(b.range), std::tie(b.group));
  });
  for (const Use& use : uses) {
    if (ranges_.empty() || KeyOf(ranges_.back().range) != KeyOf(use.range)) {
      ranges_.emplace_back();
      ranges_.back().range = use.range;
    }
    ranges_.back().groups.push_back(use.group);
    ranges_.back().source |= use.source;
    ++ranges_.back().users;
    ranges_of_[use.group][use.at] = ranges_.size() - 1;
  }
  KeepSourcesThatOverlap();
  OrderByWindow();
}

void ShareQueue::KeepSourcesThatOverlap() {
  std::vector<RangeState*> sources;
  for (RangeState& state : ranges_) {
    if (state.source) sources.push_back(&state);
  }
  std::sort(sources.begin(), sources.end(), [](const RangeState* a, const RangeState* b) {
    return std::tie(a->range.file, a->range.offset) < std::tie(b->range.file, b->range.offset);
  });
  const auto end = [](const RangeState& state) { return state.range.offset + state.range.length; };
  RangeState* furthest = nullptr;  // of those of the file that were passed
  for (RangeState* const state : sources) {
    const bool same_file = furthest != nullptr && furthest->range.file == state->range.file;
    if (same_file && state->range.offset < end(*furthest)) furthest->kept = state->kept = true;
    if (!same_file || end(*state) > end(*furthest)) furthest = state;
  }
  for (RangeState& state : ranges_) state.users += state.kept ? 1 : 0;
}

void ShareQueue::OrderByWindow() {
  std::vector<size_t> windows;  // of groups
  uint64_t bytes = 0;
  uint64_t ranges = 0;
  size_t window = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    windows.push_back(window);
    bytes += BytesOf(groups_[g]);
    ranges += ranges_of_[g].size();
    if (bytes < std::max(kWindowBytes, ranges * kWindowBytesOfRange)) continue;
    ++window;
    bytes = ranges = 0;
  }
  std::vector<size_t> order(ranges_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return windows[ranges_[a].groups.front()] < windows[ranges_[b].groups.front()];
  });
  std::vector<RangeState> ordered;
  std::vector<size_t> place(order.size());
  for (const size_t range : order) {
    place[range] = ordered.size();
    ordered.push_back(std::move(ranges_[range]));
  }
  ranges_ = std::move(ordered);
  for (std::vector<size_t>& of_group : ranges_of_) {
    for (size_t& range : of_group) range = place[range];
  }
}

ShareQueue::Step ShareQueue::Next() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (ready_bytes_ < kReadyBytes && ready_places_ < kReadyPlaces) {
      if (next_range_ < ranges_.size() && bytes_on_their_way_ < kBegunBytes &&
          ranges_on_their_way_ < kBegunRanges) {
        const uint64_t length = ranges_[next_range_].range.length;
        if (length < kLongRange || !begins_long_range_) {
          begins_long_range_ |= length >= kLongRange;
          const Step step = {Step::Kind::kBegin, next_range_, CountTogether()};
          ranges_on_their_way_ += step.count;
          for (const size_t end = step.index + step.count; next_range_ < end; ++next_range_)
            bytes_on_their_way_ += std::min(ranges_[next_range_].range.length, kMaxBegunOfRange);
          return step;
        }
      }
      if (!begun_.empty() && !awaits_) {
        const size_t range = begun_.front();
        begun_.pop_front();
        awaits_ = true;
        return {Step::Kind::kAwait, range};
      }
    }
    if (!ready_.empty()) break;
    if (next_range_ == ranges_.size() && ranges_on_their_way_ == 0) return {};
    changed_.wait(lock);
  }
  const size_t group = ready_.front();
  ready_.pop_front();
  ready_bytes_ -= BytesOf(groups_[group]);
  ready_places_ -= groups_[group].places.size();
  return {Step::Kind::kShare, group};
}

size_t ShareQueue::CountTogether() const {
  const Range& first = ranges_[next_range_].range;
  uint64_t length = first.length;
  size_t count = 1;
  for (; first.length < kLongRange && next_range_ + count < ranges_.size(); ++count) {
    const Range& next = ranges_[next_range_ + count].range;
    const bool follows = next.file == first.file && next.offset == first.offset + length;
    if (!follows || next.length >= kLongRange || length + next.length > together_) break;
    length += next.length;
  }
  return count;
}

void ShareQueue::Begun(size_t range, std::shared_ptr<const OpenFile> file, uint64_t read, uint64_t cached) {
  std::lock_guard<std::mutex> lock(mutex_);
  RangeState& state = ranges_[range];
  if (state.range.length >= kLongRange) begins_long_range_ = false;
  state.file = std::move(file);
  state.read = read;
  const uint64_t begin = state.range.offset;
  const uint64_t end = begin + state.range.length;
  const auto others = brought_in_.find(state.range.file);
  if (others != brought_in_.end()) {
    cached -= std::min(cached, others->second.LengthWithin(begin, end));
  }
  state.brought_in = state.file != nullptr && cached * 2 <= state.range.length;
  if (state.brought_in && state.kept)
    brought_in_.try_emplace(state.range.file, SIZE_MAX).first->second.Add(begin, end);
  if (state.file != nullptr && read < state.range.length) {
    begun_.push_back(range);
    changed_.notify_all();
  } else {
    Ready(range);
  }
}

uint64_t ShareQueue::ReadOf(size_t range) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return ranges_[range].read;
}

void ShareQueue::Arrived(size_t range) {
  std::lock_guard<std::mutex> lock(mutex_);
  awaits_ = false;
  Ready(range);
}

void ShareQueue::Ready(size_t range) {
  const RangeState& state = ranges_[range];
  --ranges_on_their_way_;
  bytes_on_their_way_ -= std::min(state.range.length, kMaxBegunOfRange);
  for (const size_t group : state.groups) {
    if (--unread_[group] > 0) continue;
    ready_.push_back(group);
    ready_bytes_ += BytesOf(groups_[group]);
    ready_places_ += groups_[group].places.size();
  }
  changed_.notify_all();
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
