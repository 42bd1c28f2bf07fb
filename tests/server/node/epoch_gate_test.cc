#include "server/node/epoch_gate.h"

#include <gtest/gtest.h>

#include <vector>

#include "server/base/status.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

class EpochGateTest : public ::testing::Test {
 protected:
  EpochGate gate_{7, [this](uint64_t epoch) {
                    if (failure_.ok()) kept_.push_back(epoch);
                    return failure_;
                  }};
  absl::Status failure_;
  std::vector<uint64_t> kept_;
};

TEST_F(EpochGateTest, LowerOnesAreRefusedAlsoThoseSeenBefore) {
  EXPECT_THAT(gate_.Enter(6), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(gate_.Enter(6), HasReason("STALE_EPOCH"));
  EXPECT_THAT(gate_.Enter(6), HasField("epoch"));
  EXPECT_THAT(gate_.Enter(7), IsOk());
  EXPECT_THAT(gate_.Enter(9), IsOk());
  EXPECT_THAT(gate_.Enter(9), IsOk());
  EXPECT_THAT(gate_.Enter(8), HasReason("STALE_EPOCH"));
  EXPECT_THAT(gate_.Check(8), HasReason("STALE_EPOCH"));
  EXPECT_THAT(gate_.Check(9), IsOk());
  // None.
  EXPECT_THAT(gate_.Enter(0), IsOk());
  // Each once.
  EXPECT_EQ(kept_, std::vector<uint64_t>{9});
}

TEST_F(EpochGateTest, WhatCannotBeKeptIsNotLetIn) {
  failure_ = ErrnoError(ENOSPC, "fsync");
  EXPECT_THAT(gate_.Enter(9), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(gate_.Enter(9), HasReason("EPOCH_NOT_KEPT"));
  EXPECT_EQ(ErrnoOf(gate_.Enter(9)), 0);
  // The one before still rules.
  EXPECT_THAT(gate_.Enter(7), IsOk());
  failure_ = absl::OkStatus();
  EXPECT_THAT(gate_.Enter(9), IsOk());
  EXPECT_THAT(gate_.Enter(7), HasReason("STALE_EPOCH"));
}

TEST_F(EpochGateTest, WatchesOfLowerEpochsAreTold) {
  int seven = 0;
  int nine = 0;
  int none = 0;
  int gone = 0;
  EpochGate::Watch of_seven(gate_, 7, [&] { ++seven; });
  EpochGate::Watch of_none(gate_, 0, [&] { ++none; });
  {
    const EpochGate::Watch of_gone(gate_, 7, [&] { ++gone; });
  }
  ASSERT_THAT(gate_.Enter(7), IsOk());
  EXPECT_EQ(seven, 0);
  ASSERT_THAT(gate_.Enter(9), IsOk());
  EXPECT_EQ(seven, 1);
  EpochGate::Watch of_nine(gate_, 9, [&] { ++nine; });
  EXPECT_EQ(nine, 0);
  // One that comes too late is told at once.
  int late = 0;
  EpochGate::Watch of_eight(gate_, 8, [&] { ++late; });
  EXPECT_EQ(late, 1);
  EXPECT_EQ(none + gone, 0);
}

}  // namespace
}  // namespace cowherd
