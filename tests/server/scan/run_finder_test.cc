#include "server/scan/run_finder.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <map>
#include <memory>
#include <vector>

namespace cowherd {
namespace {

constexpr uint32_t kBlock = 4096;

class RunFinderTest : public testing::Test {
 protected:
  std::vector<BlockRun> Find(uint64_t address, std::vector<uint64_t> checksums, unsigned bits = 32) {
    if (!finder_) finder_ = std::make_unique<RunFinder>(1 << 20, kBlock, bits);
    address *= kBlock;
    std::vector<BlockRun> runs = finder_->Find(address, checksums, [this](uint64_t earlier) {
      const auto found = extents_.find(earlier);
      return found == extents_.end() ? absl::Span<const uint64_t>() : absl::MakeConstSpan(found->second);
    });
    extents_[address] = std::move(checksums);
    return runs;
  }
  void Forget(uint64_t address) { extents_.erase(address * kBlock); }

  static void Expect(const BlockRun& run, uint64_t block, uint64_t source, uint64_t source_block,
                     uint64_t blocks) {
    EXPECT_EQ(run.block, block);
    EXPECT_EQ(run.source_extent, source * kBlock);
    EXPECT_EQ(run.source_block, source_block);
    EXPECT_EQ(run.blocks, blocks);
  }

  std::unique_ptr<RunFinder> finder_;
  std::map<uint64_t, std::vector<uint64_t>> extents_;
};

TEST_F(RunFinderTest, WholeAndShiftedCopies) {
  EXPECT_TRUE(Find(100, {1, 2, 3, 4, 5}).empty());
  const auto whole = Find(200, {1, 2, 3, 4, 5});
  ASSERT_EQ(whole.size(), 1u);
  Expect(whole[0], 0, 100, 0, 5);
  const auto shifted = Find(300, {9, 2, 3, 4, 8});
  ASSERT_EQ(shifted.size(), 1u);
  Expect(shifted[0], 1, 100, 1, 3);
}

// As when a scan is stopped, or the disk fails.
TEST_F(RunFinderTest, WhatCannotBeToldNowIsNotForgotten) {
  Find(100, {1, 2, 3, 4, 5});
  const auto none = finder_->Find(200 * kBlock, std::vector<uint64_t>{1, 2, 3, 4, 5},
                                  [](uint64_t) { return absl::nullopt; });
  EXPECT_TRUE(none.empty());
  const auto runs = Find(300, {1, 2, 3, 4, 5});
  ASSERT_EQ(runs.size(), 1u);
  Expect(runs[0], 0, 100, 0, 5);
}

TEST_F(RunFinderTest, ChangedBlockSplitsARun) {
  Find(100, {1, 2, 3, 4, 5, 6});
  const auto runs = Find(200, {1, 2, 99, 4, 5, 6});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 0, 100, 0, 2);
  Expect(runs[1], 3, 100, 3, 3);
}

// The first one has the beginning, and only the second one all of it.
TEST_F(RunFinderTest, ACopyIsCutWhereAnEarlierExtentIsTheSourceOfItsBeginning) {
  Find(100, {1, 2, 3, 4, 5, 6});
  Find(200, {1, 2, 3, 7, 8, 9});
  const auto runs = Find(300, {1, 2, 3, 7, 8, 9});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 0, 100, 0, 3);
  Expect(runs[1], 3, 200, 3, 3);
}

// The last block of the second one has no neighbour behind it, and the one before it is of the first one.
TEST_F(RunFinderTest, ABlockBehindARunIsFoundByItsNeighbourInTheRun) {
  Find(100, {1, 2, 3, 4});
  Find(200, {1, 2, 3, 5});
  Find(300, {1, 2, 9, 4});
  auto runs = Find(400, {1, 2, 3, 5});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 0, 100, 0, 3);
  Expect(runs[1], 3, 200, 3, 1);
  runs = Find(500, {1, 2, 9, 8});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 0, 100, 0, 2);
  Expect(runs[1], 2, 300, 2, 1);
  Forget(200);
  Find(600, {1, 2, 3, 5});
  runs = Find(700, {1, 2, 3, 5});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[1], 3, 600, 3, 1);
}

TEST_F(RunFinderTest, LoneBlocksCountOnlyWithLongChecksumsOrAsWholeExtents) {
  Find(100, {1, 2, 3});
  EXPECT_TRUE(Find(200, {7, 2, 8}).empty());
  EXPECT_TRUE(Find(300, {2}).empty());
  const auto single = Find(400, {2});
  ASSERT_EQ(single.size(), 1u);
  Expect(single[0], 0, 300, 0, 1);
}

TEST_F(RunFinderTest, LongChecksumsMatchSingleBlocks) {
  Find(100, {1, 2, 3}, 64);
  const auto runs = Find(200, {7, 2, 8}, 64);
  ASSERT_EQ(runs.size(), 1u);
  Expect(runs[0], 1, 100, 1, 1);
}

TEST_F(RunFinderTest, WithinOneExtentTheEarlierStretchIsTheSource) {
  const auto runs = Find(100, {1, 2, 3, 1, 2, 3, 1, 2, 3});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 3, 100, 0, 3);
  Expect(runs[1], 6, 100, 0, 3);
}

