#include "server/scan/extent_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr FileKey kOne{5, 257};
constexpr FileKey kTwo{5, 258};
constexpr FileKey kThree{5, 259};

class ExtentPlanTest : public testing::Test {
 protected:
  // An extent of which a file has all, from its beginning.
  ExtentUse& Add(uint64_t address, uint64_t blocks, FileKey file) {
    ExtentUse& use = uses_[address];
    use.extent = {address, blocks * kBlock};
    use.references = {{file, 0, 0, blocks * kBlock, false, false}};
    use.all = true;
    return use;
  }

  ExtentVerdict Plan(uint64_t address, const std::vector<BlockRun>& runs) {
    return planner_.Plan(
        uses_.at(address), runs,
        [this, address](uint64_t source) {
          return copies_.count({address, source}) > 0;
        },
        [this](uint64_t source) -> const ExtentUse* {
          const auto found = uses_.find(source);
          return found == uses_.end() ? nullptr : &found->second;
        },
        [this](const ExtentPlan&) { return may_split_; });
  }

  const ExtentPlan& Planned(uint64_t address) { return planner_.batch().at(address); }

  static void ExpectShare(const Segment& s, uint64_t block, uint64_t blocks, FileKey file,
                          uint64_t source_block) {
    EXPECT_FALSE(s.move);
    EXPECT_EQ(s.offset, block * kBlock);
    EXPECT_EQ(s.length, blocks * kBlock);
    EXPECT_EQ(s.source.file, file);
    EXPECT_EQ(s.source.offset, source_block * kBlock);
  }
  static void ExpectMove(const Segment& s, uint64_t block, uint64_t blocks) {
    EXPECT_TRUE(s.move);
    EXPECT_EQ(s.offset, block * kBlock);
    EXPECT_EQ(s.length, blocks * kBlock);
  }

  // A compressed extent, of 32 blocks as its file sees them.
  ExtentUse& AddCompressed(uint64_t address, uint64_t blocks, FileKey file) {
    ExtentUse& use = Add(address, blocks, file);
    use.references[0].length = 32 * kBlock;
    use.references[0].encoded = true;
    return use;
  }

  std::map<uint64_t, ExtentUse> uses_;
  std::set<std::pair<uint64_t, uint64_t>> copies_;  // of compressed extents, and what they are copies of
  bool may_split_ = true;
  ExtentPlanner planner_{PlanOptions()};
};

TEST_F(ExtentPlanTest, WholeDuplicate) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 1u);
  ExpectShare(Planned(2000).segments[0], 0, 10, kOne, 0);
  EXPECT_EQ(Planned(2000).duplicate_bytes, 10 * kBlock);
  EXPECT_EQ(Planned(2000).moved_bytes, 0u);
}

// As a file has it that many snapshots keep, of which each block was changed since.
TEST_F(ExtentPlanTest, PlacesAreCountedByPart) {
  constexpr uint64_t kBlocks = 100;
  Add(1000, kBlocks, kOne);
  ExtentUse& use = Add(2000, kBlocks, kTwo);
  for (uint64_t block = 0; block < kBlocks; ++block) {
    use.references.push_back({kThree, block * kBlock, block * kBlock, kBlock});
  }
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, kBlocks}}), ExtentVerdict::kPlanned);
  EXPECT_EQ(planner_.places(), 2 * kBlocks);
  const std::vector<PlanPart> parts = PartsOf(Planned(2000));
  ASSERT_EQ(parts.size(), kBlocks);
  EXPECT_EQ(PartsOf(parts, use.references[0]).size(), kBlocks);
  const absl::Span<const PlanPart> last = PartsOf(parts, use.references[kBlocks]);
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].segment, 0u);
  EXPECT_EQ(last[0].begin, (kBlocks - 1) * kBlock);
  EXPECT_EQ(last[0].end, kBlocks * kBlock);
  planner_.NextBatch();
  for (uint32_t snapshot = 0; snapshot < 700; ++snapshot) {
    use.references.push_back({{300 + snapshot, 257}, 0, 0, kBlocks * kBlock});
  }
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, kBlocks}}), ExtentVerdict::kHeldOutside);
}

TEST_F(ExtentPlanTest, ASourceThatNoFileHasIsTold) {
  Add(1000, 10, kOne).references = {{kOne, 0, 0, 4 * kBlock, false, false},
                                    {kOne, 6 * kBlock, 6 * kBlock, 4 * kBlock, false, false}};
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(planner_.sourceless().size(), 1u);
  const ExtentPlanner::Part& part = planner_.sourceless()[0];
  EXPECT_EQ(part.begin, 4 * kBlock);
  EXPECT_EQ(part.end, 6 * kBlock);
  EXPECT_EQ(part.source_extent, 1000u);
  EXPECT_EQ(part.source_begin, 4 * kBlock);
  Add(3000, 10, kThree);
  Plan(3000, {});
  EXPECT_TRUE(planner_.sourceless().empty());
  // Nobody knows whether a file has it.
  Add(4000, 10, kOne).told = false;
  EXPECT_EQ(Plan(3000, {{0, 4000, 0, 10}}), ExtentVerdict::kLittle);
  EXPECT_TRUE(planner_.sourceless().empty());
}

