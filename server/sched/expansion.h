#ifndef COWHERD_SERVER_SCHED_EXPANSION_H_
#define COWHERD_SERVER_SCHED_EXPANSION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/jobs/job.h"
#include "server/sched/node_registry.h"
#include "server/sched/plan.h"

namespace cowherd {

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
