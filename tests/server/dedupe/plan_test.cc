#include "server/dedupe/plan.h"

#include <cerrno>
#include <vector>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using ::testing::ElementsAre;
using testing::HasErrno;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

constexpr uint64_t kMiB = 1 << 20;

DedupeAnswer Same(uint64_t bytes) { return {DedupeAnswer::Kind::kSame, bytes, 0}; }
DedupeAnswer Differs() { return {DedupeAnswer::Kind::kDiffers, 0, 0}; }
DedupeAnswer Refused(int error) { return {DedupeAnswer::Kind::kError, 0, error}; }

// Answers every target of a call alike.
void ApplyAll(DedupePlan& plan, const DedupePlan::Call& call, const DedupeAnswer& answer) {
  plan.Apply(call, std::vector<DedupeAnswer>(call.targets.size(), answer));
}

struct ChunkCase {
  uint64_t length;
  uint64_t max_bytes_per_call;
  std::vector<uint64_t> calls;
};

class ChunkTest : public ::testing::TestWithParam<ChunkCase> {};

TEST_P(ChunkTest, CallsFollowOneAnotherToTheEnd) {
  DedupePlan plan(GetParam().length, 1, GetParam().max_bytes_per_call);
  std::vector<uint64_t> lengths;
  uint64_t offset = 0;
  while (const auto call = plan.Next()) {
    EXPECT_EQ(call->offset, offset);
    EXPECT_THAT(call->targets, ElementsAre(0));
    offset += call->length;
    lengths.push_back(call->length);
    ApplyAll(plan, *call, Same(call->length));
  }
  EXPECT_EQ(lengths, GetParam().calls);
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_EQ(plan.results()[0].bytes_accepted, GetParam().length);
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, ChunkTest,
    ::testing::Values(ChunkCase{1, kMiB, {1}}, ChunkCase{kMiB, kMiB, {kMiB}},
                      ChunkCase{kMiB + 1, kMiB, {kMiB, 1}},
                      ChunkCase{3 * kMiB - 5, kMiB, {kMiB, kMiB, kMiB - 5}},
                      ChunkCase{kMaxDedupeLength + kMiB, kMaxDedupeLength, {kMaxDedupeLength, kMiB}}));

TEST(PlanTest, NextAsksTheSameUntilAnswered) {
  DedupePlan plan(2 * kMiB, 2, kMiB);
  const auto call = plan.Next();
  EXPECT_EQ(plan.Next()->offset, call->offset);
  EXPECT_EQ(plan.Next()->targets, call->targets);
}

TEST(PlanTest, NoTargetsNoCalls) { EXPECT_FALSE(DedupePlan(kMiB, 0, kMiB).Next()); }

// Sizes of the calls in batches, and where they begin.
void RunAll(DedupePlan& plan, std::vector<size_t>& sizes, std::vector<uint64_t>& offsets) {
  while (const auto call = plan.Next()) {
    sizes.push_back(call->targets.size());
    offsets.push_back(call->offset);
    ApplyAll(plan, *call, Same(call->length));
  }
  for (const TargetResult& result : plan.results()) EXPECT_EQ(result.outcome, DedupeOutcome::kDeduped);
}

TEST(PlanTest, AtMost127TargetsACall) {
  DedupePlan plan(4096, 300, kMiB);
  std::vector<size_t> sizes;
  std::vector<uint64_t> offsets;
  RunAll(plan, sizes, offsets);
  EXPECT_THAT(sizes, ElementsAre(127, 127, 46));
}

TEST(PlanTest, TargetsOfACallAreTogetherWithinItsBytes) {
  DedupePlan plan(32 * kMiB, 3, 16 * kMiB);
  std::vector<size_t> sizes;
  std::vector<uint64_t> offsets;
  RunAll(plan, sizes, offsets);
  EXPECT_THAT(sizes, ElementsAre(1, 1, 1, 1, 1, 1));
  // Step by step: all do the first chunk before any does the second.
  EXPECT_THAT(offsets, ElementsAre(0, 0, 0, 16 * kMiB, 16 * kMiB, 16 * kMiB));
  DedupePlan halves(8 * kMiB, 3, kMiB * 16);
  sizes.clear();
  RunAll(halves, sizes, offsets);
  EXPECT_THAT(sizes, ElementsAre(2, 1));
}

