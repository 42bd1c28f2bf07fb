#include "server/jobs/values.h"

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/base/totals_proto.h"
#include "server/jobs/job_store.h"
#include "server/jobs/names.h"

namespace cowherd {
namespace {

absl::Time TimeOf(bool set, int64_t micros) {
  return set ? absl::FromUnixMicros(micros) : absl::InfinitePast();
}

bool IsSet(absl::Time time) { return time != absl::InfinitePast(); }

}  // namespace

stored::JobValue ToValue(const Job& job) {
  stored::JobValue value;
  value.set_id(job.id);
  value.set_request_id(job.request_id);
  value.set_sequence(job.sequence);
  value.set_state(std::string(JobStateName(job.state)));
  value.set_wanted(std::string(WantedName(job.wanted)));
  if (IsSet(job.created)) value.set_created(absl::ToUnixMicros(job.created));
  if (IsSet(job.started)) value.set_started(absl::ToUnixMicros(job.started));
  if (IsSet(job.ended)) value.set_ended(absl::ToUnixMicros(job.ended));
  *value.mutable_totals() = ToProto(job.totals);
  value.set_revision(job.revision);
  value.set_tasks_made(job.tasks_made);
  return value;
}

absl::StatusOr<Job> FromValue(const stored::JobValue& value) {
  Job job;
  job.id = value.id();
  job.request_id = value.request_id();
  job.sequence = value.sequence();
  const absl::optional<JobState> state = JobStateFrom(value.state());
  const absl::optional<Wanted> wanted = WantedFrom(value.wanted());
  if (!state || !wanted) {
    return StoreCorrupt(absl::StrCat("unknown state ", value.state(), " or wish ", value.wanted()));
  }
  job.state = *state;
  job.wanted = *wanted;
  job.created = TimeOf(value.has_created(), value.created());
  job.started = TimeOf(value.has_started(), value.started());
  job.ended = TimeOf(value.has_ended(), value.ended());
  job.totals = FromProto(value.totals());
  job.revision = value.revision();
  job.tasks_made = value.tasks_made();
  return job;
}

stored::TaskValue ToValue(const Task& task) {
  stored::TaskValue value;
  value.set_number(task.number);
  value.set_node(task.node);
  value.set_root(task.root);
  for (const std::string& path : task.paths) value.add_paths(path);
  value.set_expanded(task.expanded);
  value.set_state(std::string(TaskStateName(task.state)));
  value.set_open(task.open);
  value.set_attempt(task.attempt);
  value.set_failures(task.failures);
  if (IsSet(task.next_attempt)) value.set_next_attempt(absl::ToUnixMicros(task.next_attempt));
  if (IsSet(task.waiting_since)) value.set_waiting_since(absl::ToUnixMicros(task.waiting_since));
  if (!task.error.ok()) {
    stored::ErrorValue& error = *value.mutable_error();
    error.set_code(static_cast<int>(task.error.code()));
    error.set_message(std::string(task.error.message()));
    error.set_reason(ReasonOf(task.error));
    error.set_field(FieldOf(task.error));
    error.set_errno_number(ErrnoOf(task.error));
  }
  value.set_run_id(task.run_id);
  *value.mutable_current() = ToProto(task.current);
  *value.mutable_carried() = ToProto(task.carried);
  value.set_crashes(task.crashes);
  if (IsSet(task.node_started)) value.set_node_started(absl::ToUnixMicros(task.node_started));
  return value;
}

absl::StatusOr<Task> FromValue(const stored::TaskValue& value) {
  Task task;
  task.number = value.number();
  task.node = value.node();
  task.root = value.root();
  task.paths.assign(value.paths().begin(), value.paths().end());
  task.expanded = value.expanded();
  const absl::optional<TaskState> state = TaskStateFrom(value.state());
  if (!state) return StoreCorrupt(absl::StrCat("unknown state of a task: ", value.state()));
  task.state = *state;
  task.open = value.open();
  task.attempt = value.attempt();
  task.failures = value.failures();
  task.next_attempt = TimeOf(value.has_next_attempt(), value.next_attempt());
  task.waiting_since = TimeOf(value.has_waiting_since(), value.waiting_since());
  if (value.has_error()) {
    const stored::ErrorValue& error = value.error();
    task.error = WithDetail(absl::Status(static_cast<absl::StatusCode>(error.code()), error.message()),
                            error.reason(), error.field(), error.errno_number());
  }
  task.run_id = value.run_id();
  task.current = FromProto(value.current());
  task.carried = FromProto(value.carried());
  task.crashes = value.crashes();
  task.node_started = TimeOf(value.has_node_started(), value.node_started());
  return task;
}

}  // namespace cowherd
