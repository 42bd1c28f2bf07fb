#include "server/scan/run_finder.h"

#include <gtest/gtest.h>

#include <map>
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

}  // namespace
}  // namespace cowherd