TEST_F(ExtentPlanTest, WhoIsNotToldIsTakenForOthers) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo).told = false;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kHeldOutside);
}

TEST_F(ExtentPlanTest, MovingAllOfItWinsNothingAtAnyRatio) {
  PlanOptions options;
  options.freed_per_moved = 1;
  options.min_length = 4 * kBlock;
  ExtentPlanner planner(options);
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  const auto use_of = [this](uint64_t address) -> const ExtentUse* { return &uses_.at(address); };
  const auto is_copy = [](uint64_t) { return false; };
  const auto may_split = [](const ExtentPlan&) { return true; };
  const auto plan = [&](const std::vector<BlockRun>& runs) {
    return planner.Plan(uses_.at(2000), runs, is_copy, use_of, may_split);
  };
  EXPECT_EQ(plan({{0, 1000, 0, 2}}), ExtentVerdict::kLittle);
  EXPECT_EQ(plan({{0, 1000, 0, 4}}), ExtentVerdict::kPlanned);
}

// As what more files hold than can be told: no file is split too often.
TEST_F(ExtentPlanTest, WhatIsHeldByTooManyPlacesStays) {
  Add(1000, 10, kOne);
  ExtentUse& use = Add(2000, 10, kTwo);
  for (uint64_t file = 0; file < 70000; ++file) {
    use.references.push_back({{7, file}, 0, 0, 10 * kBlock, false, false});
  }
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kHeldOutside);
}

TEST_F(ExtentPlanTest, NothingFound) {
  Add(1000, 10, kOne);
  EXPECT_EQ(Plan(1000, {}), ExtentVerdict::kUnique);
}

TEST_F(ExtentPlanTest, FewUniqueBlocksAreMoved) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 4}, {5, 1000, 5, 5}}), ExtentVerdict::kPlanned);
  const auto& segments = Planned(2000).segments;
  ASSERT_EQ(segments.size(), 3u);
  ExpectShare(segments[0], 0, 4, kOne, 0);
  ExpectMove(segments[1], 4, 1);
  ExpectShare(segments[2], 5, 5, kOne, 5);
}

TEST_F(ExtentPlanTest, ManyUniqueBlocksAreNot) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 7}}), ExtentVerdict::kLittle);
  EXPECT_TRUE(planner_.batch().empty());
}

// As after a job that was killed when it had shared the duplicates.
TEST_F(ExtentPlanTest, AUniqueRestThatHoldsDuplicatesWithoutFilesIsMoved) {
  Add(1000, 16, kOne);
  Add(2000, 16, kTwo).references = {{kTwo, 14 * kBlock, 14 * kBlock, 2 * kBlock, false, false}};
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 14}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 1u);
  ExpectMove(Planned(2000).segments[0], 14, 2);
  Add(3000, 16, kThree).references = {{kThree, 8 * kBlock, 8 * kBlock, 8 * kBlock, false, false}};
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 8}}), ExtentVerdict::kLittle);
}

TEST_F(ExtentPlanTest, WhatWouldSplitFilesTooMuchStays) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  may_split_ = false;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kFragments);
  EXPECT_TRUE(planner_.batch().empty());
  EXPECT_EQ(planner_.places(), 0u);
}

// The source lies in two extents, one right behind the other in its file.
TEST_F(ExtentPlanTest, PiecesAreCountedAlsoWhereFilesGoOn) {
  Add(1000, 10, kOne).references = {{kOne, 0, 0, 4 * kBlock, false, false},
                                    {kOne, 4 * kBlock, 4 * kBlock, 6 * kBlock, false, false}};
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 1u);
  EXPECT_EQ(Planned(2000).segments[0].pieces, 2u);
}

TEST_F(ExtentPlanTest, WhatOthersHoldStays) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo).all = false;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kHeldOutside);
  uses_[2000].references.clear();
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kOutside);
}

