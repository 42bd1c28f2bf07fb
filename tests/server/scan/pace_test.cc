#include "server/scan/pace.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class PaceTest : public ::testing::Test {
 protected:
  SharedTotals totals_;
  Stop stop_;
};

TEST_F(PaceTest, NothingToWaitFor) {
  Pace pace(0, nullptr, totals_);
  for (int i = 0; i < 1000; ++i) pace.Wait(uint64_t{1} << 40, stop_);
  EXPECT_EQ(totals_.Get(), Totals());
}

TEST_F(PaceTest, TheRateHoldsAndIsCounted) {
  Pace pace(1 << 20, nullptr, totals_);
  pace.Wait(200 << 10, stop_);
  const auto begin = steady_clock::now();
  pace.Wait(1, stop_);
  const auto waited = steady_clock::now() - begin;
  EXPECT_GE(waited, microseconds(90'000));
  EXPECT_GE(totals_.Get().rate_wait_ns, 90'000'000u);
  EXPECT_EQ(totals_.Get().pressure_wait_ns, 0u);
}

TEST_F(PaceTest, AStopEndsTheWait) {
  Pace pace(1, nullptr, totals_);
  pace.Wait(1 << 30, stop_);
  stop_.Request();
  pace.Wait(1 << 30, stop_);
  EXPECT_FALSE(stop_.Check().ok());
}

TEST_F(PaceTest, PressureIsNotAskedForAllTheTime) {
  int reads = 0;
  PressurePause pressure(PressureGate(0.2), [&]() -> absl::StatusOr<std::string> {
    ++reads;
    return "some total=0\n";
  });
  Pace pace(0, &pressure, totals_);
  for (int i = 0; i < 1000; ++i) pace.Wait(1, stop_);
  EXPECT_EQ(reads, 1);
}

TEST_F(PaceTest, AStopEndsAPauseThatIsCounted) {
  // Somebody waited all of the eleven seconds that scans went on.
  PressureGate gate(0.2);
  const PressureGate::Time now = steady_clock::now();
  for (int ago : {11, 1, 0}) gate.Look(now - seconds(ago), seconds(100 - ago));
  ASSERT_TRUE(gate.paused());
  PressurePause pressure(gate, [&]() -> absl::StatusOr<std::string> {
    const auto stalled = seconds(100) + (steady_clock::now() - now);
    return absl::StrCat("some total=", std::chrono::duration_cast<microseconds>(stalled).count(), "\n");
  });
  Pace pace(0, &pressure, totals_);
  std::thread canceller([&] {
    stop_.SleepUntil(now + milliseconds(20));
    stop_.Request();
  });
  pace.Wait(1, stop_);
  canceller.join();
  EXPECT_FALSE(stop_.Check().ok());
  EXPECT_GE(totals_.Get().pressure_wait_ns, 5'000'000u);
}

TEST_F(PaceTest, WithoutTheKernelsHelpThereIsNoPause) {
  int reads = 0;
  PressurePause pressure(PressureGate(0.2), [&]() -> absl::StatusOr<std::string> {
    ++reads;
    return ErrnoError(ENOENT, "open /proc/pressure/io");
  });
  Pace pace(0, &pressure, totals_);
  for (int i = 0; i < 10; ++i) pace.Wait(1, stop_);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(totals_.Get().pressure_wait_ns, 0u);
}

// As when no descriptor is free for a moment.
TEST(PressurePauseTest, WhatCannotBeReadIsReadAgainLater) {
  bool readable = false;
  int reads = 0;
  const PressureGate::Time begin = steady_clock::now();
  PressureGate::Time now = begin;
  PressurePause pressure(PressureGate(0.2), [&]() -> absl::StatusOr<std::string> {
    ++reads;
    if (!readable) return ErrnoError(EMFILE, "open /proc/pressure/io");
    // Somebody waits all the time.
    return absl::StrCat("some total=", std::chrono::duration_cast<microseconds>(now - begin).count(), "\n");
  });
  const auto goes_on = [&] { return pressure.Ask(now) <= now; };
  EXPECT_TRUE(goes_on());
  now += seconds(59);
  EXPECT_TRUE(goes_on());
  EXPECT_EQ(reads, 1);
  now += seconds(1);
  EXPECT_TRUE(goes_on());
  EXPECT_EQ(reads, 2);
  readable = true;
  now += seconds(60);
  EXPECT_TRUE(goes_on());
  EXPECT_EQ(reads, 3);
  // Scans go on for ten seconds before there is a look at who waits.
  now += seconds(10);
  EXPECT_TRUE(goes_on());
  now += seconds(1);
  EXPECT_FALSE(goes_on());
}

}  // namespace
}  // namespace cowherd
