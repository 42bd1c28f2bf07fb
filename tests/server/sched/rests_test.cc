// What keeps work from being done though nothing is wrong.
#include "server/sched/rests.h"

#include <gtest/gtest.h>

#include "server/base/status.h"
#include "server/jobs/memory_store.h"

namespace cowherd {
namespace {

// A full hour.
const absl::Time kNow = absl::FromUnixSeconds(1'000'000 * 3'600LL);
using Kind = Hold::Kind;

// The first ten minutes of each hour.
std::vector<Window> TenMinutes() { return {MakeWindow("0 * * * *", "", absl::Minutes(10)).value()}; }

class RestsTest : public ::testing::Test {
 protected:
  RestsTest() { up_.state = NodeState::kUp; }
  void Hold(const std::string& what, Kind kind, const std::string& by = "", const std::string& reason = "") {
    ASSERT_TRUE(rests_.Hold(what, {kind, by, reason, {}}, kNow).ok());
  }

  MemoryStore store_;
  Rests rests_{store_};
  NodeEntry up_;
};

TEST_F(RestsTest, HoldsOutliveTheController) {
  Hold(Holds::Node("a"), Kind::kDrain, "ann", "new disk");
  Rests next(store_);
  ASSERT_TRUE(next.Load().ok());
  const cowherd::Hold* hold = next.holds().Find(Holds::Node("a"));
  ASSERT_NE(hold, nullptr);
  EXPECT_EQ(hold->by, "ann");
  EXPECT_EQ(hold->since, kNow);
  ASSERT_TRUE(next.Lift(Holds::Node("a")).ok());
  ASSERT_TRUE(next.Lift(Holds::Node("a")).ok());
  EXPECT_TRUE(store_.LoadRecords("hold")->empty());
  ASSERT_TRUE(store_.PutRecord("hold", "cluster", "broken").ok());
  EXPECT_EQ(ReasonOf(Rests(store_).Load()), "STORE_CORRUPT");
}

TEST_F(RestsTest, WhatCannotBeStoredDoesNotChange) {
  Hold(Holds::Node("b"), Kind::kPause);
  store_.FailWith(absl::UnavailableError("store"));
  EXPECT_FALSE(rests_.Hold(Holds::Node("a"), {}, kNow).ok());
  EXPECT_FALSE(rests_.Lift(Holds::Node("b")).ok());
  EXPECT_TRUE(rests_.MayRun("a"));
  EXPECT_FALSE(rests_.MayRun("b"));
}

TEST_F(RestsTest, GatesFollowStateHoldsAndWindows) {
  NodeEntry down;
  down.state = NodeState::kDown;
  EXPECT_EQ(rests_.GateOf("a", &up_), Gate::kOpen);
  EXPECT_EQ(rests_.GateOf("a", &down), Gate::kShut);
  EXPECT_EQ(rests_.GateOf("a", nullptr), Gate::kShut);
  Hold(Holds::Node("a"), Kind::kDrain);
  EXPECT_EQ(rests_.GateOf("a", &up_), Gate::kDrained);
  EXPECT_TRUE(rests_.MayRun("a"));
  Hold(Holds::Cluster(), Kind::kPause);
  EXPECT_EQ(rests_.GateOf("a", &up_), Gate::kShut);
  EXPECT_FALSE(rests_.MayRun("b"));
  ASSERT_TRUE(rests_.Lift(Holds::Cluster()).ok());
  ASSERT_TRUE(rests_.Lift(Holds::Node("a")).ok());
  rests_.nodes().Set("a", TenMinutes(), kNow + absl::Minutes(20));
  EXPECT_EQ(rests_.GateOf("a", &up_), Gate::kShut);
  EXPECT_EQ(rests_.wake(), kNow + absl::Hours(1));
}

TEST_F(RestsTest, ATaskMayWorkUntilTheFirstWindowCloses) {
  EXPECT_EQ(rests_.OpenFor(1, "a", kNow), absl::InfiniteDuration());
  rests_.jobs().Set(1, TenMinutes(), kNow);
  EXPECT_EQ(rests_.OpenFor(1, "a", kNow + absl::Minutes(4)), absl::Minutes(6));
  rests_.nodes().Set("a", {MakeWindow("0 * * * *", "", absl::Minutes(5)).value()}, kNow);
  EXPECT_EQ(rests_.OpenFor(1, "a", kNow + absl::Minutes(4)), absl::Minutes(1));
  EXPECT_EQ(rests_.OpenFor(2, "a", kNow + absl::Minutes(4)), absl::Minutes(1));
  // Of one that is closed, only the last figures are asked for.
  rests_.jobs().Set(1, TenMinutes(), kNow + absl::Minutes(20));
  rests_.nodes().Set("a", {}, kNow);
  EXPECT_EQ(rests_.OpenFor(1, "a", kNow + absl::Minutes(20)), absl::InfiniteDuration());
}

TEST_F(RestsTest, SaysWhy) {
  EXPECT_TRUE(rests_.WhyNode("a").ok());
  EXPECT_TRUE(rests_.WhyJob(1).ok());
  rests_.jobs().Set(1, TenMinutes(), kNow + absl::Minutes(20));
  EXPECT_FALSE(rests_.JobIsOpen(1));
  EXPECT_EQ(ReasonOf(rests_.WhyJob(1)), "WINDOW_CLOSED");
  rests_.nodes().Set("a", TenMinutes(), kNow + absl::Minutes(20));
  EXPECT_EQ(ReasonOf(rests_.WhyNode("a")), "WINDOW_CLOSED");
  std::vector<Window> windows = TenMinutes();
  windows[0].unknown_zone = "Europe/Atlantis";
  rests_.nodes().Set("b", windows, kNow);
  EXPECT_FALSE(rests_.MayRun("b"));
  EXPECT_EQ(rests_.WhyNode("b").message(),
            "waits for a maintenance window; one stays closed, as the controller's machine does not know its "
            "time zone \"Europe/Atlantis\" any more: install the time zones (tzdata) there and restart it");
  // What people asked for comes first.
  Hold(Holds::Cluster(), Kind::kPause, "ann");
  EXPECT_EQ(rests_.WhyNode("a").message(), "the cluster is paused by ann");
  Hold(Holds::Node("a"), Kind::kPause, "", "new disk");
  EXPECT_EQ(rests_.WhyNode("a").message(), "its node is paused: new disk");
  EXPECT_EQ(ReasonOf(rests_.WhyNode("a")), "HELD");
}

}  // namespace
}  // namespace cowherd
