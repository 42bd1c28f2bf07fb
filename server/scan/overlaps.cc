#include "server/scan/overlaps.h"

#include <algorithm>
#include <cstddef>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/scan/storage_set.h"

namespace cowherd {
namespace {

// Extents that overlap lie along one line: at one place of it all hold the same.
class Lines {
 public:
  struct Extent {
    uint64_t address = 0;
    uint64_t blocks = 0;          // 0: it stays anyway
    uint64_t live = 0;            // blocks that files refer to
    StorageSet shared{SIZE_MAX};  // blocks of it that others hold too
    // Of the line that it lies on, as a forest: another extent on it, and where block 0 lies behind that
    // one's.
    size_t parent = 0;
    int64_t shift = 0;
  };

  void Add(const ExtentOverlap& overlap) {
    const size_t extent = IndexOf(overlap.extent);
    const size_t by = IndexOf(overlap.by);
    extents_[extent].blocks = overlap.extent_blocks;
    extents_[extent].live = overlap.live_blocks;
    const auto [line, at] = LineOf(extent);
    const auto [line_of_by, at_of_by] = LineOf(by);
    const int64_t shift =
        at + static_cast<int64_t>(overlap.block) - at_of_by - static_cast<int64_t>(overlap.by_block);
    if (line == line_of_by) {
      // They lie beside each other at another place already.
      if (shift != 0) return;
    } else {
      extents_[line_of_by].parent = line;
      extents_[line_of_by].shift = shift;
    }
    extents_[extent].shared.Add(overlap.block, overlap.block + overlap.blocks);
    extents_[by].shared.Add(overlap.by_block, overlap.by_block + overlap.blocks);
  }

  size_t size() const { return extents_.size(); }
  const Extent& extent(size_t index) const { return extents_[index]; }

  // Where its block 0 lies, on all lines together.
  uint64_t PlaceOf(size_t index) {
    const auto [line, at] = LineOf(index);
    // An extent has at most 2^16 blocks, and there are fewer than 2^20.
    return (static_cast<uint64_t>(2 * line + 1) << 36) + static_cast<uint64_t>(at);
  }

 private:
  size_t IndexOf(uint64_t address) {
    const auto [known, is_new] = indexes_.try_emplace(address, extents_.size());
    if (is_new) {
      extents_.emplace_back();
      extents_.back().address = address;
      extents_.back().parent = known->second;
    }
    return known->second;
  }

  // The extent that the line is named after, and where this one's block 0 lies behind that one's.
  std::pair<size_t, int64_t> LineOf(size_t index) {
    size_t line = index;
    int64_t at = 0;
    for (; extents_[line].parent != line; line = extents_[line].parent) at += extents_[line].shift;
    // The way is short the next time.
    for (int64_t left = at; index != line;) {
      Extent& extent = extents_[index];
      index = std::exchange(extent.parent, line);
      left -= std::exchange(extent.shift, left);
    }
    return {line, at};
  }

  absl::flat_hash_map<uint64_t, size_t> indexes_;  // by address
  std::vector<Extent> extents_;
};

}  // namespace

absl::flat_hash_set<uint64_t> ExtentsToKeep(std::vector<ExtentOverlap> overlaps, uint64_t freed_per_moved) {
  std::stable_sort(overlaps.begin(), overlaps.end(),
                   [](const ExtentOverlap& a, const ExtentOverlap& b) { return a.blocks > b.blocks; });
  Lines lines;
  for (const ExtentOverlap& overlap : overlaps) lines.Add(overlap);
  StorageSet kept(SIZE_MAX);  // places
  absl::flat_hash_set<uint64_t> to_keep;
  const auto own_of = [](const Lines::Extent& extent) {
    return extent.live - std::min(extent.live, extent.shared.LengthWithin(0, UINT64_MAX));
  };
  const auto keep = [&](size_t index) {
    const Lines::Extent& extent = lines.extent(index);
    const uint64_t place = lines.PlaceOf(index);
    for (const auto& [begin, end] : extent.shared.ranges()) kept.Add(place + begin, place + end);
    to_keep.insert(extent.address);
  };
  const auto is_little = [freed_per_moved](const Lines::Extent& extent, uint64_t blocks) {
    return blocks < extent.blocks && blocks * freed_per_moved <= extent.blocks;
  };
  // Of the extent, what nothing else that stays holds.
  const auto alone_of = [&](size_t index) {
    const Lines::Extent& extent = lines.extent(index);
    const uint64_t place = lines.PlaceOf(index);
    uint64_t alone = own_of(extent);
    for (const auto& [begin, end] : extent.shared.ranges())
      alone += end - begin - kept.LengthWithin(place + begin, place + end);
    return std::min(alone, extent.live);
  };
  struct Candidate {
    double part = 0;  // that nothing else that stays holds
    uint64_t blocks = 0;
    size_t index = 0;
    bool operator<(const Candidate& other) const {
      return std::tie(part, blocks, other.index) < std::tie(other.part, other.blocks, index);
    }
  };
  std::priority_queue<Candidate> candidates;
  for (size_t index = 0; index < lines.size(); ++index) {
    const Lines::Extent& extent = lines.extent(index);
    if (extent.blocks == 0 || !is_little(extent, own_of(extent))) {
      keep(index);
    } else {
      candidates.push({1, extent.blocks, index});
    }
  }
  while (!candidates.empty()) {
    Candidate first = candidates.top();
    candidates.pop();
    const uint64_t alone = alone_of(first.index);
    if (is_little(lines.extent(first.index), alone)) continue;
    const double part = static_cast<double>(alone) / static_cast<double>(first.blocks);
    if (part < first.part) {
      // It gets less with each that stays.
      first.part = part;
      candidates.push(first);
    } else {
      keep(first.index);
    }
  }
  return to_keep;
}

}  // namespace cowherd
