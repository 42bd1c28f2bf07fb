#ifndef COWHERD_SERVER_SCHED_PLAN_H_
#define COWHERD_SERVER_SCHED_PLAN_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/sched/canary.h"
#include "server/sched/node_facts.h"
#include "server/sched/window.h"

namespace cowherd {

// What a job's spec means for the making of tasks. The rest of the spec is for the node.
struct JobPlan {
  enum class Select { kAll, kNames, kLabels };

  // One task per node named, instead of one per node and root.
  bool ranges = false;
  bool dry_run = false;
  Select select = Select::kAll;
  // With kNames.
  std::vector<std::string> nodes;
  // The request's field that names nodes[i].
  std::vector<std::string> node_fields;
  // With kLabels.
  std::map<std::string, std::string> labels;
  // Only with !ranges. Empty: every root that can share.
  std::vector<std::string> roots;
  // Absolute host paths. Empty: whole roots.
  std::vector<std::string> paths;
  // Tasks of a lost node fail instead of waiting for it.
  bool give_up_lost = false;
  // Higher goes first.
  int32_t priority = 0;
  Canary canary;
  // Its tasks work only while one of these is open. Empty: always.
  std::vector<Window> windows;

  // Whether it tells by name which nodes it is about.
  bool NamesNodes() const { return ranges || select == Select::kNames; }
  // Whether each run of a task does all of its work again.
  bool StartsOver() const { return ranges || dry_run; }
};

// The task of one root of a node.
struct RootTask {
  std::string root;
  std::vector<std::string> paths;
};

// The tasks that a tree scan has on this node; empty where nothing matches. A path belongs to the innermost
// root above it. Pure.
std::vector<RootTask> Expand(const JobPlan& plan, const NodeFacts& node);

// Expand gives at most so many, and a node has one task before: counted without looking at paths. Pure.
size_t MostTasks(const JobPlan& plan, const NodeFacts& node);

// Where nothing matches, whether that is a failure even if other nodes have tasks: the job asked for this
// node without leaving room for it to have nothing.
bool MustMatch(const JobPlan& plan);

// `path` is `root` or lies beneath it. Both absolute.
bool IsBeneath(absl::string_view path, absl::string_view root);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_PLAN_H_
