// What the end of a try makes of a task, and how long filesystems are left alone.
#include "server/sched/try_end.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "server/base/status.h"
#include "server/sched/filesystem_pauses.h"

namespace cowherd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000);

Task Running(uint32_t failures = 0) {
  Task task;
  task.node = "a";
  task.state = TaskState::kRunning;
  task.open = true;
  task.attempt = 3;
  task.failures = failures;
  return task;
}

struct Row {
  std::string name;
  Verdict verdict;
  bool cancelled;
  bool asked;
  uint32_t failures_before;
  // What comes of it.
  TaskState state;
  uint32_t failures;
  bool open;
  bool waits;
  bool error;
};

using S = TaskState;
using V = Verdict;
const Row kRows[] = {
    {"lost", V::kLost, false, false, 4, S::kWaiting, 4, true, true, true},
    {"lost under a cancel", V::kLost, true, true, 4, S::kWaiting, 4, true, true, true},
    {"busy", V::kBusy, false, false, 4, S::kWaiting, 4, true, true, true},
    {"fenced", V::kFenced, false, false, 4, S::kWaiting, 4, true, false, true},
    {"retry", V::kRetry, false, false, 0, S::kWaiting, 1, false, true, true},
    {"retry once too often", V::kRetry, false, false, 9, S::kFailed, 10, false, false, true},
    {"retry under a cancel", V::kRetry, true, true, 9, S::kCancelled, 9, false, false, true},
    {"filesystem", V::kFilesystem, false, false, 9, S::kWaiting, 9, false, true, true},
    {"filesystem under a cancel", V::kFilesystem, true, true, 9, S::kCancelled, 9, false, false, true},
    {"absent", V::kAbsent, false, false, 9, S::kWaiting, 9, false, true, true},
    {"final", V::kFinal, false, false, 0, S::kFailed, 0, false, false, true},
    {"final under a cancel", V::kFinal, true, true, 0, S::kFailed, 0, false, false, true},
    {"stopped as asked", V::kStopped, false, true, 1, S::kWaiting, 1, false, false, false},
    {"stopped by somebody", V::kStopped, false, false, 1, S::kWaiting, 2, false, true, true},
    {"stopped under a cancel", V::kStopped, true, true, 1, S::kCancelled, 1, false, false, true},
};

TEST(FailTry, Verdicts) {
  std::mt19937_64 random(1);
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    Task task = Running(row.failures_before);
    TryContext context;
    context.now = kNow;
    context.cancelled = row.cancelled;
    context.asked = row.asked;
    FailTry(task, row.verdict, ErrnoError(EIO, "x"), context, random);
    EXPECT_EQ(task.state, row.state);
    EXPECT_EQ(task.open, row.open);
    EXPECT_EQ(task.failures, row.failures);
    EXPECT_EQ(task.next_attempt > kNow, row.waits);
    EXPECT_EQ(!task.error.ok(), row.error);
    EXPECT_EQ(task.attempt, 3u);
    EXPECT_TRUE(LegalMove(TaskState::kRunning, task.state));
  }
}

TEST(FailTry, WhatWaitsForItsFilesystemIsTriedAgainLessAndLessOften) {
  std::mt19937_64 random(1);
  TryContext context;
  context.now = kNow;
  for (const Verdict verdict : {V::kFilesystem, V::kAbsent}) {
    absl::Duration longest;
    for (uint32_t attempt = 1; attempt <= 1'000; ++attempt) {
      Task task = Running();
      task.attempt = attempt;
      FailTry(task, verdict, ErrnoError(ENOSPC, "x"), context, random);
      ASSERT_EQ(task.state, TaskState::kWaiting);
      longest = std::max(longest, task.next_attempt - kNow);
      EXPECT_TRUE(attempt > 1 || longest <= absl::Seconds(2));
    }
    EXPECT_GT(longest, absl::Minutes(4));
    EXPECT_LE(longest, absl::Minutes(5));
  }
}

TEST(FinishTask, LeavesNoError) {
  Task task = Running(2);
  task.error = absl::UnavailableError("before");
  FinishTask(task);
  EXPECT_EQ(task.state, TaskState::kSucceeded);
  EXPECT_FALSE(task.open);
  EXPECT_TRUE(task.error.ok());
}

