#include "server/scan/block_index.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

constexpr size_t kMiB = 1 << 20;
// The table takes all that it may have of this: 2^15 slots of 17 bytes are half.
constexpr size_t kTightBudget = (size_t{1} << 15) * 17 * 2;

TEST(BlockIndexTest, FirstPlaceIsKept) {
  BlockIndex index(kMiB);
  const BlockIndex::FileId a = index.AddFile("a");
  const BlockIndex::FileId b = index.AddFile("b");
  EXPECT_FALSE(index.FindOrInsert(77, {a, 5}));
  EXPECT_EQ(*index.FindOrInsert(77, {b, 9}), (BlockIndex::Location{a, 5}));
  index.Replace(77, {b, 9});
  EXPECT_EQ(*index.FindOrInsert(77, {a, 1}), (BlockIndex::Location{b, 9}));
  index.Replace(78, {a, 1});  // not known: nothing happens
  EXPECT_EQ(index.entries(), 1U);
  EXPECT_EQ(index.sampling(), 0);
}

TEST(BlockIndexTest, FilesWithoutAnchorsAreForgottenAndTheirNumbersUsedAgain) {
  BlockIndex index(kMiB);
  const BlockIndex::FileId a = index.AddFile("a");
  EXPECT_EQ(index.PathOf(a), "a");
  index.ReleaseFile(a);
  EXPECT_EQ(index.PathOf(a), "");
  const BlockIndex::FileId b = index.AddFile("b");
  EXPECT_EQ(b, a);
  index.FindOrInsert(77, {b, 0});
  index.ReleaseFile(b);
  EXPECT_EQ(index.PathOf(b), "b");
  const BlockIndex::FileId c = index.AddFile("c");
  index.Replace(77, {c, 0});  // takes b's last anchor
  EXPECT_EQ(index.PathOf(b), "");
}

// What a scan of random files puts in.
void Fill(BlockIndex& index, size_t budget, uint64_t files, uint64_t blocks_each, size_t path_length) {
  std::mt19937_64 random(1);
  for (uint64_t f = 0; f < files; ++f) {
    const BlockIndex::FileId file = index.AddFile(absl::StrCat(std::string(path_length, 'p'), f));
    for (uint64_t b = 0; b < blocks_each; ++b) index.FindOrInsert(random(), {file, static_cast<uint32_t>(b)});
    index.ReleaseFile(file);
    ASSERT_LE(index.bytes(), budget) << "file " << f;
  }
}

struct FillCase {
  uint64_t files;
  uint64_t blocks_each;
  size_t path_length;
};

class BlockIndexBudgetTest : public ::testing::TestWithParam<FillCase> {};

TEST_P(BlockIndexBudgetTest, HoldsAndStaysUseful) {
  for (size_t budget : {kMiB, kTightBudget}) {
    BlockIndex index(budget);
    Fill(index, budget, GetParam().files, GetParam().blocks_each, GetParam().path_length);
    EXPECT_GT(index.sampling(), 2);
    // Still as full as its budget allows, but for the halving just done.
    EXPECT_GT(index.bytes(), budget / 10);
    EXPECT_GT(index.entries(), 20U);
  }
}

INSTANTIATE_TEST_SUITE_P(Fills, BlockIndexBudgetTest,
                         ::testing::Values(FillCase{10, 100000, 20},     // a few large files
                                           FillCase{100000, 5, 20},      // many small ones
                                           FillCase{10000, 20, 4000}));  // long paths

// First short paths, then long ones: the records of the first stay.
TEST(BlockIndexTest, BudgetHoldsWhenFilesChangeTheirNature) {
  BlockIndex index(kTightBudget);
  Fill(index, kTightBudget, 50000, 4, 4);
  Fill(index, kTightBudget, 5000, 4, 3000);
  EXPECT_GT(index.entries(), 20U);
}

// An equal run of some 2^k blocks holds an anchor wherever it starts.
TEST(BlockIndexTest, LongRunsStillHit) {
  BlockIndex index(kMiB);
  Fill(index, kMiB, 10, 40000, 20);
  const int k = index.sampling();
  ASSERT_GE(k, 4);
  std::mt19937_64 random(2);
  const BlockIndex::FileId file = index.AddFile("run");
  std::vector<Fingerprint> run(64ULL << k);
  for (Fingerprint& fingerprint : run) fingerprint = random();
  for (uint32_t b = 0; b < run.size(); ++b) index.FindOrInsert(run[b], {file, b});
  ASSERT_EQ(index.sampling(), k);
  const size_t stretch = run.size() / 8;
  for (size_t begin = 0; begin + stretch <= run.size(); begin += stretch) {
    int hits = 0;
    for (size_t b = begin; b < begin + stretch; ++b) {
      const auto hit = index.FindOrInsert(run[b], {file, 0});
      if (!hit) continue;
      EXPECT_EQ(hit->block, b);
      ++hits;
    }
    EXPECT_GT(hits, 0) << "from block " << begin;
  }
}

TEST(BlockIndexTest, SmallBudgetsAreRaisedToOneMiB) {
  BlockIndex index(0);
  Fill(index, kMiB, 1, 100000, 5);
  EXPECT_GT(index.entries(), 1000U);
}

}  // namespace
}  // namespace cowherd
