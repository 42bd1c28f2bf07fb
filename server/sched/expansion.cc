#include "server/sched/expansion.h"

#include <algorithm>
#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status.h"
#include "server/sched/reasons.h"

namespace cowherd {

absl::StatusOr<std::vector<std::string>> SelectNodes(const JobPlan& plan, const NodeRegistry& nodes) {
  std::vector<std::string> names;
  if (plan.NamesNodes()) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const NodeEntry* node = nodes.Find(plan.nodes[i]);
      if (node == nullptr || node->addresses.empty()) {
        return FieldError(plan.node_fields[i],
                          NodeUnknown(absl::StatusCode::kInvalidArgument, plan.nodes[i]).message());
      }
    }
    names = plan.nodes;
  } else {
    for (const auto& [name, node] : nodes.nodes()) {
      if (!node.addresses.empty()) names.push_back(name);
    }
    if (names.empty()) return NoNodes();
  }
  std::sort(names.begin(), names.end());
  return names;
}

JobRecord NewJob(std::string spec, const JobPlan& plan, const std::vector<std::string>& nodes,
                 std::string request_id, absl::Time wall, absl::Time now, absl::BitGenRef random) {
  JobRecord record;
  record.job.id = absl::StrFormat("%016x", absl::Uniform<uint64_t>(random));
  record.job.request_id = std::move(request_id);
  record.job.created = wall;
  record.spec = std::move(spec);
  for (const std::string& name : nodes) {
    Task task;
    task.number = record.job.tasks_made++;
    task.node = name;
    task.expanded = plan.ranges;
    task.waiting_since = now;
    record.tasks.push_back(std::move(task));
  }
  return record;
}

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
