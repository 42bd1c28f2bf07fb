#include "server/scan/fragment_limit.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr FileKey kOne{5, 257};
constexpr FileKey kTwo{5, 258};

class FragmentLimitTest : public testing::Test {
 protected:
  // An extent of ten blocks that `files` have whole and that is cut into so many segments.
  static ExtentPlan Cut(const std::vector<FileKey>& files, uint64_t segments) {
    ExtentPlan plan;
    plan.extent = {0, 10 * kBlock};
    for (const FileKey& file : files) plan.references.push_back({file, 0, 0, 10 * kBlock, false, false});
    for (uint64_t i = 0; i < segments; ++i) {
      plan.segments.push_back({i * kBlock, (i + 1 == segments ? 10 - i : 1) * kBlock, i % 2 == 1, {}});
    }
    return plan;
  }

  // One that is moved as a whole.
  static ExtentPlan Moving(uint64_t length) {
    ExtentPlan plan;
    plan.extent = {0, length};
    plan.references.push_back({kOne, 0, 0, length, false, false});
    plan.segments.push_back({0, length, true, {}});
    return plan;
  }

  bool Take(const ExtentPlan& plan) {
    return limit_.Take(plan, [this](const FileKey& file) {
      ++asked_[file];
      return extents_[file];
    });
  }

  FragmentLimit limit_{10, /*may_compress=*/false};
  std::map<FileKey, uint64_t> extents_ = {{kOne, 1}, {kTwo, 1}};
  std::map<FileKey, int> asked_;
};

TEST_F(FragmentLimitTest, FilesThatAreNotSplitAreNotAskedAbout) {
  extents_[kOne] = 1000;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Take(Cut({kOne}, 1)));
  EXPECT_TRUE(asked_.empty());
}

// They are shared by several calls.
TEST_F(FragmentLimitTest, LongDuplicatesBecomeSeveralExtents) {
  constexpr uint64_t kLength = 128 << 20;
  ExtentPlan plan;
  plan.extent = {0, kLength};
  plan.references.push_back({kOne, 0, 0, kLength, false, false});
  plan.segments.push_back({0, kLength, false, {}});
  EXPECT_TRUE(Take(plan));   // 8 then
  EXPECT_FALSE(Take(plan));  // and 7 more
}

TEST_F(FragmentLimitTest, SoDoesWhatIsMovedInSeveralCalls) {
  EXPECT_TRUE(Take(Moving(160 << 20)));  // 10
  EXPECT_FALSE(Take(Moving(32 << 20)));  // one more
}

// The kernel shares what two files have and what only one has by calls of their own.
TEST_F(FragmentLimitTest, WhereOtherFilesBeginOrEndIsACut) {
  ExtentPlan plan = Moving(20 * kBlock);
  for (uint64_t block = 2; block < 20; block += 2) {
    plan.references.push_back({kTwo, block * kBlock, block * kBlock, kBlock, false, false});
  }
  EXPECT_FALSE(Take(plan));  // 18 more of the first
  plan.references.resize(5);
  EXPECT_TRUE(Take(plan));  // 8 more
  EXPECT_FALSE(Take(plan));
}

// Eight extents of 128 KiB, or nine if it does not begin with one.
TEST_F(FragmentLimitTest, WhatIsMovedMayBecomeManyCompressedExtents) {
  FragmentLimit compressed(10, /*may_compress=*/true);
  const auto take = [&](const ExtentPlan& plan) {
    return compressed.Take(plan, [this](const FileKey& file) { return extents_[file]; });
  };
  EXPECT_TRUE(take(Moving(1 << 20)));     // 9 then
  EXPECT_TRUE(take(Moving(2 * kBlock)));  // 10
  EXPECT_FALSE(take(Moving(2 * kBlock)));
  EXPECT_TRUE(take(Moving(kBlock)));
  EXPECT_TRUE(Take(Moving(1 << 20)));
  EXPECT_TRUE(Take(Moving(1 << 20)));
}

// A file that has a block of what is moved does not get the extents of all.
TEST_F(FragmentLimitTest, OnlyTheMovedPartOfAFileCounts) {
  FragmentLimit compressed(2, /*may_compress=*/true);
  ExtentPlan plan = Moving(64 << 20);
  plan.references[0].extent_offset = kBlock;
  plan.references[0].length = 2 * kBlock;
  EXPECT_TRUE(compressed.Take(plan, [](const FileKey&) { return 1; }));
}

TEST_F(FragmentLimitTest, HoldsOverAllPlans) {
  EXPECT_TRUE(Take(Cut({kOne}, 4)));
  EXPECT_TRUE(Take(Cut({kOne}, 4)));
  EXPECT_FALSE(Take(Cut({kOne}, 5)));  // 7 and 4 more
  EXPECT_TRUE(Take(Cut({kOne}, 4)));
  EXPECT_FALSE(Take(Cut({kOne}, 2)));
  EXPECT_TRUE(Take(Cut({kTwo}, 2)));
  EXPECT_EQ(asked_[kOne], 1);
}

TEST_F(FragmentLimitTest, WhatAFileHasCounts) {
  extents_[kOne] = 9;
  EXPECT_FALSE(Take(Cut({kOne}, 3)));
  EXPECT_TRUE(Take(Cut({kOne}, 2)));
}

TEST_F(FragmentLimitTest, MoreThanEnoughAlreadyOrUntold) {
  extents_[kOne] = 11;
  extents_[kTwo] = UINT64_MAX;
  EXPECT_FALSE(Take(Cut({kOne}, 2)));
  EXPECT_FALSE(Take(Cut({kTwo}, 2)));
}

// The extent goes free only if all its files give it up.
TEST_F(FragmentLimitTest, OneFileTooManyIsTooMany) {
  extents_[kTwo] = 10;
  EXPECT_FALSE(Take(Cut({kOne, kTwo}, 4)));
  // Nothing was booked for the other.
  EXPECT_TRUE(Take(Cut({kOne}, 10)));
}

TEST_F(FragmentLimitTest, OnlyTheSegmentsOfAFilesPartCount) {
  extents_[kOne] = 9;
  ExtentPlan plan = Cut({kOne}, 10);
  plan.references[0].extent_offset = 2 * kBlock;
  plan.references[0].length = 2 * kBlock;
  EXPECT_TRUE(Take(plan));
  EXPECT_FALSE(Take(plan));
}

TEST_F(FragmentLimitTest, PiecesOfASegmentCount) {
  ExtentPlan plan = Cut({kOne}, 1);
  plan.segments[0].pieces = 11;
  EXPECT_FALSE(Take(plan));
  plan.segments[0].pieces = 10;
  EXPECT_TRUE(Take(plan));
}

// Memory is bounded: what is forgotten is asked about again.
TEST_F(FragmentLimitTest, ForgetsAndAsksAgain) {
  EXPECT_TRUE(Take(Cut({kOne}, 2)));
  for (uint64_t i = 0; i < FragmentLimit::kMaxFiles; ++i) ASSERT_TRUE(Take(Cut({{7, i}}, 2)));
  EXPECT_TRUE(Take(Cut({kOne}, 2)));
  EXPECT_EQ(asked_[kOne], 2);
}

}  // namespace
}  // namespace cowherd
