#include "client/controller_ring.h"

#include <gtest/gtest.h>

#include <random>

#include "server/base/status.h"

namespace cowherd {
namespace {

using Wait = absl::optional<absl::Duration>;

const absl::Status kGone = absl::UnavailableError("Socket closed");
const absl::Status kBusy = MakeError(absl::StatusCode::kUnavailable, "STORE_BUSY", "busy");
const absl::Status kStopping = MakeError(absl::StatusCode::kUnavailable, "STOPPING", "stopping");
constexpr bool kSent = true;

class ControllerRingTest : public ::testing::Test {
 protected:
  Wait After(CallTries& tries, const absl::Status& status, bool sent = kSent) {
    return tries.After(ring_.current(), status, sent, ring_, random_);
  }
  Wait After(WatchTries& tries, const absl::Status& status) {
    return tries.After(ring_.current(), status, ring_, random_);
  }

  ControllerRing ring_{{"a", "b", "c"}, 1};
  std::mt19937_64 random_{1};
};

TEST(ParseControllers, OneOrMore) {
  EXPECT_EQ(*ParseControllers("a:1"), std::vector<std::string>{"a:1"});
  EXPECT_EQ(*ParseControllers("a:1,[::1]:2,unix:/x"),
            (std::vector<std::string>{"a:1", "[::1]:2", "unix:/x"}));
  for (const char* bad : {"", ",", "a:1,", ",a:1", "a:1,,b:1", "a:1,b:1,a:1"}) {
    EXPECT_EQ(FieldOf(ParseControllers(bad).status()), "--controller") << bad;
  }
}

TEST(FirstName, OfTheFirstAddressThatHasOne) {
  EXPECT_TRUE(IsNumeric("10.0.0.1:7400"));
  EXPECT_TRUE(IsNumeric("[fd00::1]:7400"));
  EXPECT_FALSE(IsNumeric("10.example:7400"));
  EXPECT_EQ(FirstName({"10.0.0.1:7400", "unix:/x", "c.ns.svc:7400", "d:1"}), "c.ns.svc");
  EXPECT_EQ(FirstName({"10.0.0.1:7400", "[::1]:7400"}), "");
}

TEST_F(ControllerRingTest, GoesRoundAndAnotherCallsStepCounts) {
  ring_.Leave("b");
  EXPECT_EQ(ring_.current(), "c");
  ring_.Leave("b");
  EXPECT_EQ(ring_.current(), "c");
  ring_.Leave("c");
  EXPECT_EQ(ring_.current(), "a");
  ring_.GoTo("c");
  EXPECT_EQ(ring_.current(), "c");
  ring_.GoTo("d");
  EXPECT_EQ(ring_.current(), "d");
  EXPECT_EQ(ring_.size(), 4u);
}

TEST_F(ControllerRingTest, ACallAsksEachOnceIfNoneCanBeReached) {
  CallTries tries(/*repeatable=*/true);
  EXPECT_EQ(After(tries, kGone), Wait(absl::ZeroDuration()));
  EXPECT_EQ(ring_.current(), "c");
  EXPECT_EQ(After(tries, kStopping), Wait(absl::ZeroDuration()));
  EXPECT_EQ(ring_.current(), "a");
  EXPECT_EQ(After(tries, kGone), absl::nullopt);
}

TEST_F(ControllerRingTest, WhatMayHaveBeenDoneIsNotDoneTwice) {
  CallTries once(/*repeatable=*/false);
  EXPECT_EQ(After(once, kGone, kSent), absl::nullopt);
  EXPECT_EQ(After(once, absl::DeadlineExceededError("late"), kSent), absl::nullopt);
  EXPECT_EQ(ring_.current(), "b");
  // It was not.
  EXPECT_EQ(After(once, kGone, !kSent), Wait(absl::ZeroDuration()));
  EXPECT_EQ(After(once, kStopping, kSent), Wait(absl::ZeroDuration()));
}

TEST_F(ControllerRingTest, OneThatCannotReadNowIsPassedOver) {
  CallTries tries(/*repeatable=*/true);
  EXPECT_EQ(After(tries, kBusy, kSent), Wait(absl::ZeroDuration()));
  EXPECT_EQ(ring_.current(), "c");
}

TEST_F(ControllerRingTest, AnAnswerIsAnAnswer) {
  CallTries tries(/*repeatable=*/true);
  for (const absl::Status& status :
       {FieldError("spec", "bad"), MakeError(absl::StatusCode::kUnavailable, "STORE_DOWN", "no"),
        absl::DeadlineExceededError("late"), absl::ResourceExhaustedError("busy")}) {
    EXPECT_EQ(After(tries, status), absl::nullopt) << status;
  }
  EXPECT_EQ(ring_.current(), "b");
}

TEST_F(ControllerRingTest, TheLeaderIsFollowedAlsoWhereItIsNew) {
  for (const bool repeatable : {true, false}) {
    ring_.GoTo("b");
    CallTries tries(repeatable);
    EXPECT_EQ(After(tries, NotLeader("c")), Wait(absl::ZeroDuration()));
    EXPECT_EQ(ring_.current(), "c");
  }
  CallTries tries(/*repeatable=*/false);
  EXPECT_EQ(After(tries, NotLeader("d")), Wait(absl::ZeroDuration()));
  EXPECT_EQ(ring_.current(), "d");
}

TEST_F(ControllerRingTest, AnElectionIsWaitedFor) {
  CallTries tries(/*repeatable=*/false);
  ASSERT_EQ(After(tries, NotLeader("c")), Wait(absl::ZeroDuration()));
  // The one that led is gone; the others do not know yet.
  absl::Duration longest;
  for (int i = 0; i < 30; ++i) {
    const Wait wait = After(tries, i % 3 == 0 ? kGone : NotLeader(i % 2 == 0 ? "c" : ""), !kSent);
    ASSERT_TRUE(wait) << i;
    EXPECT_LE(*wait, absl::Seconds(2));
    longest = std::max(longest, *wait);
  }
  EXPECT_GE(longest, absl::Seconds(1));
}

TEST_F(ControllerRingTest, ALeaderThatDoesNotKnowItsNodesYetIsAskedAgain) {
  CallTries tries(/*repeatable=*/false);
  for (int i = 0; i < 30; ++i) {
    const Wait wait =
        After(tries, MakeError(absl::StatusCode::kUnavailable, "NODES_NOT_KNOWN_YET", "begins"), kSent);
    ASSERT_TRUE(wait) << i;
    EXPECT_GT(*wait, absl::ZeroDuration());
    EXPECT_LE(*wait, absl::Seconds(2));
    EXPECT_EQ(ring_.current(), "b");
  }
}

TEST_F(ControllerRingTest, AWatchThatWasOnIsTakenUpForAMinute) {
  WatchTries tries;
  tries.Heard();
  absl::Duration waited;
  int count = 0;
  for (Wait wait; (wait = After(tries, kGone)).has_value(); ++count) {
    // The two others at once.
    EXPECT_EQ(*wait == absl::ZeroDuration(), count < 2) << count;
    waited += *wait;
  }
  EXPECT_EQ(count, 36);
  EXPECT_GT(waited, absl::Minutes(1));
  tries.Heard();
  EXPECT_EQ(After(tries, kGone), Wait(absl::ZeroDuration()));
}

TEST_F(ControllerRingTest, AWatchThatWasNeverOnAsksEachOnce) {
  WatchTries tries;
  EXPECT_TRUE(After(tries, kGone));
  EXPECT_TRUE(After(tries, kGone));
  EXPECT_EQ(After(tries, kGone), absl::nullopt);
  // But an election ends.
  WatchTries later;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(After(later, NotLeader(""))) << i;
  EXPECT_EQ(After(later, MakeError(absl::StatusCode::kNotFound, "JOB_UNKNOWN", "no")), absl::nullopt);
}

TEST_F(ControllerRingTest, ManyWatchersDoNotComeBackTogether) {
  absl::Duration least = absl::InfiniteDuration();
  absl::Duration most;
  for (int i = 0; i < 100; ++i) {
    WatchTries tries;
    tries.Heard();
    for (int others = 0; others < 2; ++others) After(tries, kGone);
    const Wait wait = After(tries, kGone);
    least = std::min(least, *wait);
    most = std::max(most, *wait);
  }
  EXPECT_LT(least, absl::Milliseconds(120));
  EXPECT_GT(most, absl::Milliseconds(180));
}

}  // namespace
}  // namespace cowherd
