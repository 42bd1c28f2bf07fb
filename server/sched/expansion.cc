#include "server/sched/expansion.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

Expansion ExpandTasks(const JobPlan& plan, const std::vector<Task>& tasks, size_t tasks_in_job,
                      uint32_t tasks_made, const NodeRegistry& nodes) {
  Expansion expansion;
  size_t left = tasks_in_job;
  std::vector<Task> unmatched;
  for (const Task& task : tasks) {
    const NodeEntry* node = nodes.Find(task.node);
    if (node == nullptr || !node->facts) continue;
    const std::vector<RootTask> roots = Expand(plan, *node->facts);
    if (node->state != NodeState::kUp) {
      // Roots may change while a node is away; its labels hardly do, and nothing else matters where they
      // differ.
      if (plan.select == JobPlan::Select::kLabels && roots.empty()) unmatched.push_back(task);
      continue;
    }
    if (roots.empty()) unmatched.push_back(task);
    for (size_t i = 0; i < roots.size(); ++i) {
      Task made = task;
      if (i > 0) {
        made.number = tasks_made++;
        ++left;
      }
      made.expanded = true;
      made.root = roots[i].root;
      made.paths = roots[i].paths;
      expansion.put.push_back(std::move(made));
    }
  }
  for (Task& task : unmatched) {
    if (!MustMatch(plan) && left > 1) {
      expansion.removed.push_back(task.number);
      --left;
      continue;
    }
    task.state = TaskState::kFailed;
    task.error = MakeError(absl::StatusCode::kFailedPrecondition, "NO_MATCHING_ROOT",
                           absl::StrCat("no root of node \"", task.node,
                                        "\" matches the job and can share ranges; look at the node's roots"));
    expansion.put.push_back(std::move(task));
  }
  expansion.tasks_made = tasks_made;
  return expansion;
}

}  // namespace cowherd
