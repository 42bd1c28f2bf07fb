#include "server/scan/rate_limiter.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RateLimiter::Time kNow = RateLimiter::Time(hours(100));

TEST(RateLimiterTest, NoLimit) {
  RateLimiter limiter(0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limiter.Book(uint64_t{1} << 40, kNow), kNow);
}

TEST(RateLimiterTest, SpacesOutWhatIsBooked) {
  RateLimiter limiter(1000);
  EXPECT_EQ(limiter.Book(100, kNow), kNow);  // the tenth of a second saved up
  EXPECT_EQ(limiter.Book(500, kNow), kNow);
  EXPECT_EQ(limiter.Book(1000, kNow), kNow + milliseconds(500));
  EXPECT_EQ(limiter.Book(1, kNow), kNow + milliseconds(1500));
}

TEST(RateLimiterTest, APauseSavesUpATenthOfASecondNoMore) {
  RateLimiter limiter(1000);
  limiter.Book(1000, kNow);
  const RateLimiter::Time later = kNow + hours(1);
  EXPECT_EQ(limiter.Book(200, later), later);
  EXPECT_EQ(limiter.Book(1, later), later + milliseconds(100));
}

TEST(RateLimiterTest, WhatWouldTakeForeverTakesLong) {
  RateLimiter limiter(1);
  limiter.Book(uint64_t{1} << 62, kNow);
  for (int thread = 0; thread < 64; ++thread) {
    EXPECT_GT(limiter.Book(uint64_t{1} << 62, kNow), kNow + hours(24 * 100 * (thread + 1)));
  }
}

TEST(RateLimiterTest, StepsAreSmallWhereTheRateIs) {
  EXPECT_EQ(RateLimiter(1000).step(), uint64_t{128} << 10);
  EXPECT_EQ(RateLimiter(64 << 20).step(), uint64_t{1} << 20);
  EXPECT_EQ(RateLimiter(uint64_t{1} << 40).step(), uint64_t{4} << 20);
  EXPECT_EQ(RateLimiter(0).step(), UINT64_MAX);
}

TEST(RateLimiterTest, KeepsTheRateInTheLongRun) {
  RateLimiter limiter(1 << 20);
  RateLimiter::Time now = kNow;
  for (int i = 0; i < 1000; ++i) now = std::max(now, limiter.Book(1 << 18, now));
  EXPECT_GE(now, kNow + seconds(249));
  EXPECT_LE(now, kNow + seconds(250));
}

}  // namespace
}  // namespace cowherd
