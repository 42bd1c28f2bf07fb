#include "server/jobs/job.h"

#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

// Rows: from. Columns: pending, running, paused, succeeded, failed, cancelled.
constexpr bool kJobMoves[6][6] = {
    {true, true, true, false, true, true},      // pending
    {false, true, true, true, true, true},      // running
    {true, true, true, true, true, true},       // paused
    {false, false, false, true, false, false},  // succeeded
    {false, false, false, false, true, false},  // failed
    {false, false, false, false, false, true},  // cancelled
};

// Columns: waiting, running, succeeded, failed, cancelled.
constexpr bool kTaskMoves[5][5] = {
    {true, true, false, true, true},     // waiting
    {true, true, true, true, true},      // running
    {false, false, true, false, false},  // succeeded
    {false, false, false, true, false},  // failed
    {false, false, false, false, true},  // cancelled
};

}  // namespace

absl::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kPending:
      return "pending";
    case JobState::kRunning:
      return "running";
    case JobState::kPaused:
      return "paused";
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "cancelled";
  }
  return "";
}

absl::string_view TaskStateName(TaskState state) {
  switch (state) {
    case TaskState::kWaiting:
      return "waiting";
    case TaskState::kRunning:
      return "running";
    case TaskState::kSucceeded:
      return "succeeded";
    case TaskState::kFailed:
      return "failed";
    case TaskState::kCancelled:
      return "cancelled";
  }
  return "";
}

absl::string_view WantedName(Wanted wanted) {
  switch (wanted) {
    case Wanted::kRun:
      return "run";
    case Wanted::kPause:
      return "pause";
    case Wanted::kCancel:
      return "cancel";
  }
  return "";
}

std::string TaskId(const Job& job, uint32_t number) { return absl::StrCat(job.id, "-", number); }

bool Ended(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed || state == JobState::kCancelled;
}

bool Ended(TaskState state) { return state != TaskState::kWaiting && state != TaskState::kRunning; }

bool LegalMove(JobState from, JobState to) {
  return kJobMoves[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

bool LegalMove(TaskState from, TaskState to) {
  return kTaskMoves[static_cast<size_t>(from)][static_cast<size_t>(to)];
}

void TaskCounts::Add(TaskState state, uint32_t attempt) {
  ++in_state[static_cast<size_t>(state)];
  if (attempt > 0) ++started;
}

void TaskCounts::Remove(TaskState state, uint32_t attempt) {
  --in_state[static_cast<size_t>(state)];
  if (attempt > 0) --started;
}

JobState JobStateOf(Wanted wanted, const TaskCounts& tasks) {
  if (tasks.left() == 0) {
    if (tasks.in(TaskState::kCancelled) > 0) return JobState::kCancelled;
    return tasks.in(TaskState::kFailed) > 0 ? JobState::kFailed : JobState::kSucceeded;
  }
  if (wanted == Wanted::kPause) return JobState::kPaused;
  return tasks.started > 0 ? JobState::kRunning : JobState::kPending;
}

Totals SumOf(const std::vector<Task>& tasks) {
  Totals sum;
  for (const Task& task : tasks) sum += task.totals();
  return sum;
}

void CountRun(Task& task, absl::string_view run_id, const Totals& totals, bool starts_over) {
  if (task.run_id != run_id) {
    if (!starts_over) task.carried = task.totals();
    task.run_id = std::string(run_id);
  }
  task.current = totals;
}

}  // namespace cowherd
