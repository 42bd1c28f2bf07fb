#ifndef COWHERD_SERVER_JOBS_JOB_H_
#define COWHERD_SERVER_JOBS_JOB_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/totals.h"

// Jobs and their tasks: plain values, and the rules by which they change. Pure; no locks, no I/O.
namespace cowherd {

enum class JobState { kPending, kRunning, kPaused, kSucceeded, kFailed, kCancelled };
enum class TaskState { kWaiting, kRunning, kSucceeded, kFailed, kCancelled };

// What was last asked of a job. Its state follows when its tasks do.
enum class Wanted { kRun, kPause, kCancel };

// "pending", "waiting": for the store, the log and metrics.
absl::string_view JobStateName(JobState state);
absl::string_view TaskStateName(TaskState state);
absl::string_view WantedName(Wanted wanted);

// What the request_id of a job begins with that a schedule made.
inline constexpr absl::string_view kRunRequestPrefix = "schedule/";

// Times that are not set are absl::InfinitePast().
struct Job {
  std::string id;
  // Chosen by the client; empty: none.
  std::string request_id;
  // Given by the store: grows with every job made.
  uint64_t sequence = 0;
  JobState state = JobState::kPending;
  Wanted wanted = Wanted::kRun;
  absl::Time created = absl::InfinitePast();
  absl::Time started = absl::InfinitePast();
  absl::Time ended = absl::InfinitePast();
  // Over all tasks.
  Totals totals;
  uint64_t revision = 1;
  // Tasks ever made: the next one's number.
  uint32_t tasks_made = 0;
};

struct Task {
  // Within its job.
  uint32_t number = 0;
  std::string node;
  std::string root;
  // Absolute host paths beneath the root. Empty: all of it.
  std::vector<std::string> paths;
  // False: stands for what its node will be found to have.
  bool expanded = false;
  TaskState state = TaskState::kWaiting;
  // A run of this attempt may exist on the node: the same attempt is sent again, and only the node can say
  // that it is over.
  bool open = false;
  uint32_t attempt = 0;
  // Attempts that failed and were not the fault of the way to the node.
  uint32_t failures = 0;
  // Times that the node began anew while the task ran there: it may be what brought the node down.
  uint32_t crashes = 0;
  // When the node that the open run was given to had begun. Not set: not known, or none is open.
  absl::Time node_started = absl::InfinitePast();
  absl::Time next_attempt = absl::InfinitePast();
  absl::Time waiting_since = absl::InfinitePast();
  absl::Status error;
  // The run that `current` belongs to. Empty: none yet.
  std::string run_id;
  Totals current;
  // Of the runs before.
  Totals carried;

  Totals totals() const { return OverRuns(carried, current); }
};

// A job with all that belongs to it.
struct JobRecord {
  Job job;
  // Opaque here.
  std::string spec;
  // By number.
  std::vector<Task> tasks;
  // Opaque outcomes of ended tasks, by task number.
  std::map<uint32_t, std::string> results;
};

// Unique for ever, as job ids are random.
std::string TaskId(const Job& job, uint32_t number);

bool Ended(JobState state);
bool Ended(TaskState state);

// Whether the state may follow the other. Staying is no move and always legal.
bool LegalMove(JobState from, JobState to);
bool LegalMove(TaskState from, TaskState to);

// How many of a job's tasks stand where.
struct TaskCounts {
  // By TaskState.
  std::array<uint32_t, 5> in_state{};
  // With an attempt.
  uint32_t started = 0;

  void Add(TaskState state, uint32_t attempt);
  void Remove(TaskState state, uint32_t attempt);
  uint32_t in(TaskState state) const { return in_state[static_cast<size_t>(state)]; }
  // Not ended.
  uint32_t left() const { return in(TaskState::kWaiting) + in(TaskState::kRunning); }
};

// What a job's state is, given what is wanted and its tasks, of which there must be one.
JobState JobStateOf(Wanted wanted, const TaskCounts& tasks);

Totals SumOf(const std::vector<Task>& tasks);

// Counts what a run says of itself. Each run counts once: its latest figures replace its earlier ones, and
// those of another run are carried. With `starts_over`, a run does all the work of the run before again, as
// dry runs and lists of ranges do: then only the last counts.
void CountRun(Task& task, absl::string_view run_id, const Totals& totals, bool starts_over);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_JOB_H_
