#include "server/jobs/job.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

Task TaskIn(TaskState state, uint32_t attempt = 1) {
  Task task;
  task.state = state;
  task.attempt = attempt;
  return task;
}

TEST(CountRunTest, ARunThatStartsOverReplacesTheOneBefore) {
  Task task;
  Totals half;
  half.bytes_accepted = 3;
  Totals whole;
  whole.bytes_accepted = 5;
  CountRun(task, "a", half, /*starts_over=*/true);
  CountRun(task, "b", whole, /*starts_over=*/true);
  EXPECT_EQ(task.carried + task.current, whole);
}

JobState StateOf(Wanted wanted, const std::vector<Task>& tasks) {
  TaskCounts counts;
  for (const Task& task : tasks) counts.Add(task.state, task.attempt);
  return JobStateOf(wanted, counts);
}

TEST(TaskCounts, ForgetsWhatIsRemoved) {
  TaskCounts counts;
  counts.Add(TaskState::kWaiting, 0);
  counts.Add(TaskState::kRunning, 1);
  counts.Add(TaskState::kFailed, 3);
  EXPECT_EQ(counts.left(), 2u);
  EXPECT_EQ(counts.started, 2u);
  counts.Remove(TaskState::kRunning, 1);
  counts.Add(TaskState::kSucceeded, 1);
  counts.Remove(TaskState::kWaiting, 0);
  EXPECT_EQ(counts.left(), 0u);
  EXPECT_EQ(counts.started, 2u);
  EXPECT_EQ(counts.in(TaskState::kSucceeded), 1u);
  EXPECT_EQ(counts.in(TaskState::kFailed), 1u);
}

TEST(JobStateOf, FollowsFromTasks) {
  const Task fresh = TaskIn(TaskState::kWaiting, 0);
  const Task again = TaskIn(TaskState::kWaiting, 1);
  const Task running = TaskIn(TaskState::kRunning);
  const Task done = TaskIn(TaskState::kSucceeded);
  const Task failed = TaskIn(TaskState::kFailed);
  const Task cancelled = TaskIn(TaskState::kCancelled);

  EXPECT_EQ(StateOf(Wanted::kRun, {fresh, fresh}), JobState::kPending);
  EXPECT_EQ(StateOf(Wanted::kRun, {fresh, again}), JobState::kRunning);
  EXPECT_EQ(StateOf(Wanted::kRun, {fresh, running}), JobState::kRunning);
  EXPECT_EQ(StateOf(Wanted::kRun, {done, failed, fresh}), JobState::kRunning);
  EXPECT_EQ(StateOf(Wanted::kRun, {done, done}), JobState::kSucceeded);
  EXPECT_EQ(StateOf(Wanted::kRun, {done, failed}), JobState::kFailed);
  EXPECT_EQ(StateOf(Wanted::kPause, {fresh, running}), JobState::kPaused);
  EXPECT_EQ(StateOf(Wanted::kPause, {done}), JobState::kSucceeded);
  EXPECT_EQ(StateOf(Wanted::kCancel, {cancelled, running}), JobState::kRunning);
  EXPECT_EQ(StateOf(Wanted::kCancel, {cancelled, failed, done}), JobState::kCancelled);
  // The cancel came too late to change anything.
  EXPECT_EQ(StateOf(Wanted::kCancel, {done, done}), JobState::kSucceeded);
}

TEST(LegalMove, NothingLeavesTheEnd) {
  const JobState jobs[] = {JobState::kPending,   JobState::kRunning, JobState::kPaused,
                           JobState::kSucceeded, JobState::kFailed,  JobState::kCancelled};
  for (JobState from : jobs) {
    for (JobState to : jobs) {
      EXPECT_TRUE(!Ended(from) || LegalMove(from, to) == (from == to));
    }
  }
  const TaskState tasks[] = {TaskState::kWaiting, TaskState::kRunning, TaskState::kSucceeded,
                             TaskState::kFailed, TaskState::kCancelled};
  for (TaskState from : tasks) {
    for (TaskState to : tasks) {
      EXPECT_TRUE(!Ended(from) || LegalMove(from, to) == (from == to));
    }
  }
  EXPECT_FALSE(LegalMove(JobState::kRunning, JobState::kPending));
  EXPECT_FALSE(LegalMove(TaskState::kWaiting, TaskState::kSucceeded));
  EXPECT_TRUE(LegalMove(TaskState::kRunning, TaskState::kWaiting));
}