TEST_F(RunFinderTest, BlocksWithoutChecksumsNeverMatch) {
  Find(100, {0, 0, 1, 2, 0});
  const auto runs = Find(200, {0, 0, 1, 2, 0});
  ASSERT_EQ(runs.size(), 1u);
  Expect(runs[0], 2, 100, 2, 2);
}

TEST_F(RunFinderTest, WhatIsGoneIsReplaced) {
  Find(100, {1, 2, 3});
  Forget(100);
  EXPECT_TRUE(Find(200, {1, 2, 3}).empty());
  const auto runs = Find(300, {1, 2, 3});
  ASSERT_EQ(runs.size(), 1u);
  Expect(runs[0], 0, 200, 0, 3);
}

TEST_F(RunFinderTest, PreferredExtentsAreTheSource) {
  Find(100, {1, 2, 3});
  const std::vector<uint64_t> moved = {1, 2, 3};
  extents_[50 * kBlock] = moved;
  finder_->Prefer(50 * kBlock, moved);
  const auto runs = Find(200, {1, 2, 3});
  ASSERT_EQ(runs.size(), 1u);
  Expect(runs[0], 0, 50, 0, 3);
}

TEST_F(RunFinderTest, APreferredPartIsTheSourceOfThatPart) {
  Find(100, {1, 2, 3, 4, 5, 6});
  Find(200, {1, 2, 3, 4, 5, 6});
  finder_->Prefer(200 * kBlock, extents_[200 * kBlock], 2, 4);
  extents_[100 * kBlock] = {1, 2, 0, 0, 5, 6};
  const auto runs = Find(300, {1, 2, 3, 4, 5, 6});
  ASSERT_EQ(runs.size(), 2u);
  Expect(runs[0], 0, 100, 0, 2);
  Expect(runs[1], 2, 200, 2, 4);
}

// A long row of equal blocks must not be cut into pieces as short as the first one seen.
TEST_F(RunFinderTest, LongRowsOfEqualBlocksTakeFewSteps) {
  Find(100, {7, 7, 1});
  const auto runs = Find(200, std::vector<uint64_t>(10000, 7));
  EXPECT_LE(runs.size(), 40u);
  uint64_t covered = 0;
  for (const BlockRun& run : runs) covered += run.blocks;
  EXPECT_GE(covered, 10000u - 256);
}

// Of 4.9 million blocks, an index of 49,152 entries keeps one of 128.
TEST(RunFinderScaleTest, LongRunsAreFoundWithASmallIndex) {
  constexpr size_t kBudget = 1 << 20;
  constexpr int kSampling = 7;
  constexpr uint64_t kExtentBlocks = 8192;
  constexpr uint64_t kExtents = 600;
  const std::vector<uint64_t> lengths = {8, 1 << kSampling, 8 << kSampling};
  // Every other extent has a run of one before it, at another place. All else is unique.
  const auto length_in = [&](uint64_t extent) {
    return extent % 2 == 0 ? 0 : lengths[extent / 2 % lengths.size()];
  };
  const auto place_in = [](uint64_t extent) { return extent * 997 % (kExtentBlocks / 2); };
  const auto source_of = [](uint64_t extent) { return extent * 31 % (extent + 1) / 2 * 2; };
  const auto checksums_of = [&](uint64_t extent) {
    std::vector<uint64_t> checksums(kExtentBlocks);
    const auto fill = [&](uint64_t first, uint64_t blocks, uint64_t from) {
      for (uint64_t i = 0; i < blocks; ++i) {
        const uint64_t block = from + i;
        checksums[first + i] = XXH3_64bits(&block, sizeof(block)) & 0xffffffff;
      }
    };
    fill(0, kExtentBlocks, extent * kExtentBlocks);
    fill(place_in(extent), length_in(extent), source_of(extent) * kExtentBlocks + kExtentBlocks / 3);
    return checksums;
  };
  RunFinder finder(kBudget, kBlock, 32);
  std::map<uint64_t, int> found;  // by length
  uint64_t candidates = 0;
  uint64_t runs_found = 0;
  std::vector<uint64_t> source;
  for (uint64_t extent = 0; extent < kExtents; ++extent) {
    const std::vector<uint64_t> checksums = checksums_of(extent);
    const auto runs = finder.Find(extent * kExtentBlocks * kBlock, checksums, [&](uint64_t address) {
      ++candidates;
      source = checksums_of(address / kBlock / kExtentBlocks);
      return absl::MakeConstSpan(source);
    });
    for (const BlockRun& run : runs) {
      ++runs_found;
      EXPECT_EQ(run.block, place_in(extent));
      EXPECT_EQ(run.blocks, length_in(extent));
      ++found[run.blocks];
    }
  }
  const AnchorTable& anchors = finder.anchors();
  EXPECT_LE(anchors.bytes(), kBudget);
  EXPECT_LE(anchors.entries() * 4, kBudget / 16 * 3);
  EXPECT_EQ(anchors.sampling(), kSampling);
  EXPECT_EQ(candidates, runs_found);
  // Of 100 each.
  EXPECT_LT(found[8], 20);
  EXPECT_GE(found[1 << kSampling], 60);
  EXPECT_GE(found[8 << kSampling], 99);
}

}  // namespace
}  // namespace cowherd
