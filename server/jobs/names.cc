#include "server/jobs/names.h"

namespace cowherd {
namespace {

template <typename Value, size_t kCount>
absl::optional<Value> Find(const Value (&values)[kCount], absl::string_view (*name_of)(Value),
                           absl::string_view name) {
  for (Value value : values) {
    if (name_of(value) == name) return value;
  }
  return absl::nullopt;
}

}  // namespace

absl::optional<JobState> JobStateFrom(absl::string_view name) {
  constexpr JobState kAll[] = {JobState::kPending,   JobState::kRunning, JobState::kPaused,
                               JobState::kSucceeded, JobState::kFailed,  JobState::kCancelled};
  return Find(kAll, JobStateName, name);
}

absl::optional<TaskState> TaskStateFrom(absl::string_view name) {
  constexpr TaskState kAll[] = {TaskState::kWaiting, TaskState::kRunning, TaskState::kSucceeded,
                                TaskState::kFailed, TaskState::kCancelled};
  return Find(kAll, TaskStateName, name);
}

absl::optional<Wanted> WantedFrom(absl::string_view name) {
  constexpr Wanted kAll[] = {Wanted::kRun, Wanted::kPause, Wanted::kCancel};
  return Find(kAll, WantedName, name);
}

}  // namespace cowherd