TEST(CrashTry, TheSecondTimeItIsPoison) {
  std::mt19937_64 random(1);
  TryContext context;
  context.now = kNow;
  Task task = Running();
  task.node_started = kNow;
  CrashTry(task, context, random);
  EXPECT_EQ(task.state, TaskState::kWaiting);
  EXPECT_FALSE(task.open);
  EXPECT_GT(task.next_attempt, kNow);
  EXPECT_EQ(ReasonOf(task.error), "NODE_CRASHED");
  EXPECT_EQ(task.node_started, absl::InfinitePast());
  task.state = TaskState::kRunning;
  task.open = true;
  Task cancelled = Running();
  CrashTry(task, context, random);
  EXPECT_EQ(task.state, TaskState::kFailed);
  EXPECT_EQ(task.crashes, 2u);
  EXPECT_EQ(ReasonOf(task.error), "POISON");
  context.cancelled = true;
  CrashTry(cancelled, context, random);
  EXPECT_EQ(cancelled.state, TaskState::kCancelled);
}

TEST(JudgeRestart, ATaskIsBlamedForWhatItsRunMayHaveDone) {
  const absl::Time later = kNow + absl::Seconds(1);
  LastHeard last;
  // Nobody knows to which start of the node it was given.
  EXPECT_EQ(JudgeRestart(last, kNow), RestartVerdict::kSame);
  last.node_started = kNow;
  EXPECT_EQ(JudgeRestart(last, kNow), RestartVerdict::kSame);
  EXPECT_EQ(JudgeRestart(last, later), RestartVerdict::kCrashed);
  // The order may never have come to the node; but hardly twice.
  last.unheard = true;
  EXPECT_EQ(JudgeRestart(last, later), RestartVerdict::kExcused);
  last.excused = true;
  EXPECT_EQ(JudgeRestart(last, later), RestartVerdict::kCrashed);
}

TEST(GiveUpTask, EndsIt) {
  Task task = Running();
  task.next_attempt = kNow;
  GiveUpTask(task, absl::UnavailableError("lost"));
  EXPECT_EQ(task.state, TaskState::kFailed);
  EXPECT_FALSE(task.open);
  EXPECT_EQ(task.next_attempt, absl::InfinitePast());
  EXPECT_EQ(task.error.message(), "lost");
}

TEST(CloseTry, WaitsOrIsCancelled) {
  TryContext context;
  context.now = kNow;
  Task task = Running();
  task.next_attempt = kNow;
  CloseTry(task, absl::UnavailableError("lost"), context);
  EXPECT_EQ(task.state, TaskState::kWaiting);
  EXPECT_FALSE(task.open);
  EXPECT_EQ(task.waiting_since, kNow);
  EXPECT_EQ(task.next_attempt, absl::InfinitePast());
  EXPECT_EQ(task.error.message(), "lost");
  context.cancelled = true;
  task = Running();
  CloseTry(task, absl::OkStatus(), context);
  EXPECT_EQ(task.state, TaskState::kCancelled);
}

TEST(FilesystemPauses, GrowUntilSomethingWorks) {
  std::mt19937_64 random(1);
  FilesystemPauses pauses;
  const FilesystemPauses::Key key{"a", "uuid"};
  absl::Time now = kNow;
  absl::Duration longest;
  for (uint32_t failures = 1; failures <= 12; ++failures) {
    const absl::Time until = pauses.Failed(key, ErrnoError(ENOSPC, "x"), now, random);
    EXPECT_GE(until, now + absl::Seconds(1));
    EXPECT_LE(until, now + absl::Minutes(5));
    longest = std::max(longest, until - now);
    ASSERT_NE(pauses.Find(key, until - absl::Nanoseconds(1)), nullptr);
    EXPECT_EQ(pauses.Find(key, now)->failures, failures);
    EXPECT_EQ(ErrnoOf(pauses.Find(key, now)->why), ENOSPC);
    EXPECT_EQ(pauses.count(now), 1u);
    EXPECT_EQ(pauses.Find(key, until), nullptr);
    EXPECT_EQ(pauses.count(until), 0u);
    now = until;
  }
  EXPECT_GT(longest, absl::Minutes(1));
  EXPECT_EQ(pauses.Find({"b", "uuid"}, kNow), nullptr);
  EXPECT_TRUE(pauses.Worked(key));
  EXPECT_FALSE(pauses.Worked(key));
  EXPECT_LE(pauses.Failed(key, ErrnoError(EIO, "x"), now, random), now + absl::Seconds(2));
  // What happened long ago does not count.
  pauses.Failed({"b", "y"}, ErrnoError(EIO, "x"), now + absl::Hours(2), random);
  EXPECT_EQ(pauses.all().size(), 1u);
}

}  // namespace
}  // namespace cowherd
