#include "server/scan/pressure_gate.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasReason;

TEST(ParseStalled, TakesTheTotalOfSome) {
  EXPECT_EQ(*ParseStalled("some avg10=3.26 avg60=2.61 avg300=4.05 total=36667689\n"
                          "full avg10=2.77 avg60=1.53 avg300=1.93 total=17119582\n"),
            microseconds(36667689));
  EXPECT_EQ(*ParseStalled("full total=1\nsome total=0"), microseconds(0));
}

TEST(ParseStalled, SaysWhatIsMissing) {
  for (const char* text :
       {"", "some", "full avg10=0.00 total=5", "some total=x", "some total=-1", "some avg10=1"}) {
    EXPECT_THAT(ParseStalled(text), HasReason("PRESSURE_UNREADABLE")) << text;
  }
}

// A machine on which others wait for I/O a part of the time, and scans, while they go on, another.
class PressureGateTest : public ::testing::Test {
 protected:
  // Goes on for so long; counts the pauses and the time in them.
  void Run(PressureGate::Duration span, double others, double own) {
    const PressureGate::Time end = now_ + span;
    while (now_ < end) {
      if (now_ >= gate_.next_look()) {
        const bool was_paused = gate_.paused();
        gate_.Look(now_, stalled_);
        if (gate_.paused() && !was_paused) ++pauses_;
      }
      constexpr auto kStep = milliseconds(100);
      const double part = gate_.paused() ? others : std::min(1.0, others + own);
      stalled_ += std::chrono::duration_cast<PressureGate::Duration>(kStep * part);
      if (gate_.paused()) paused_ += kStep;
      now_ += kStep;
    }
  }

  PressureGate gate_{0.2};
  PressureGate::Time now_ = PressureGate::Time() + minutes(1000);
  PressureGate::Duration stalled_ = minutes(7);
  int pauses_ = 0;
  PressureGate::Duration paused_{};
};

TEST_F(PressureGateTest, NoPressureNoPause) {
  Run(minutes(10), 0.1, 0.05);
  EXPECT_EQ(pauses_, 0);
}

TEST_F(PressureGateTest, ShortScansDoNotPause) {
  Run(seconds(10), 1, 1);
  EXPECT_EQ(pauses_, 0);
}

// What a scan does to itself costs it little, and ever less.
TEST_F(PressureGateTest, AScanAloneGoesOn) {
  Run(seconds(60), 0, 0.95);
  EXPECT_GE(pauses_, 1);
  EXPECT_LE(paused_, seconds(2));
  Run(minutes(60), 0, 0.95);
  EXPECT_LE(paused_, seconds(36));
  EXPECT_GE(pauses_, 30);
}

TEST_F(PressureGateTest, OthersGetTheDiskForAsLongAsTheyWait) {
  Run(seconds(12), 0.5, 0.9);
  EXPECT_TRUE(gate_.paused());
  Run(seconds(20), 0.5, 0.9);
  EXPECT_EQ(pauses_, 1);
  EXPECT_TRUE(gate_.paused());
  // Above half of the limit still.
  Run(seconds(5), 0.15, 0.9);
  EXPECT_TRUE(gate_.paused());
  Run(seconds(3), 0.05, 0.9);
  EXPECT_FALSE(gate_.paused());
}

TEST_F(PressureGateTest, ComesBackSoonAfterOthersWaited) {
  Run(seconds(30), 0.5, 0.9);
  Run(seconds(2), 0, 0.9);
  ASSERT_FALSE(gate_.paused());
  Run(seconds(6), 0.5, 0.9);
  EXPECT_TRUE(gate_.paused());
}

// On a machine that is always busy, scans get a twentieth of the time.
TEST_F(PressureGateTest, ScansAreNotStarved) {
  Run(minutes(60), 0.8, 0.2);
  EXPECT_LE(paused_, minutes(58));
  EXPECT_GE(paused_, minutes(54));
}

TEST_F(PressureGateTest, ANewScanAfterALongTimeBeginsAnew) {
  Run(seconds(30), 0.5, 0.9);
  Run(seconds(2), 0, 0.9);
  now_ += minutes(5);
  stalled_ += minutes(5);
  const int before = pauses_;
  Run(seconds(10), 1, 1);
  EXPECT_EQ(pauses_, before);
}

}  // namespace
}  // namespace cowherd