TEST(CountRun, CountsEachRunOnce) {
  Totals first;
  first.bytes_accepted = 10;
  first.bytes_won = -3;
  first.elapsed = absl::Seconds(1);
  Totals later = first;
  later.bytes_accepted = 25;
  Totals other;
  other.bytes_accepted = 4;
  other.bytes_won = 5;

  Task task;
  CountRun(task, "a", first, /*starts_over=*/false);
  EXPECT_EQ(task.totals(), first);
  CountRun(task, "a", later, /*starts_over=*/false);
  CountRun(task, "a", later, /*starts_over=*/false);
  EXPECT_EQ(task.totals(), later);
  CountRun(task, "b", other, /*starts_over=*/false);
  EXPECT_EQ(task.totals().bytes_accepted, 29u);
  EXPECT_EQ(task.totals().bytes_won, 2);
  EXPECT_EQ(task.totals().elapsed, absl::Seconds(1));
  CountRun(task, "b", other, /*starts_over=*/false);
  EXPECT_EQ(task.totals().bytes_accepted, 29u);
  EXPECT_EQ(task.carried, later);
}

TEST(CountRun, ARunThatLooksAgainDoesNotDoubleWhatItLooksAt) {
  Totals first;
  first.duplicate_bytes = 100;
  first.bytes_scanned = 400;
  first.bytes_accepted = 90;
  first.work_planned = 200;
  first.work_done = 180;
  Totals second;
  second.duplicate_bytes = 10;
  second.bytes_scanned = 50;
  second.bytes_accepted = 10;
  second.work_planned = 20;
  second.work_done = 20;

  Task task;
  CountRun(task, "a", first, /*starts_over=*/false);
  CountRun(task, "b", second, /*starts_over=*/false);
  EXPECT_EQ(task.totals().duplicate_bytes, 100u);
  EXPECT_EQ(task.totals().bytes_scanned, 50u);
  EXPECT_EQ(task.totals().bytes_accepted, 100u);
  EXPECT_EQ(task.totals().work_done, 200u);
  EXPECT_EQ(task.totals().work_planned, 200u);

  CountRun(task, "c", Totals(), /*starts_over=*/false);
  EXPECT_EQ(task.totals().duplicate_bytes, 100u);
  EXPECT_EQ(task.totals().bytes_scanned, 0u);
  EXPECT_EQ(task.totals().bytes_accepted, 100u);
}

TEST(CountRun, OfRunsThatStartOverOnlyTheLastCounts) {
  Totals run;
  run.bytes_accepted = 10;
  run.duplicate_bytes = 10;
  Task task;
  CountRun(task, "a", run, /*starts_over=*/true);
  run.bytes_accepted = run.duplicate_bytes = 8;
  CountRun(task, "b", run, /*starts_over=*/true);
  EXPECT_EQ(task.totals(), run);
}

TEST(SumOf, AddsEveryField) {
  Totals one;
  for (const TotalsCounter& counter : TotalsCounters()) one.*counter.value = 1;
  one.bytes_won = 1;
  one.elapsed = absl::Nanoseconds(1);
  Task task;
  task.current = one;
  Totals two = one + one;
  for (const TotalsCounter& counter : TotalsCounters()) EXPECT_EQ(two.*counter.value, 2u) << counter.name;
  EXPECT_EQ(two.bytes_won, 2);
  EXPECT_EQ(two.elapsed, absl::Nanoseconds(2));
  EXPECT_EQ(SumOf({task, task}), two);
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace cowherd
