#include "server/scan/row_finder.h"

#include <algorithm>

namespace cowherd {
namespace {

// Up to here RunFinder shares a row step by step.
constexpr uint64_t kLeastRow = 9;
// The part of a row that is kept, and the most: shorter pieces would be many extents.
constexpr uint64_t kKeptPart = 8;
constexpr uint64_t kMostKept = 256;
// One that could be so many times longer takes the place of what is kept.
constexpr uint64_t kMuchLonger = 8;
constexpr size_t kMaxKinds = 1 << 14;

}  // namespace

std::vector<BlockRun> RowFinder::Take(uint64_t address, std::vector<uint64_t>& fingerprints) {
  std::vector<BlockRun> runs;
  for (uint64_t block = 0; block < fingerprints.size();) {
    const uint64_t fingerprint = fingerprints[block];
    uint64_t end = block + 1;
    while (end < fingerprints.size() && fingerprints[end] == fingerprint) ++end;
    const uint64_t row = end - block;
    uint64_t at = block;
    block = end;
    if (fingerprint == 0 || row < kLeastRow) continue;
    auto kept = kept_.find(fingerprint);
    if (kept == kept_.end() && kept_.size() >= kMaxKinds) continue;
    const uint64_t could_keep = std::clamp(row / kKeptPart, min_blocks_, std::max(min_blocks_, kMostKept));
    if (row >= could_keep && (kept == kept_.end() || could_keep >= kept->second.blocks * kMuchLonger)) {
      kept = kept_.insert_or_assign(fingerprint, Kept{address, at, could_keep}).first;
      at += could_keep;
    }
    if (kept == kept_.end()) continue;  // shorter than the least length
    std::fill(fingerprints.begin() + static_cast<ptrdiff_t>(end - row),
              fingerprints.begin() + static_cast<ptrdiff_t>(end), 0);
    while (end - at >= min_blocks_ && at < end) {
      const uint64_t blocks = std::min(kept->second.blocks, end - at);
      runs.push_back({at, kept->second.address, kept->second.block, blocks});
      at += blocks;
    }
  }
  return runs;
}

}  // namespace cowherd
