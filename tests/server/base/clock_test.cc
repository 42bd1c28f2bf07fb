#include "server/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace cowherd {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(RealClockTest, FollowsTheMachineForward) {
  EXPECT_EQ(RealClock::Next(kStart, absl::Seconds(1), kStart + absl::Seconds(1)), kStart + absl::Seconds(1));
  EXPECT_EQ(RealClock::Next(kStart, absl::Seconds(1), kStart + absl::Hours(1)), kStart + absl::Hours(1));
}

TEST(RealClockTest, GoesOnAtHalfThePaceWhereTheMachineWasSetBackUntilThatHasCaughtUp) {
  const absl::Duration back = absl::Hours(1);
  absl::Time last = kStart;
  absl::Duration passed;
  while (last > kStart - back + passed) {
    passed += absl::Minutes(1);
    const absl::Time next = RealClock::Next(last, absl::Minutes(1), kStart - back + passed);
    EXPECT_EQ(next, last + absl::Seconds(30));
    last = next;
  }
  EXPECT_EQ(passed, 2 * back);
}

TEST(RealClockTest, ShowsTheTime) {
  const RealClock clock;
  const absl::Time before = absl::Now();
  const absl::Time shown = clock.Now();
  EXPECT_GE(shown, before);
  EXPECT_LE(shown, absl::Now());
}

}  // namespace
}  // namespace cowherd
