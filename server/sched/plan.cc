#include "server/sched/plan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace cowherd {
namespace {

absl::string_view WithoutSlashes(absl::string_view path) {
  while (absl::ConsumeSuffix(&path, "/")) {
  }
  return path;
}

const RootFacts* RootOf(const NodeFacts& node, absl::string_view path) {
  const RootFacts* best = nullptr;
  for (const RootFacts& root : node.roots) {
    if (IsBeneath(path, root.path) && (best == nullptr || root.path.size() > best->path.size())) best = &root;
  }
  return best;
}

}  // namespace

bool IsBeneath(absl::string_view path, absl::string_view root) {
  root = WithoutSlashes(root);
  if (!absl::ConsumePrefix(&path, root)) return false;
  return path.empty() || path.front() == '/';
}

std::vector<RootTask> Expand(const JobPlan& plan, const NodeFacts& node) {
  for (const auto& [key, value] : plan.labels) {
    const auto found = node.labels.find(key);
    if (found == node.labels.end() || found->second != value) return {};
  }
  std::vector<RootTask> tasks;
  for (const RootFacts& root : node.roots) {
    const bool wanted = plan.roots.empty()
                            // One that cannot be used now is not left out silently: its task waits for it.
                            ? !root.error.ok() || root.dedupe_supported
                            : std::find(plan.roots.begin(), plan.roots.end(), root.name) != plan.roots.end();
    if (!wanted) continue;
    RootTask task{root.name, {}};
    for (const std::string& path : plan.paths) {
      if (RootOf(node, path) == &root) task.paths.push_back(path);
    }
    if (plan.paths.empty() || !task.paths.empty()) tasks.push_back(std::move(task));
  }
  return tasks;
}

bool MustMatch(const JobPlan& plan) { return plan.select != JobPlan::Select::kLabels && plan.paths.empty(); }

}  // namespace cowherd