// Blocks of an extent that no file has any more need no new place.
TEST_F(ExtentPlanTest, OnlyReferredPartsCount) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo).references = {{kTwo, 0, 4 * kBlock, 2 * kBlock, false, false}};
  EXPECT_EQ(Plan(2000, {{4, 1000, 4, 2}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 1u);
  ExpectShare(Planned(2000).segments[0], 4, 2, kOne, 4);
}

TEST_F(ExtentPlanTest, SourcesAreWhereFilesHaveThem) {
  Add(1000, 10, kOne).references = {{kOne, 100 * kBlock, 0, 4 * kBlock, false, false},
                                    {kThree, 7 * kBlock, 4 * kBlock, 6 * kBlock, false, false}};
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  const auto& segments = Planned(2000).segments;
  ASSERT_EQ(segments.size(), 2u);
  ExpectShare(segments[0], 0, 4, kOne, 100);
  ExpectShare(segments[1], 4, 6, kThree, 7);
}

TEST_F(ExtentPlanTest, PartsOfTheSourceThatNoFileHasAreMoved) {
  Add(1000, 10, kOne).references = {{kOne, 0, 0, 9 * kBlock, false, false}};
  Add(2000, 10, kTwo);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  const auto& segments = Planned(2000).segments;
  ASSERT_EQ(segments.size(), 2u);
  ExpectMove(segments[1], 9, 1);
}

// An extent given up in the same batch is no source: what it shares with, or where it is moved to, is.
TEST_F(ExtentPlanTest, SourcesGivenUpAreFollowed) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo);
  Add(3000, 10, kThree);
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 8}}), ExtentVerdict::kPlanned);
  EXPECT_EQ(Plan(3000, {{0, 2000, 0, 10}}), ExtentVerdict::kPlanned);
  const auto& segments = Planned(3000).segments;
  ASSERT_EQ(segments.size(), 2u);
  ExpectShare(segments[0], 0, 8, kOne, 0);
  ExpectShare(segments[1], 8, 2, kTwo, 8);
}

TEST_F(ExtentPlanTest, RepeatsWithinAnExtent) {
  Add(1000, 10, kOne);
  EXPECT_EQ(Plan(1000, {{2, 1000, 0, 2}, {4, 1000, 2, 2}, {6, 1000, 0, 4}}), ExtentVerdict::kPlanned);
  const auto& segments = Planned(1000).segments;
  ASSERT_GE(segments.size(), 4u);
  ExpectMove(segments[0], 0, 2);
  ExpectShare(segments[1], 2, 2, kOne, 0);
  // The source of its source.
  ExpectShare(segments[2], 4, 2, kOne, 0);
}

TEST_F(ExtentPlanTest, CompressedExtentsGoAsAWhole) {
  AddCompressed(1000, 4, kOne);
  Reference& reference = AddCompressed(2000, 4, kTwo).references[0];
  reference.extent_offset = 8 * kBlock;
  reference.length = 16 * kBlock;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 3}}), ExtentVerdict::kLittle);
  copies_ = {{2000, 1000}, {3000, 1000}};
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 4}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 1u);
  ExpectShare(Planned(2000).segments[0], 8, 16, kOne, 8);
  // A plain extent's checksums say nothing about a compressed one.
  Add(3000, 4, kThree);
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 4}}), ExtentVerdict::kLittle);
}

TEST_F(ExtentPlanTest, ACompressedCopyMayBeginLikeAnotherExtentToo) {
  AddCompressed(1000, 4, kOne);
  AddCompressed(2000, 4, kTwo);
  AddCompressed(3000, 4, kThree);
  copies_ = {{3000, 2000}};
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 2}, {2, 2000, 1, 2}}), ExtentVerdict::kLittle);
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 2}, {2, 2000, 2, 2}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(3000).segments.size(), 1u);
  ExpectShare(Planned(3000).segments[0], 0, 32, kTwo, 0);
}

TEST_F(ExtentPlanTest, OfTwoThatACompressedExtentIsACopyOfOneThatFilesHaveIsTaken) {
  AddCompressed(1000, 4, kOne).references[0].length = 8 * kBlock;
  AddCompressed(2000, 4, kTwo);
  AddCompressed(3000, 4, kThree);
  copies_ = {{3000, 1000}, {3000, 2000}};
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 2}}), ExtentVerdict::kLittle);
  EXPECT_EQ(planner_.sourceless().size(), 1u);
  EXPECT_EQ(Plan(3000, {{0, 1000, 0, 2}, {2, 2000, 2, 2}}), ExtentVerdict::kPlanned);
  EXPECT_TRUE(planner_.sourceless().empty());
  ASSERT_EQ(Planned(3000).segments.size(), 1u);
  ExpectShare(Planned(3000).segments[0], 0, 32, kTwo, 0);
}

