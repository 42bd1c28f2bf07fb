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

bool HasLabels(const NodeFacts& node, const std::map<std::string, std::string>& labels) {
  return std::all_of(labels.begin(), labels.end(), [&node](const auto& label) {
    const auto found = node.labels.find(label.first);
    return found != node.labels.end() && found->second == label.second;
  });
}

}  // namespace

bool IsBeneath(absl::string_view path, absl::string_view root) {
  root = WithoutSlashes(root);
  if (!absl::ConsumePrefix(&path, root)) return false;
  return path.empty() || path.front() == '/';
}

std::vector<RootTask> Expand(const JobPlan& plan, const NodeFacts& node) {
  if (!HasLabels(node, plan.labels)) return {};
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

size_t MostTasks(const JobPlan& plan, const NodeFacts& node) {
  if (plan.ranges || !HasLabels(node, plan.labels)) return 1;
  size_t most = node.roots.size();
  if (!plan.roots.empty()) most = std::min(most, plan.roots.size());
  if (!plan.paths.empty()) most = std::min(most, plan.paths.size());
  return std::max<size_t>(most, 1);
}

bool MustMatch(const JobPlan& plan) { return plan.select != JobPlan::Select::kLabels && plan.paths.empty(); }

}  // namespace cowherd
