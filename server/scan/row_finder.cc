#include "server/scan/row_finder.h"

#include <algorithm>

namespace cowherd {
namespace {

// Up to here RunFinder shares a row step by step.
constexpr uint64_t kLeastRow = 9;
// The part of the first row that is kept, and the most of any: short pieces are many extents and many steps.
constexpr uint64_t kKeptPart = 8;
constexpr uint64_t kMostKept = 256;
// Up to half of a later row takes the place of what is kept if it is so many times longer, once so many times
// as much was seen of its kind that it makes no odds.
constexpr uint64_t kLonger = 2;
constexpr uint64_t kSeenForKept = 16;
constexpr size_t kMaxKinds = 1 << 14;

}  // namespace

std::vector<BlockRun> RowFinder::Take(uint64_t address, std::vector<uint64_t>& fingerprints,
                                      IsShared is_shared) {
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
    const auto part = [&](uint64_t blocks) {
      return std::clamp(blocks, min_blocks_, std::max(min_blocks_, kMostKept));
    };
    uint64_t keep = 0;
    const bool whole = row >= min_blocks_ && row <= kMostKept && is_shared(at, end);
    if (kept == kept_.end()) {
      keep = whole ? row : part(row / kKeptPart);
    } else if (whole) {
      kept->second.seen += row;
      if (row >= kept->second.blocks * kLonger) keep = row;
    } else {
      kept->second.seen += row;
      const uint64_t longer = part(row / 2);
      if (longer >= kept->second.blocks * kLonger && longer * kSeenForKept <= kept->second.seen)
        keep = longer;
    }
    if (keep > 0 && keep <= row) {
      const uint64_t seen = kept == kept_.end() ? row : kept->second.seen;
      kept = kept_.insert_or_assign(fingerprint, Kept{address, at, keep, seen}).first;
      at += keep;
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

bool RowFinder::IsWithinRow(const BlockRun& run, uint64_t address, absl::Span<const uint64_t> fingerprints) {
  if (run.source_extent != address || run.source_block >= run.block) return false;
  const auto row = fingerprints.subspan(run.source_block, run.block + run.blocks - run.source_block);
  return std::all_of(row.begin(), row.end(), [&](uint64_t fingerprint) { return fingerprint == row[0]; });
}

}  // namespace cowherd