// Checksums are of blocks that zeros fill up; the kernel compares files, and these end.
TEST_F(ExtentPlanTest, ABlockThatAFileEndsWithinIsSharedOnlyWithItsLike) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo).references[0].tail = 100;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 2u);
  ExpectShare(Planned(2000).segments[0], 0, 9, kOne, 0);
  ExpectMove(Planned(2000).segments[1], 9, 1);
  EXPECT_TRUE(planner_.sourceless().empty());

  uses_.at(1000).references[0].tail = 100;
  planner_.NextBatch();
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ExpectShare(Planned(2000).segments[0], 0, 10, kOne, 0);
  EXPECT_EQ(Planned(2000).segments[0].pieces, 1u);
  // The same by way of what is given up.
  Add(3000, 10, kThree).references[0].tail = 100;
  EXPECT_EQ(Plan(3000, {{0, 2000, 0, 10}}), ExtentVerdict::kPlanned);
  ExpectShare(Planned(3000).segments[0], 0, 10, kOne, 0);
  for (const uint32_t tail : {0, 99}) {
    Add(4000 + tail, 10, kThree).references[0].tail = tail;
    for (const uint64_t source : {1000, 2000}) {
      planner_.NextBatch();
      Plan(2000, {{0, 1000, 0, 10}});
      EXPECT_EQ(Plan(4000 + tail, {{0, source, 0, 10}}), ExtentVerdict::kPlanned);
      ASSERT_EQ(Planned(4000 + tail).segments.size(), 2u) << tail << " " << source;
      ExpectShare(Planned(4000 + tail).segments[0], 0, 9, kOne, 0);
      ExpectMove(Planned(4000 + tail).segments[1], 9, 1);
      EXPECT_TRUE(planner_.sourceless().empty());
    }
  }
}

TEST_F(ExtentPlanTest, ABlockThatFilesEndWithinDifferentlyIsMoved) {
  Add(1000, 10, kOne).references[0].tail = 100;
  ExtentUse& use = Add(2000, 10, kTwo);
  use.references[0].tail = 100;
  use.references.push_back({kThree, 0, 0, 10 * kBlock, false, false});
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 2u);
  ExpectMove(Planned(2000).segments[1], 9, 1);
  EXPECT_EQ(Planned(2000).moved_bytes, 2 * kBlock);
  EXPECT_EQ(CutsOf(Planned(2000)), (std::vector<uint64_t>{0, 9 * kBlock, 10 * kBlock}));
  // One of the files that have the source will do.
  Add(4000, 10, kThree);
  planner_.NextBatch();
  EXPECT_EQ(Plan(4000, {{0, 2000, 0, 10}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(4000).segments.size(), 1u);
  ExpectShare(Planned(4000).segments[0], 0, 10, kThree, 0);
}

TEST_F(ExtentPlanTest, EachWayInWhichFilesEndWithinABlockTakesACopy) {
  Add(1000, 20, kOne);
  ExtentUse& use = Add(2000, 20, kTwo);
  for (const uint32_t tail : {100, 100, 200}) {
    use.references.push_back({kThree, 0, 0, 20 * kBlock, false, false, tail});
  }
  // This one does not reach it, and ends within another as all do.
  use.references.push_back({kThree, 0, 0, 5 * kBlock, false, false});
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 20}}), ExtentVerdict::kPlanned);
  EXPECT_EQ(Planned(2000).moved_bytes, 3 * kBlock);
  EXPECT_EQ(CutsOf(Planned(2000)), (std::vector<uint64_t>{0, 5 * kBlock, 19 * kBlock, 20 * kBlock}));
  // Four do not pay.
  use.references.push_back({kThree, 0, 0, 20 * kBlock, false, false, 300});
  planner_.NextBatch();
  PlanOptions options;
  options.freed_per_moved = 6;
  ExtentPlanner planner(options);
  const auto plan = [&] {
    return planner.Plan(
        use, std::vector<BlockRun>{{0, 1000, 0, 20}}, [](uint64_t) { return false; },
        [this](uint64_t source) { return &uses_.at(source); }, [](const ExtentPlan&) { return true; });
  };
  EXPECT_EQ(plan(), ExtentVerdict::kLittle);
  use.references.pop_back();
  EXPECT_EQ(plan(), ExtentVerdict::kPlanned);
}

TEST_F(ExtentPlanTest, ACompressedExtentsTailIsMovedToo) {
  AddCompressed(1000, 8, kOne);
  AddCompressed(2000, 8, kTwo).references[0].tail = 1;
  copies_ = {{2000, 1000}};
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 8}}), ExtentVerdict::kPlanned);
  ASSERT_EQ(Planned(2000).segments.size(), 2u);
  ExpectShare(Planned(2000).segments[0], 0, 31, kOne, 0);
  ExpectMove(Planned(2000).segments[1], 31, 1);
  EXPECT_TRUE(planner_.sourceless().empty());
}

TEST_F(ExtentPlanTest, PreallocatedExtentsAreLeft) {
  Add(1000, 10, kOne);
  Add(2000, 10, kTwo).references[0].unwritten = true;
  EXPECT_EQ(Plan(2000, {{0, 1000, 0, 10}}), ExtentVerdict::kLittle);
  EXPECT_EQ(Plan(2000, {}), ExtentVerdict::kUnique);
}

}  // namespace
}  // namespace cowherd
