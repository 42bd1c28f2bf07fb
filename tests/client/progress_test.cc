#include "client/progress.h"

#include <gtest/gtest.h>

#include <sstream>

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(Progress, KnowsNothingAtFirst) {
  Progress progress;
  EXPECT_EQ(progress.Line(), "");
  progress.Update(At(0), 0, 100 * kMiB);
  EXPECT_FALSE(progress.Rate());
  EXPECT_FALSE(progress.TimeLeft());
  EXPECT_EQ(progress.Line(), "0 B of 100 MiB");
}

TEST(Progress, RateAfterOneSecondTimeLeftAfterThree) {
  Progress progress;
  progress.Update(At(0), 0, 100 * kMiB);
  progress.Update(At(0.5), 5 * kMiB, 100 * kMiB);
  EXPECT_FALSE(progress.Rate());
  progress.Update(At(2), 20 * kMiB, 100 * kMiB);
  EXPECT_DOUBLE_EQ(*progress.Rate(), 10.0 * kMiB);
  EXPECT_FALSE(progress.TimeLeft());
  EXPECT_EQ(progress.Line(), " 20%  20 MiB of 100 MiB  10 MiB/s");
  progress.Update(At(4), 40 * kMiB, 100 * kMiB);
  EXPECT_EQ(*progress.TimeLeft(), absl::Seconds(6));
  EXPECT_EQ(progress.Line(), " 40%  40 MiB of 100 MiB  10 MiB/s  6 s left");
}

TEST(Progress, OldSpeedIsForgotten) {
  Progress progress;
  for (int second = 0; second <= 20; ++second) {
    progress.Update(At(second), (second <= 5 ? second * 100u : 500u + (second - 5) * 1u) * kMiB, 1000 * kMiB);
  }
  EXPECT_NEAR(*progress.Rate(), 1.0 * kMiB, 0.01 * kMiB);
}

TEST(Progress, NoTimeLeftWhileTheTotalGrows) {
  Progress progress;
  for (int second = 0; second <= 5; ++second) {
    progress.Update(At(second), second * kMiB, (10 + second) * kMiB);
  }
  EXPECT_FALSE(progress.TimeLeft());
  EXPECT_EQ(progress.Line(), "5 MiB of 15 MiB  1 MiB/s");
  for (int second = 6; second <= 16; ++second) progress.Update(At(second), second * kMiB, 32 * kMiB);
  EXPECT_EQ(*progress.TimeLeft(), absl::Seconds(16));
}

TEST(Progress, NoTimeLeftWhenNothingMovesOrTheTotalIsUnknown) {
  Progress still;
  Progress unknown;
  for (int second = 0; second <= 5; ++second) {
    still.Update(At(second), kMiB, 10 * kMiB);
    unknown.Update(At(second), second * kMiB, 0);
  }
  EXPECT_FALSE(still.TimeLeft());
  EXPECT_FALSE(unknown.TimeLeft());
  EXPECT_EQ(unknown.Line(), "5 MiB  1 MiB/s");
}

TEST(Progress, StartsOverWhenCountersGoBack) {
  Progress progress;
  progress.Update(At(0), 50 * kMiB, 100 * kMiB);
  progress.Update(At(5), 90 * kMiB, 100 * kMiB);
  progress.Update(At(6), 0, 100 * kMiB);
  EXPECT_FALSE(progress.Rate());
}

TEST(ProgressLine, WritesOverAndCutsAndClears) {
  std::ostringstream out;
  {
    ProgressLine line(out, /*shown=*/true, /*columns=*/6);
    line.Show("abcdefgh");
    EXPECT_EQ(out.str(), "\rabcde\x1b[K");
    out.str("");
  }
  EXPECT_EQ(out.str(), "\r\x1b[K");
}

TEST(ProgressLine, SilentWhereNotShown) {
  std::ostringstream out;
  {
    ProgressLine line(out, /*shown=*/false, 80);
    line.Show("abc");
  }
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace cowherd
