#ifndef COWHERD_SERVER_SCHED_JOB_TABLE_H_
#define COWHERD_SERVER_SCHED_JOB_TABLE_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/sched/plan.h"
#include "server/sched/task_key.h"

namespace cowherd {

// Keeps one copy of each name, for as long as somebody uses it.
class NamePool {
 public:
  std::shared_ptr<const std::string> Get(absl::string_view name);

 private:
  std::unordered_map<std::string, std::weak_ptr<const std::string>> names_;
  size_t purge_at_ = 1'024;
};

// A task as it is kept in memory: as little as can be, since there may be a hundred thousand.
struct TaskRow {
  // What a run has told of itself.
  struct Counted {
    std::string run_id;
    Totals current;
    // Null: nothing.
    std::unique_ptr<Totals> carried;
  };

  TaskRow(const Task& task, NamePool& names);
  Task ToTask() const;
  Totals totals() const;

  uint32_t number;
  TaskState state;
  bool expanded;
  bool open;
  uint32_t attempt;
  uint32_t failures;
  uint32_t crashes;
  std::shared_ptr<const std::string> node;
  std::shared_ptr<const std::string> root;
  absl::Time node_started;
  absl::Time next_attempt;
  absl::Time waiting_since;
  absl::Status error;
  // Null: none.
  std::unique_ptr<std::vector<std::string>> paths;
  // Null: no run has told anything.
  std::unique_ptr<Counted> counted;
};

// A job that has not ended, or has just ended, as the store has it.
struct ActiveJob {
  Job job;
  std::string spec;
  JobPlan plan;
  // By number.
  std::vector<TaskRow> tasks;
  TaskCounts counts;
  // Numbers of tasks that still stand for what their nodes have, and of those that are open.
  std::set<uint32_t> unexpanded;
  std::set<uint32_t> open;
  // The nodes that go first, and how their tasks stand. Empty: all nodes are alike.
  std::set<std::string> canary_nodes;
  TaskCounts canary;

  const TaskRow& Row(uint32_t number) const;
  // The first task with this number or a higher one.
  std::vector<TaskRow>::const_iterator From(uint32_t number) const;
  // Tasks of the node are not to start yet: others go first, and have not done well enough so far.
  bool Follows(const std::string& node) const;
  // Without results.
  JobRecord Record() const;
};

// The jobs that have not ended, their tasks and the indexes by which these are found. Pure state: what is in
// it is in the store already. A change costs what the tasks it names cost, times a logarithm.
class JobTable {
 public:
  // The tasks of one node.
  struct NodeTasks {
    std::set<TaskKey> unexpanded;
    std::set<TaskKey> open;
  };

  // The record's state and totals are worked out anew from its tasks.
  ActiveJob& Add(JobRecord record, JobPlan plan);
  // The job must be there.
  void Remove(uint64_t sequence);

  // Null: no active job has this id.
  const ActiveJob* Find(const std::string& id) const;
  // Null: no active job has this sequence.
  const ActiveJob* Find(uint64_t sequence) const;
  // Null: there is no such task.
  const TaskRow* Find(TaskKey key) const;
  // By sequence: oldest first.
  const std::map<uint64_t, ActiveJob>& jobs() const { return jobs_; }
  const NodeTasks& OnNode(const std::string& node) const;

  // Works out what follows for the job of a change that is to be stored: its state, totals, revision and
  // times. INTERNAL: a task or the job would make a move that is not legal.
  absl::Status Complete(JobChange& change, absl::Time wall) const;
  // Takes over a change that was completed and stored.
  void Apply(JobChange change);

  // Of all active jobs.
  std::map<TaskState, uint64_t> CountTasks() const;
  uint64_t tasks() const;
  uint64_t spec_bytes() const { return spec_bytes_; }
  // Since when the task that waits longest has waited. InfiniteFuture: none waits.
  absl::Time oldest_waiting() const;

 private:
  void Count(ActiveJob& active, const TaskRow& row);
  void Uncount(ActiveJob& active, const TaskRow& row);
  void ChooseCanaries(ActiveJob& active);

  NamePool names_;
  std::map<uint64_t, ActiveJob> jobs_;
  std::unordered_map<std::string, uint64_t> sequence_of_;
  std::unordered_map<std::string, NodeTasks> on_node_;
  std::array<uint64_t, 5> tasks_in_state_{};
  uint64_t spec_bytes_ = 0;
  // How many tasks wait since when.
  std::map<absl::Time, uint32_t> waiting_since_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_JOB_TABLE_H_
