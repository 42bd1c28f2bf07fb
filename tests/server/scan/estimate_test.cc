#include "server/scan/estimate.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr FileKey kOne{5, 257};
constexpr FileKey kTwo{5, 258};
constexpr FileKey kThree{5, 259};

Segment SharedWith(uint64_t block, uint64_t blocks, FileKey file, uint64_t source_block) {
  return {block * kBlock, blocks * kBlock, false, {file, source_block * kBlock}};
}

// An extent that `files` have from their beginnings.
ExtentPlan PlanOf(uint64_t address, uint64_t blocks, const std::vector<FileKey>& files,
                  std::vector<Segment> segments) {
  ExtentPlan plan;
  plan.extent = {address, blocks * kBlock};
  for (const FileKey& file : files) plan.references.push_back({file, 0, 0, blocks * kBlock, false, false});
  plan.segments = std::move(segments);
  for (const Segment& segment : plan.segments) {
    (segment.move ? plan.moved_bytes : plan.duplicate_bytes) += segment.length;
  }
  return plan;
}

TEST(Estimate, WhatIsMovedIsTakenOff) {
  const ExtentPlan plan = PlanOf(
      1, 10, {kTwo}, {SharedWith(0, 6, kOne, 0), {6 * kBlock, kBlock, true, {}}, SharedWith(7, 3, kOne, 7)});
  const Estimate estimate = EstimateOf({{1, plan}});
  EXPECT_EQ(estimate.freeable, 9 * kBlock);
  EXPECT_EQ(estimate.moved, kBlock);
  // All of the file, and nine blocks of the source.
  EXPECT_EQ(estimate.read, 19 * kBlock);
  EXPECT_EQ(FreeableOf(plan, plan.segments[0]), 6 * kBlock);
  EXPECT_EQ(FreeableOf(plan, plan.segments[2]), 3 * kBlock);
}

// Blocks that no file has any more go free with the rest.
TEST(Estimate, WholeExtentsGoFree) {
  ExtentPlan plan = PlanOf(1, 10, {kTwo}, {SharedWith(2, 3, kOne, 0)});
  plan.references[0] = {kTwo, 0, 2 * kBlock, 3 * kBlock, false, false};
  const Estimate estimate = EstimateOf({{1, plan}});
  EXPECT_EQ(estimate.freeable, 10 * kBlock);
  EXPECT_EQ(estimate.read, 6 * kBlock);
  EXPECT_EQ(FreeableOf(plan, plan.segments[0]), 10 * kBlock);
}

TEST(Estimate, StorageGoesFreeOnceAndIsReadForEachFile) {
  const Estimate estimate = EstimateOf({{1, PlanOf(1, 10, {kTwo, kThree}, {SharedWith(0, 10, kOne, 0)})}});
  EXPECT_EQ(estimate.freeable, 10 * kBlock);
  EXPECT_EQ(estimate.read, 30 * kBlock);
}

TEST(Estimate, SourcesAreReadOnce) {
  const Estimate estimate = EstimateOf({{1, PlanOf(1, 10, {kTwo}, {SharedWith(0, 10, kOne, 0)})},
                                        {2, PlanOf(2, 10, {kThree}, {SharedWith(0, 10, kOne, 5)})}});
  EXPECT_EQ(estimate.freeable, 20 * kBlock);
  EXPECT_EQ(estimate.read, (20 + 15) * kBlock);
}

TEST(Estimate, CompressedExtentsCountAsStored) {
  ExtentPlan plan = PlanOf(1, 4, {kTwo}, {SharedWith(0, 32, kOne, 0)});
  plan.references[0] = {kTwo, 0, 0, 32 * kBlock, true, false};
  const Estimate estimate = EstimateOf({{1, plan}});
  EXPECT_EQ(estimate.freeable, 4 * kBlock);
  EXPECT_EQ(estimate.read, 8 * kBlock);
}

TEST(Estimate, Nothing) {
  EXPECT_EQ(EstimateOf({}).freeable, 0u);
  EXPECT_EQ(EstimateOf({}).read, 0u);
}

}  // namespace
}  // namespace cowherd
