#ifndef COWHERD_SERVER_SCHED_EXPANSION_H_
#define COWHERD_SERVER_SCHED_EXPANSION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/sched/node_registry.h"
#include "server/sched/plan.h"

namespace cowherd {

// The names of the nodes that the job is about, sorted. INVALID_ARGUMENT: one that it names is not known.
// FAILED_PRECONDITION "NO_NODES". Pure.
absl::StatusOr<std::vector<std::string>> SelectNodes(const JobPlan& plan, const NodeRegistry& nodes);

// A new job: one task for each node, which stands for what the node will be found to have. It was made at
// `wall`, and its tasks wait since `now`: see Clock. Pure but for `random`, from which it has its id.
JobRecord NewJob(std::string spec, const JobPlan& plan, const std::vector<std::string>& nodes,
                 std::string request_id, absl::Time wall, absl::Time now, absl::BitGenRef random);

// What becomes of tasks that stand for what their nodes have: one task for each root that matches. Where none
// does, the task goes, or fails if the job asked for this node, or if it is the job's last. Tasks of nodes
// that are not up are left as they are, unless their labels tell already that they will go. Pure.
struct Expansion {
  std::vector<Task> put;
  std::vector<uint32_t> removed;
  // As Job's.
  uint32_t tasks_made = 0;
};

// `tasks_in_job` counts all tasks of the job, `tasks_made` all it ever had.
Expansion ExpandTasks(const JobPlan& plan, const std::vector<Task>& tasks, size_t tasks_in_job,
                      uint32_t tasks_made, const NodeRegistry& nodes);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_EXPANSION_H_