TEST(PlanTest, OneServedShortCatchesUpAloneThenSharesCallsAgain) {
  DedupePlan plan(3 * kMiB, 3, kMiB);
  plan.Apply(*plan.Next(), {Same(kMiB), Same(4096), Same(kMiB)});
  const auto alone = plan.Next();
  EXPECT_EQ(alone->offset, 4096U);
  EXPECT_EQ(alone->length, kMiB - 4096);
  EXPECT_THAT(alone->targets, ElementsAre(1));
  ApplyAll(plan, *alone, Same(alone->length));
  const auto together = plan.Next();
  EXPECT_EQ(together->offset, kMiB);
  EXPECT_EQ(together->length, kMiB);
  EXPECT_THAT(together->targets, ElementsAre(0, 1, 2));
}

TEST(PlanTest, NoByteIsComparedTwiceHoweverShortTheAnswers) {
  constexpr uint64_t kLength = 10 * 4096 + 7;
  DedupePlan plan(kLength, 4, 3 * 4096);
  std::vector<uint64_t> asked(4);
  for (uint64_t step = 1; const auto call = plan.Next(); ++step) {
    ASSERT_LT(step, 100U);
    std::vector<DedupeAnswer> answers;
    for (size_t target : call->targets) {
      EXPECT_EQ(call->offset, asked[target]);
      const uint64_t bytes = (step + target) % 2 == 0 ? call->length : std::min<uint64_t>(call->length, 4096);
      asked[target] += bytes;
      answers.push_back(Same(bytes));
    }
    plan.Apply(*call, answers);
  }
  EXPECT_THAT(asked, ElementsAre(kLength, kLength, kLength, kLength));
}

TEST(PlanTest, NoProgressFails) {
  DedupePlan plan(kMiB, 2, kMiB);
  plan.Apply(*plan.Next(), {Same(0), Same(kMiB)});
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kFailed);
  EXPECT_THAT(plan.results()[0].error, HasReason("NO_PROGRESS"));
  EXPECT_EQ(plan.results()[1].outcome, DedupeOutcome::kDeduped);
  EXPECT_FALSE(plan.Next());
}

TEST(PlanTest, DiffersInTheMiddleKeepsWhatWasAccepted) {
  DedupePlan plan(3 * kMiB, 2, kMiB);
  ApplyAll(plan, *plan.Next(), Same(kMiB));
  plan.Apply(*plan.Next(), {Differs(), Same(kMiB)});
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kDiffers);
  EXPECT_EQ(plan.results()[0].bytes_accepted, kMiB);
  EXPECT_THAT(plan.results()[0].error, IsOk());
  EXPECT_THAT(plan.Next()->targets, ElementsAre(1));
}

TEST(PlanTest, ErrorOfOneTargetLeavesTheOthers) {
  DedupePlan plan(2 * kMiB, 3, kMiB);
  plan.Fail(1, ErrnoError(ENOENT, "open"));
  EXPECT_THAT(plan.Next()->targets, ElementsAre(0, 2));
  plan.Apply(*plan.Next(), {Same(kMiB), Refused(EXDEV)});
  EXPECT_THAT(plan.Next()->targets, ElementsAre(0));
  EXPECT_EQ(plan.results()[2].outcome, DedupeOutcome::kFailed);
  EXPECT_THAT(plan.results()[2].error, HasErrno(EXDEV));
  EXPECT_THAT(plan.results()[1].error, HasErrno(ENOENT));
}

TEST(PlanTest, StopAllEndsWhatIsPendingAndNothingElse) {
  DedupePlan plan(2 * kMiB, 3, kMiB);
  plan.Apply(*plan.Next(), {Same(kMiB), Differs(), Refused(EIO)});
  plan.StopAll(absl::CancelledError("enough"));
  EXPECT_FALSE(plan.Next());
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kStopped);
  EXPECT_EQ(plan.results()[0].bytes_accepted, kMiB);
  EXPECT_THAT(plan.results()[0].error, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(plan.results()[1].outcome, DedupeOutcome::kDiffers);
  EXPECT_EQ(plan.results()[2].outcome, DedupeOutcome::kFailed);
}

TEST(PlanTest, AnAnswerOfMoreThanAskedCountsNoMore) {
  DedupePlan plan(kMiB, 1, kMiB);
  ApplyAll(plan, *plan.Next(), Same(kMiB + 4096));
  EXPECT_EQ(plan.results()[0].bytes_accepted, kMiB);
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kDeduped);
}

}  // namespace
}  // namespace cowherd
