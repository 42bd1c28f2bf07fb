#include "server/base/clock.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace cowherd {
namespace {

TEST(RealClockTest, ShowsTheTime) {
  const RealClock clock;
  const absl::Time before = absl::Now();
  const absl::Time now = clock.Now();
  const absl::Time wall = clock.Wall();
  EXPECT_GE(wall, before);
  EXPECT_LE(wall, absl::Now());
  EXPECT_LT(absl::AbsDuration(now - wall), absl::Seconds(1));
  EXPECT_GE(clock.Now(), now);
}

TEST(FakeClockTest, OnlyTheWallIsTurned) {
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  FakeClock clock(start);
  clock.Turn(-absl::Hours(6));
  EXPECT_EQ(clock.Now(), start);
  EXPECT_EQ(clock.Wall(), start - absl::Hours(6));
  clock.Advance(absl::Minutes(1));
  EXPECT_EQ(clock.Now(), start + absl::Minutes(1));
  EXPECT_EQ(clock.Wall(), start - absl::Hours(6) + absl::Minutes(1));
}

}  // namespace
}  // namespace cowherd
