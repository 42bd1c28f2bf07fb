// What the news of a task make of it.
#include "server/sched/news.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "server/base/status.h"

namespace cowherd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(100);

Task Running() {
  Task task;
  task.state = TaskState::kRunning;
  task.open = true;
  task.attempt = 1;
  return task;
}

RunEvent Event(const std::string& run, uint64_t requested) {
  RunEvent event;
  event.run_id = run;
  event.totals.bytes_requested = requested;
  return event;
}

RunEvent Last(const std::string& run, uint64_t requested, absl::Status error = absl::OkStatus()) {
  RunEvent event = Event(run, requested);
  event.over = true;
  event.error = std::move(error);
  event.results = "results";
  return event;
}

Outcome Take(Task& task, const News& news, bool asked = false, bool starts_over = false) {
  std::mt19937_64 random(1);
  TryContext context;
  context.now = kNow;
  context.asked = asked;
  return TakeNews(task, news, starts_over, context, random);
}

TEST(News, ProgressIsCountedAndTheTryGoesOn) {
  Task task = Running();
  News news;
  news.progress = {Event("r1", 5), Event("r2", 1)};
  news.progress[1].node_started = kNow;
  const Outcome outcome = Take(task, news);
  EXPECT_FALSE(outcome.ending);
  EXPECT_TRUE(outcome.results.empty());
  EXPECT_EQ(task.totals().bytes_requested, 6u);
  EXPECT_EQ(task.run_id, "r2");
  EXPECT_EQ(task.node_started, kNow);
  EXPECT_EQ(task.state, TaskState::kRunning);
  Task over = Running();
  Take(over, news, false, /*starts_over=*/true);
  EXPECT_EQ(over.totals().bytes_requested, 1u);
}

TEST(News, ASummaryEndsTheTask) {
  Task task = Running();
  News news;
  news.progress = {Event("r1", 5)};
  news.end = TryEnd{Last("r1", 9), absl::OkStatus()};
  const Outcome outcome = Take(task, news);
  ASSERT_TRUE(outcome.ending);
  EXPECT_FALSE(outcome.ending->verdict);
  EXPECT_EQ(outcome.results, "results");
  EXPECT_EQ(task.state, TaskState::kSucceeded);
  EXPECT_FALSE(task.open);
  EXPECT_EQ(task.totals().bytes_requested, 9u);
}

TEST(News, ARunThatFailedIsJudgedByItsError) {
  Task task = Running();
  News news;
  news.end = TryEnd{Last("r1", 9, ErrnoError(ENOSPC, "x")), absl::OkStatus()};
  const Outcome outcome = Take(task, news);
  EXPECT_EQ(outcome.ending->verdict, Verdict::kFilesystem);
  EXPECT_EQ(ErrnoOf(outcome.ending->why), ENOSPC);
  EXPECT_EQ(task.totals().bytes_requested, 9u);
  EXPECT_EQ(task.state, TaskState::kWaiting);
  EXPECT_EQ(task.failures, 0u);
}

TEST(News, AStreamThatBrokeIsJudgedByItsStatus) {
  Task task = Running();
  News news;
  news.end = TryEnd{absl::nullopt, absl::UnavailableError("reset")};
  EXPECT_EQ(Take(task, news).ending->verdict, Verdict::kLost);
  EXPECT_TRUE(task.open);
  // One that just ended is said so.
  task = Running();
  news.end = TryEnd{absl::nullopt, absl::OkStatus()};
  EXPECT_EQ(ReasonOf(Take(task, news).ending->why), "STREAM_BROKEN");
  EXPECT_EQ(ReasonOf(task.error), "STREAM_BROKEN");
}

TEST(News, AStopThatWasAskedForIsNoFailure) {
  const absl::Status stopped = MakeError(absl::StatusCode::kUnknown, "CANCELLED", "stopped");
  News news;
  news.end = TryEnd{Last("r1", 1, stopped), absl::OkStatus()};
  Task task = Running();
  EXPECT_TRUE(Take(task, news, /*asked=*/true).ending->asked);
  EXPECT_EQ(task.failures, 0u);
  task = Running();
  EXPECT_FALSE(Take(task, news, /*asked=*/false).ending->asked);
  EXPECT_EQ(task.failures, 1u);
  // The end of its window came with the order.
  news.end =
      TryEnd{Last("r1", 1, MakeError(absl::StatusCode::kUnknown, "DEADLINE_EXCEEDED", "")), absl::OkStatus()};
  task = Running();
  EXPECT_TRUE(Take(task, news, /*asked=*/false).ending->asked);
  EXPECT_EQ(task.failures, 0u);
}

}  // namespace
}  // namespace cowherd
