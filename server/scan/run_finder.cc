#include "server/scan/run_finder.h"

#include <xxhash.h>

#include <algorithm>

namespace cowherd {
namespace {

// btrfs' extents have 128 MiB at most (BTRFS_MAX_EXTENT_SIZE); later blocks of longer ones are not indexed.
constexpr uint64_t kMaxBlock = 0xffff;
// Equal blocks in a row (zeros mostly) are shared by so many at a time...
constexpr uint64_t kConstantRun = 256;
// ...and a row this many times longer than the one known takes its place, so that few such steps are made.
constexpr uint64_t kLongerRow = 8;

}  // namespace

uint64_t RunFinder::KeyOf(absl::Span<const uint64_t> checksums, size_t block) const {
  uint64_t words[2] = {checksums[block], 0};
  if (words[0] == 0) return 0;
  if (pairs_ && checksums.size() > 1) {
    if (block + 1 == checksums.size() || checksums[block + 1] == 0) return 0;
    words[1] = checksums[block + 1];
  }
  const uint64_t key = XXH3_64bits(words, sizeof(words));
  return key == 0 ? 1 : key;
}

std::vector<BlockRun> RunFinder::Find(uint64_t address, absl::Span<const uint64_t> checksums,
                                      ChecksumsOf checksums_of, bool keep) {
  std::vector<BlockRun> runs;
  const uint64_t blocks = std::min<uint64_t>(checksums.size(), kMaxBlock + 1);
  uint64_t floor = 0;
  uint64_t key = 0;
  uint64_t here = 0;
  absl::optional<uint64_t> seen;
  const auto look_up = [&](uint64_t block) {
    key = KeyOf(checksums, block);
    here = Pack(address, block);
    seen = absl::nullopt;
    if (key != 0) seen = keep ? anchors_.FindOrInsert(key, here) : anchors_.Find(key);
    if (seen && *seen == here) seen = absl::nullopt;
    return seen.has_value();
  };
  for (uint64_t block = 0; block < blocks;) {
    // A block behind a run may have its only equal neighbour in that.
    const bool behind_a_run = pairs_ && block > 0 && block == floor;
    uint64_t first = block;
    if (!look_up(block) && behind_a_run) look_up(first = block - 1);
    if (!seen) {
      ++block;
      continue;
    }
    BlockRun run{first, (*seen >> 16) * block_size_, *seen & kMaxBlock, 0};
    const bool same = run.source_extent == address;
    const absl::optional<absl::Span<const uint64_t>> told =
        same ? checksums : checksums_of(run.source_extent);
    if (!told) {
      ++block;
      continue;
    }
    const absl::Span<const uint64_t> source = *told;
    // Within one extent the two stretches do not overlap, and the source comes first.
    const uint64_t most = same ? (run.source_block < first ? first - run.source_block : 0) : UINT64_MAX;
    const auto equal = [&](uint64_t s, uint64_t b) {
      return s < source.size() && source[s] != 0 && source[s] == checksums[b];
    };
    while (run.blocks < most && first + run.blocks < checksums.size() &&
           equal(run.source_block + run.blocks, first + run.blocks)) {
      ++run.blocks;
    }
    if (first < block && run.blocks > 0) {
      ++run.block;
      ++run.source_block;
      --run.blocks;
    }
    if (run.blocks == 0) {
      // What was there is gone, or was another's checksum.
      if (keep) anchors_.Put(key, here);
      ++block;
      continue;
    }
    const uint64_t end = block + run.blocks;
    if (run.blocks < kConstantRun) {
      uint64_t row = 1;
      while (row < kConstantRun && block + row < checksums.size() &&
             checksums[block + row] == checksums[block]) {
        ++row;
      }
      if (row > run.blocks * kLongerRow) {
        if (keep) anchors_.Put(key, here);
        block += row;
        continue;
      }
    }
    while (run.blocks < most && run.block > floor && run.source_block > 0 &&
           equal(run.source_block - 1, run.block - 1)) {
      --run.block;
      --run.source_block;
      ++run.blocks;
    }
    runs.push_back(run);
    block = floor = end;
  }
  return runs;
}

void RunFinder::Prefer(uint64_t address, absl::Span<const uint64_t> checksums, uint64_t first,
                       uint64_t last) {
  const uint64_t blocks = std::min({checksums.size(), kMaxBlock + 1, last});
  for (uint64_t block = first; block < blocks; ++block) {
    if (const uint64_t key = KeyOf(checksums, block); key != 0) anchors_.Put(key, Pack(address, block));
  }
}

}  // namespace cowherd
