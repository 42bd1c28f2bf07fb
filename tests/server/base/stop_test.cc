#include "server/base/stop.h"

#include <chrono>
#include <future>
#include <thread>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using std::chrono::hours;
using std::chrono::steady_clock;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

TEST(StopTest, GoesOnUntilRequested) {
  Stop stop;
  EXPECT_THAT(stop.Check(), IsOk());
  stop.Request();
  EXPECT_THAT(stop.Check(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(stop.Check(), HasReason("CANCELLED"));
}

TEST(StopTest, Deadline) {
  EXPECT_THAT(Stop(steady_clock::now() + hours(1)).Check(), IsOk());
  Stop late(steady_clock::now() - hours(1));
  EXPECT_THAT(late.Check(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(late.Check(), HasReason("DEADLINE_EXCEEDED"));
  late.Request();
  EXPECT_THAT(late.Check(), StatusIs(absl::StatusCode::kCancelled));
}

TEST(StopTest, SleepEndsWithTheRequest) {
  Stop stop;
  std::promise<void> about_to_sleep;
  std::thread sleeper([&] {
    about_to_sleep.set_value();
    stop.SleepUntil(steady_clock::now() + hours(1));
  });
  about_to_sleep.get_future().wait();
  stop.Request();
  sleeper.join();
  stop.SleepUntil(Stop::SteadyTime::max());  // requested: no sleep at all
}

TEST(StopTest, SleepEndsAtTheDeadlineOrItsTime) {
  Stop late(steady_clock::now() - hours(1));
  late.SleepUntil(steady_clock::now() + hours(1));
  Stop stop;
  stop.SleepUntil(steady_clock::now() - hours(1));
  EXPECT_THAT(stop.Check(), IsOk());
}

}  // namespace
}  // namespace cowherd
